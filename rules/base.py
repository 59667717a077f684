"""What a rule is, and how it words what it found."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from traces import DataType, NotApplicable, Trace, Verdict, well_formed

LONGEST_REASON: Final = 300
"""Characters of a comment: enough to say what and where, too few to copy what was evaluated."""

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Rule(BaseModel):
    """A kind of check. A subclass is a kind, its fields are the parameters, its docstring is the documentation.

    `kind` is what YAML says after `rule:`; unless given it is the class name in snake case (NotEmpty: not_empty).
    `gives` is the type of the score. `example` is one definition as it would stand in rules.yaml, for the docs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    kind: ClassVar[str] = ""
    gives: ClassVar[DataType] = DataType.BOOLEAN
    example: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "kind" not in cls.__dict__:
            cls.kind = _CAPITAL.sub("_", cls.__name__).lower()

    @property
    def writes(self) -> DataType:
        """The type of the score that this definition writes: what the kind `gives`, unless a field says otherwise."""
        return self.gives

    def parts(self) -> Sequence[Rule]:
        """Return the rules that this one is made of."""
        return ()

    def every_part(self) -> Iterator[Rule]:
        """Give it and all the rules in it."""
        yield self
        for part in self.parts():
            yield from part.every_part()

    @abstractmethod
    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look at one trace.

        Returns the verdict (True is good, for a BOOLEAN) with a reason that says what was found and where; or
        `NotApplicable` with a short constant phrase when the trace has nothing this rule could look at. Odd content is
        never an exception.
        """


def passed(reason: str, number: float | None = None) -> Verdict:
    """Return the verdict of a check that found things in order, with the number it compared, if it did."""
    return Verdict(True, _shortened(reason, LONGEST_REASON), details=_number(number))


def failed(reason: str, number: float | None = None) -> Verdict:
    """Return the verdict of a check that found something wrong, with the number it compared, if it did."""
    return Verdict(False, _shortened(reason, LONGEST_REASON), details=_number(number))


def measured(value: float, reason: str) -> Verdict:
    """Return a number, for a rule that gives NUMERIC."""
    return Verdict(float(value), _shortened(reason, LONGEST_REASON))


def quoted(text: str, longest: int = 60) -> str:
    """Return `text` on one line in quotes, cut at `longest` characters, for use inside a reason."""
    return f"'{_shortened(text, longest)}'"


def counted(number: float, noun: str) -> str:
    """Return a number with its noun: `1 step`, `2 steps`, `1,200 tokens`."""
    return f"{number:,.0f} {noun}" if number == 1 else f"{number:,.0f} {noun}s"


def _number(number: float | None) -> dict[str, float]:
    """Return what the score's metadata tells of a number: a chart needs more than that it was too high."""
    return {} if number is None or not math.isfinite(number) else {"measured": float(number)}


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest and text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()  # as nearly always, and all the rest would change nothing
    # Four times as much as can be shown: a megabyte is not worth splitting for one line.
    line = " ".join(well_formed(text[: longest * 4]).replace("\x00", " ").split())
    cut = len(line) > longest or len(text) > longest * 4
    return f"{line[: longest - 1]}…" if cut else line
