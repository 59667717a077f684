"""Rules that measure: one kind gives the number, its sibling holds it against a limit."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from pydantic import Field

from rules.base import Rule, failed, measured, passed
from rules.text import ANSWER, NOT_FOUND, selected_text
from traces import DataType, NotApplicable, Path, Trace, Verdict


class Measure(NamedTuple):
    """What was measured, and how it is said: `0.25 of 120 runs of words`."""

    value: float
    found: str


class Measuring(Rule):
    """A rule that measures something of a trace; what is made of it, a subclass says."""

    @abstractmethod
    def measure(self, trace: Trace) -> Measure | NotApplicable:
        """Measure the trace."""


class MeasuringText(Measuring):
    """A rule that measures the text that `value` selects. A trace in which it selects nothing is not scored."""

    value: Path = Field(default=ANSWER, description="the text to look at")

    def measure(self, trace: Trace) -> Measure | NotApplicable:
        """Select the text and measure it."""
        text = selected_text(self.value, trace)
        return NOT_FOUND if text is None else self.measure_text(text)

    @abstractmethod
    def measure_text(self, text: str) -> Measure | NotApplicable:
        """Measure the selected text."""


class Number(Measuring):
    """Gives what was measured."""

    gives: ClassVar = DataType.NUMERIC

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Measure, and say the number."""
        found = self.measure(trace)
        return found if isinstance(found, NotApplicable) else measured(found.value, found.found)


class AtMost(Measuring):
    """Passes what is at most `at_most`."""

    at_most: float = Field(description="the most that is allowed", allow_inf_nan=False)

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Measure, and compare."""
        found = self.measure(trace)
        if isinstance(found, NotApplicable):
            return found
        verdict = passed if found.value <= self.at_most else failed
        return verdict(f"{found.found}; at most {self.at_most:g} allowed")


class AtLeast(Measuring):
    """Passes what is at least `at_least`."""

    at_least: float = Field(description="the least that is allowed", allow_inf_nan=False)

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Measure, and compare."""
        found = self.measure(trace)
        if isinstance(found, NotApplicable):
            return found
        verdict = passed if found.value >= self.at_least else failed
        return verdict(f"{found.found}; at least {self.at_least:g} wanted")
