"""What a judge gave and what people said, read on one scale: only then can they agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from judges.agreement import Value
from judges.answer import BaseScale, yes_or_no
from judges.scale import BooleanScale, CategoricalScale, NumericScale

_YES_AND_NO: Final = frozenset({0.0, 1.0})


@dataclass(frozen=True, slots=True)
class SharedScale:
    """How both are read.

    Attributes:
        levels: the values from worst to best, where they can be counted; empty for numbers of any size.
        ordered: whether the values have an order.
        low, high: the range of numbers; labels stand at their places from 0 on.
        pass_at: from where on a number passes, when people said only yes or no to a judge that gives numbers.
        labels: whether values are read as labels.
    """

    levels: tuple[Value, ...]
    ordered: bool
    low: float
    high: float
    pass_at: float | None = None
    labels: bool = False

    @property
    def is_binary(self) -> bool:
        """Whether there are two values, the second of them good."""
        return self.levels == (False, True)

    def ours(self, value: float | str) -> Value | None:
        """Read what the judge gave; None for what is not on the scale (of an older version, say)."""
        return self._read(value, at=self.pass_at)

    def theirs(self, value: Value, pass_at: float | None = None) -> Value | None:
        """Read what a person said; `pass_at` makes yes or no of numbers when the judge says yes or no."""
        return self._read(value, at=pass_at if self.is_binary and self.pass_at is None else None)

    def _read(self, value: Value, at: float | None) -> Value | None:
        if self.labels:
            return value if isinstance(value, str) and (not self.levels or value in self.levels) else None
        if self.is_binary:
            if at is not None and not isinstance(value, str | bool):
                return value >= at
            return yes_or_no(value) if isinstance(value, str) else (bool(value) if value in _YES_AND_NO else None)
        number = None if isinstance(value, str | bool) else float(value)
        return number if number is not None and self.low <= number <= self.high else None


def shared_scale(scale: BaseScale, said: Iterable[Value], pass_at: float | None = None) -> SharedScale:
    """Return the scale on which a judge's values and what people said of the same are compared.

    Where people said only yes or no and the judge gives numbers, numbers from `pass_at` on pass: by default those above
    the middle of the scale. Ones and zeros are yes and no when they are booleans, and when the scale does not hold
    both or nothing beside them: on a scale from 1 to 5 a 1 is the worst.
    """
    if isinstance(scale, CategoricalScale):
        levels = () if scale.several else scale.labels
        return SharedScale(levels, scale.ordered and bool(levels), 0.0, float(max(len(levels) - 1, 1)), labels=True)
    if isinstance(scale, BooleanScale):
        return SharedScale((False, True), True, 0.0, 1.0)
    steps = scale.levels if isinstance(scale, NumericScale) else ()
    low, high = (scale.min, scale.max) if isinstance(scale, NumericScale) else (0.0, 1.0)
    if _is_yes_or_no(list(said), low, high):
        return SharedScale((False, True), True, 0.0, 1.0, _passing(low, high, steps) if pass_at is None else pass_at)
    return SharedScale(steps, True, low, high)


def _is_yes_or_no(said: Sequence[Value], low: float, high: float) -> bool:
    known = [yes_or_no(value) if isinstance(value, str) else value for value in said]
    if not known or not all(value in _YES_AND_NO for value in known):
        return False
    numbers = [value for value in said if not isinstance(value, bool | str)]
    return not numbers or (low, high) == (0.0, 1.0) or any(not low <= value <= high for value in numbers)


def _passing(low: float, high: float, levels: Sequence[float]) -> float:
    middle = (low + high) / 2
    return next((level for level in levels if level > middle), middle)
