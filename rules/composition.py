"""Rules made of rules: all of them, any of them, the opposite of one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, LiteralString

from pydantic import Field, GetJsonSchemaHandler, SerializationInfo, ValidationError, ValidationInfo, field_validator
from pydantic.functional_serializers import PlainSerializer
from pydantic.functional_validators import PlainValidator
from pydantic_core import CoreSchema, PydanticCustomError

from rules.base import Rule, counted, failed, measured, passed, quoted
from rules.collect import collect
from traces import DataType, NotApplicable, Trace, Verdict

_NOTHING_APPLIES: Final = NotApplicable("none of its rules applies")

KINDS: Final = "kinds"
"""In the context of a validation: the kinds that may stand inside, by name; without it, ours."""

DEFAULTS: Final = "defaults"
"""In the context of a validation: what gives defaults for the fields of a kind where they differ from its own."""


class _Shape:
    """Tells editors that a rule stands here: its kind beside its parameters."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        kind = {"type": "string", "description": "the kind of check"}
        return {"type": "object", "properties": {"rule": kind}, "required": ["rule"]}


def _read(value: Any, info: ValidationInfo) -> Rule:
    if isinstance(value, Rule):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("wrong_type", "expected a rule, such as rule: length, max: 100")
    context = info.context or {}
    kinds: Mapping[str, type[Rule]] = context.get(KINDS) or _ours()
    if "rule" not in value:
        raise _wrong("rule", "missing", value)
    named = value["rule"]
    kind = kinds.get(named) if isinstance(named, str) else None
    if kind is None:
        said = PydanticCustomError("bad_text", "unknown kind; {hint}", {"hint": _near(str(named), kinds)})
        raise _wrong("rule", said, named)
    fields = [info.alias or name for name, info in kind.model_fields.items()]
    own = {key: held for key, held in value.items() if key != "rule"}
    for key, held in own.items():
        if key not in fields:
            hint = _near(str(key), fields)
            said = PydanticCustomError("bad_text", "is not known here; {hint}", {"hint": hint})
            raise _wrong(str(key), said, held)
    defaults: Callable[[type[Rule]], Mapping[str, Any]] = context.get(DEFAULTS) or _none
    return kind.model_validate({**defaults(kind), **own}, context=info.context)


def _near(name: str, known: Iterable[str]) -> str:
    """Return what a person probably meant, or all there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'nothing'}"


def _wrong(key: str, error: PydanticCustomError | LiteralString, given: Any) -> ValidationError:
    return ValidationError.from_exception_data("rule", [{"type": error, "loc": (key,), "input": given}])


def _none(_: type[Rule]) -> Mapping[str, Any]:
    return {}


@cache
def _ours() -> Mapping[str, type[Rule]]:
    return collect()


def _written(rule: Rule, info: SerializationInfo) -> dict[str, Any]:
    return {"rule": rule.kind, **rule.model_dump(mode=info.mode)}


Inner = Annotated[Rule, PlainValidator(_read), PlainSerializer(_written, return_type=dict), _Shape()]
"""A rule inside another one: `{rule: length, max: 100}`."""


class Composition(Rule):
    """A rule over what other rules say of the same trace."""

    def answers(self, trace: Trace) -> Iterator[tuple[Rule, Verdict]]:
        """Give what those say that have something to say."""
        for rule in self.parts():
            found = rule.check(trace)
            if isinstance(found, Verdict):
                yield rule, found


def _refuse_numbers(rules: Sequence[Rule]) -> None:
    number = next((rule for rule in rules if rule.writes is not DataType.BOOLEAN), None)
    if number is not None:
        raise ValueError(f"{number.kind} gives a number; here stand rules that pass or fail")


class AllOf(Composition):
    """All of some rules pass. With `score: fraction` the score is the share of them that do, from 0 to 1.

    A rule that has nothing to say about a trace is left out; when none has, the trace is not scored. The comment says
    what the first that fails found.
    """

    kind: ClassVar = "all"
    example: ClassVar = {
        "name": "well-formed",
        "rule": "all",
        "of": [{"rule": "not_empty"}, {"rule": "length", "max": 4000}, {"rule": "no_secrets"}],
        "score": "fraction",
    }

    of: tuple[Inner, ...] = Field(min_length=1, description="the rules, each as it would stand alone, without a name")
    score: Literal["boolean", "fraction"] = Field(default="boolean", description="pass or fail, or the share that pass")

    @field_validator("of")
    @classmethod
    def _pass_or_fail(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        _refuse_numbers(rules)
        return rules

    @property
    def writes(self) -> DataType:
        """A number when the share is asked for."""
        return DataType.NUMERIC if self.score == "fraction" else DataType.BOOLEAN

    def parts(self) -> Sequence[Rule]:
        """Return the rules it asks, in order."""
        return self.of

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Ask each of them."""
        answers = list(self.answers(trace))
        if not answers:
            return _NOTHING_APPLIES
        wrong = [(rule, found) for rule, found in answers if not found.value]
        good = len(answers) - len(wrong)
        said = f"{good} of {counted(len(answers), 'rule')} passed"
        if wrong:
            said = f"{said}; {_said(*wrong[0])}"
        if self.score == "fraction":
            return measured(good / len(answers), said)
        return failed(said, good) if wrong else passed(said, good)


class AnyOf(Composition):
    """At least one of some rules passes.

    A rule that has nothing to say about a trace is left out; when none has, the trace is not scored.
    """

    kind: ClassVar = "any"
    example: ClassVar = {
        "name": "answers-or-asks",
        "rule": "any",
        "of": [{"rule": "contains", "any": ["?"]}, {"rule": "length", "min": 20, "unit": "words"}],
    }

    of: tuple[Inner, ...] = Field(min_length=1, description="the rules, each as it would stand alone, without a name")

    @field_validator("of")
    @classmethod
    def _pass_or_fail(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        _refuse_numbers(rules)
        return rules

    def parts(self) -> Sequence[Rule]:
        """Return the rules it asks, in order."""
        return self.of

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Ask them until one passes."""
        answers: list[tuple[Rule, Verdict]] = []
        for rule, found in self.answers(trace):
            if found.value:
                return passed(_said(rule, found))
            answers.append((rule, found))
        if not answers:
            return _NOTHING_APPLIES
        return failed(f"none of {counted(len(answers), 'rule')} passed; {_said(*answers[0])}")


class Opposite(Composition):
    """A rule does not pass. Where it has nothing to say, neither has this."""

    kind: ClassVar = "not"
    example: ClassVar = {
        "name": "no-apology",
        "rule": "not",
        "of": {"rule": "contains", "any": ["I apologize", "I am sorry"]},
    }

    of: Inner = Field(description="the rule, as it would stand alone, without a name")

    @field_validator("of")
    @classmethod
    def _passes_or_fails(cls, rule: Rule) -> Rule:
        _refuse_numbers([rule])
        return rule

    def parts(self) -> Sequence[Rule]:
        """Return the rule it asks."""
        return (self.of,)

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Ask it, and say the opposite."""
        found = self.of.check(trace)
        if isinstance(found, NotApplicable):
            return found
        return failed(_said(self.of, found)) if found.value else passed(_said(self.of, found))


def _said(rule: Rule, found: Verdict) -> str:
    return f"{rule.kind}: {quoted(found.reason, 200)[1:-1]}"
