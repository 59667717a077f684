"""What an entry of rules.yaml has beside the parameters of its kind: name, target, filter and rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from evaluator.service_config import Section
from rules import Rule
from rules.text import ANSWER
from traces import Observe, Path, SampleRule, Target, When
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
    when: When = Field(default=When(), description="which traces; without it, all")
    sample: tuple[SampleRule, ...] = Field(
        default=(SampleRule(rate=1),), min_length=1, description="at which rate; without it, every matching trace"
    )

    @model_validator(mode="before")
    @classmethod
    def _a_rule_sees_a_trace(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("target") == "session":
            raise ValueError("a rule checks a trace or an observation; a session is judged by a rubric")
        return value

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        only_with_observations(self.target, self.observe)
        return self


def own_fields(kind: type[Rule], entry: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the kind in an entry.

    Where a rule on a trace looks at the answer by default, one on an observation looks at what that one put out.
    """
    own = {key: value for key, value in entry.items() if key not in RuleHeader.model_fields}
    if entry.get("target") != "observation":
        return own
    return {name: _ITS_OUTPUT for name, field in kind.model_fields.items() if field.default == ANSWER} | own


def unreachable(rule: Rule, target: Target) -> Iterator[tuple[str, str]]:
    """Give the fields whose paths can never select anything, each with what is wrong."""
    for name in type(rule).model_fields:
        path = getattr(rule, name)
        problem = never_selects(path, target) if isinstance(path, Path) else None
        if problem is not None:
            yield name, problem
