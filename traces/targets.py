"""What an evaluator looks at: a whole trace, some of its steps, or a session; and what a path finds in each."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from traces.choices import OneOf, OneTypeOf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from traces.model import Observation
    from traces.packing import Passage
    from traces.select import Path

Target = Literal["trace", "observation", "session"]
"""What gets a score."""

MOST_OBSERVATIONS: Final = 20
"""Observations of a trace that are evaluated unless `at_most` says otherwise: an agent may take hundreds of steps."""

_OF_A_TRACE: Final = (
    "id", "name", "environment", "session_id", "user_id", "tags", "release", "version", "latency", "cost", "root",
    "observations",
)  # fmt: skip
KEYS: Final[Mapping[Target, tuple[str, ...]]] = {
    "trace": _OF_A_TRACE,
    "observation": (*_OF_A_TRACE, "observation"),
    "session": ("id", "environment", "user_id", "tags", "latency", "cost", "traces"),
}
"""What stands at the top of the document that a path sees."""


class Material(Protocol):
    """What paths and judges read: a trace, a step within its trace, or a session."""

    def document(self) -> dict[str, Any]:
        """Return it as one plain JSON object."""

    def document_with(self, key: str | None) -> dict[str, Any]:
        """Return as much of it as a path sees that begins with `key`; None is for any path."""

    def transcript(self) -> str:
        """Return it as text, in order."""

    def passage(self) -> Passage:
        """Return its transcript as it may be packed or divided when it is too long."""


class Observe(BaseModel):
    """Which observations of a trace are evaluated; all given conditions must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: OneTypeOf | None = Field(default=None, description="type of the observation: GENERATION, TOOL, ...")
    name: OneOf | None = Field(default=None, description="name of the observation; * and ? stand for any characters")
    at_most: int = Field(
        default=MOST_OBSERVATIONS,
        ge=1,
        le=1000,
        description="of more in one trace so many are chosen, by a hash; their inclusion probability says so",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Observe:
        if self.type is None and self.name is None:
            raise ValueError("needs type, name or both, such as {type: TOOL}")
        return self

    def matches(self, observation: Observation) -> bool:
        """Whether an observation is meant."""
        if self.type is not None and observation.type not in self.type:
            return False
        name = observation.name
        return self.name is None or any(name == wanted or fnmatchcase(name, wanted) for wanted in self.name)


def only_with_observations(target: Target, observe: Observe | None) -> None:
    """Refuse an evaluator of observations that does not say which, and one of anything else that does.

    Raises:
        ValueError: with what to write.
    """
    if (target == "observation") != (observe is not None):
        raise ValueError("observe: {type: TOOL} says which, with `target: observation` and only with it")


def never_selects(path: Path, target: Target) -> str | None:
    """Say why a path can select nothing of any target; None when it can."""
    known = KEYS[target]
    return None if path.key is None or path.key in known else f"no {target} has $.{path.key}, but {', '.join(known)}"
