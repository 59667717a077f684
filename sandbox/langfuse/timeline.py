"""Rows in order of their key, read newest first from any place without sorting anew for each query."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

Key = tuple[Any, ...]


class Ordered(Protocol):
    """A row with a sort key; `gone` rows are skipped and forgotten."""

    order: Key
    gone: bool


R = TypeVar("R", bound=Ordered)
_ORDER = attrgetter("order")


class Timeline(Generic[R]):
    """A list kept in order lazily: sorting an almost sorted list is a single pass."""

    def __init__(self) -> None:
        self._rows: list[R] = []
        self._in_order = True

    def add(self, row: R) -> None:
        """Add one row; its key must not change afterwards."""
        if self._in_order and self._rows and row.order < self._rows[-1].order:
            self._in_order = False
        self._rows.append(row)

    def count(self, since: Key | None, before: Key | None) -> int:
        """Return how many rows have since <= key < before; None is open. Rows just gone may still be counted."""
        first, last = self._bounds(since, before)
        return max(0, last - first)

    def newest_first(self, since: Key | None, before: Key | None) -> Iterator[R]:
        """Yield the rows with since <= key < before, greatest key first."""
        first, last = self._bounds(since, before)
        rows = self._rows
        for at in range(last - 1, first - 1, -1):
            if not rows[at].gone:
                yield rows[at]

    def _bounds(self, since: Key | None, before: Key | None) -> tuple[int, int]:
        if not self._in_order:
            self._rows = [row for row in self._rows if not row.gone]
            self._rows.sort(key=_ORDER)
            self._in_order = True
        first = 0 if since is None else bisect_left(self._rows, since, key=_ORDER)
        last = len(self._rows) if before is None else bisect_left(self._rows, before, key=_ORDER)
        return first, last
