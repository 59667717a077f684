"""What an entry of rules.yaml has beside the parameters of its kind: name, target, filter and rate; its version."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import models_json_schema

from evaluator.definitions.service_config import Section
from evaluator.errors import ConfigError, Problem
from rules import Rule
from rules.composition import DEFAULTS, KINDS
from rules.text import ANSWER
from traces import Observe, Path, Sample, SampleRule, Severity, Target, When
from traces.targets import never_selects, only_with_observations

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9 _.()-]{0,34}$"
"""What Langfuse takes as the name of a score config (contract 1.2); a comma would make the score unreadable."""

_ITS_OUTPUT: Final = Path.parse("$.observation.output")
"""What a rule on observations looks at where one on traces looks at the answer."""


class RuleHeader(Section):
    """What every entry of rules.yaml has, whatever its kind."""

    name: str = Field(pattern=_NAME, description="name of the score in Langfuse; 1 to 35 characters")
    rule: str = Field(description="the kind of check; `evaluator rules` lists them")
    description: str = Field(default="", description="for people")
    target: Literal["trace", "observation"] = Field(default="trace", description="what is checked and gets the score")
    observe: Observe | None = Field(default=None, description="with `target: observation`: which ones")
    severity: Severity | None = Field(
        default=None, description="how bad it is when the check fails: stands on the score, and filters may ask for it"
    )
    when: When = Field(default=When(), description="which traces; without it, all")
    sample: Sample = Field(default=(SampleRule(rate=1),), description="at which rate; without it, every matching trace")

    @model_validator(mode="before")
    @classmethod
    def _a_rule_sees_a_trace(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("target") == "session":
            raise ValueError("a rule checks a trace or an observation; a session is judged by a rubric")
        return value

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        only_with_observations(self.target, self.observe)
        if any(line.budget is not None and line.budget.unit == "USD" for line in self.sample):
            raise ValueError("sample.budget: a rule costs nothing; say how many a day, such as 500/day")
        return self


def own_fields(kind: type[Rule], entry: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the kind in an entry.

    Where a rule on a trace looks at the answer by default, one on an observation looks at what that one put out.
    """
    own = {key: value for key, value in entry.items() if key not in RuleHeader.model_fields}
    return {**_its_output(kind), **own} if entry.get("target") == "observation" else own


def context_of(entry: dict[str, Any], kinds: Mapping[str, type[Rule]]) -> dict[str, Any]:
    """Return what the rules inside of an entry need to be read: which kinds there are, and what they look at."""
    return {KINDS: kinds, DEFAULTS: _its_output if entry.get("target") == "observation" else None}


def _its_output(kind: type[Rule]) -> dict[str, Any]:
    return {name: _ITS_OUTPUT for name, field in kind.model_fields.items() if field.default == ANSWER}


def unreachable(rule: Rule, target: Target) -> Iterator[tuple[str, str]]:
    """Give the fields whose paths can never select anything, each with what is wrong."""
    for name in type(rule).model_fields:
        path = getattr(rule, name)
        problem = never_selects(path, target) if isinstance(path, Path) else None
        if problem is not None:
            yield name, problem
    for part in rule.parts():
        yield from (("of", f"{part.kind}.{name}: {problem}") for name, problem in unreachable(part, target))


def rules_schema(kinds: Mapping[str, type[Rule]]) -> dict[str, Any]:
    """Return the JSON Schema of rules.yaml: each kind is one alternative, its own fields beside those of every rule.

    Raises:
        ConfigError: a kind of a team's own has a field no schema can tell.
    """
    for name, kind in kinds.items():
        try:
            kind.model_json_schema()
        except PydanticInvalidForJsonSchema as error:
            raise ConfigError(
                [Problem(source_file(kind), f"rule {name!r} has a field no schema can tell: {error}")]
            ) from error
    # All at once, so that two kinds may each have a type of their own under the same name.
    models: list[type[BaseModel]] = [RuleHeader, *kinds.values()]
    found, together = models_json_schema([(model, "validation") for model in models])
    shared = together["$defs"]
    header, *own = (shared[found[model, "validation"]["$ref"].rsplit("/", 1)[-1]] for model in models)
    alternatives = [
        {
            "type": "object",
            "description": kind.get("description", ""),
            "properties": header["properties"] | kind.get("properties", {}) | {"rule": {"const": name}},
            "required": ["name", "rule", *kind.get("required", [])],
            "additionalProperties": False,
        }
        for name, kind in zip(kinds, own, strict=True)
    ]
    entries = {found[model, "validation"]["$ref"].rsplit("/", 1)[-1] for model in models}
    rest = {name: schema for name, schema in shared.items() if name not in entries}
    return {"type": "array", "items": {"anyOf": alternatives}, "$defs": rest}


def version_of(rule: Rule) -> str:
    """Hash what can change a rule's verdict: kind, parameters and the file its code is in."""
    fields = _ordered(rule.model_dump(), rule.model_dump(mode="json"))
    files = [source_file(type(each)) for each in rule.every_part()]
    source = "".join(File(file).read_text(encoding="utf-8") for file in dict.fromkeys(files))
    value = {"kind": rule.kind, "fields": fields, "source": source}
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=6).hexdigest()


def source_file(kind: type[Rule]) -> str:
    """Return the file a kind of rule is written in; empty when it has none."""
    return inspect.getsourcefile(kind) or ""


def _ordered(value: Any, dumped: Any) -> Any:
    """Return what was dumped as JSON with the entries of sets in order: each process has them in another."""
    if isinstance(value, set | frozenset):
        return sorted(dumped, key=lambda entry: json.dumps(entry, sort_keys=True))
    if isinstance(value, Mapping) and isinstance(dumped, dict) and len(value) == len(dumped):
        return {key: _ordered(inner, dumped[key]) for inner, key in zip(value.values(), dumped, strict=True)}
    if isinstance(value, list | tuple) and isinstance(dumped, list) and len(value) == len(dumped):
        return [_ordered(inner, one) for inner, one in zip(value, dumped, strict=True)]
    return dumped
