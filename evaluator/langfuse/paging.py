"""Pages behind a cursor, each as large as it may be and no larger than an answer of Langfuse gets."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

import structlog

from evaluator.errors import Unavailable
from evaluator.langfuse.reading import Page
from evaluator.langfuse.wire import Params, TooLong, TooWide, Wire

_WANTED: Final = 2_500_000
"""Bytes of a page: half of what Cloud answers at most."""

_SMALLER: Final = 4
_MUCH_SMALLER: Final = 16
"""After an error of the server, which may have meant its answer's size and cost many attempts to get."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class PageSize:
    """How many rows to ask for: learned from the pages before, since nobody knows how long the texts are."""

    def __init__(self, most: int, bytes_a_row: float) -> None:
        """Ask for at most `most` rows, ever; `bytes_a_row` is a guess to begin with."""
        self.most = most
        self._bytes_a_row = bytes_a_row

    @property
    def rows(self) -> int:
        """Rows of the next page, at least 1."""
        return min(self.most, max(1, int(_WANTED / self._bytes_a_row)))

    def came(self, rows: int, size: int) -> None:
        """Learn from a page; longer rows are believed at once, shorter ones by and by."""
        if rows:
            seen = max(size / rows, 1.0)
            self._bytes_a_row = max(seen, self._bytes_a_row + 0.3 * (seen - self._bytes_a_row))

    def failed(self, rows: int) -> None:
        """Learn that Langfuse did not manage a page of so many rows: it may have been too much for it."""
        self._bytes_a_row = max(self._bytes_a_row, _WANTED * 4 / rows)


async def pages(
    wire: Wire,
    path: str,
    params: Params,
    size: PageSize,
    read: Callable[[bytes], Page[T]],
    most_bytes: float = math.inf,
) -> AsyncIterator[list[T]]:
    """Give the rows of GET `path`, page by page, as far as they can be told apart by an id; `read` reads a page.

    Raises:
        TooLong: all pages together have more than `most_bytes`.
        TooWide: Langfuse cannot even read one row at a time, or not so wide a range.
    """
    cursor: str | None = None
    total = 0
    most = size.most
    while True:
        limit = min(most, size.rows)
        more = [("limit", str(limit)), *([("cursor", cursor)] if cursor else [])]
        try:
            page, length = await wire.get_sized(path, [*params, *more], read)
        except (TooWide, Unavailable) as error:
            size.failed(limit)
            if limit == 1 or not isinstance(error, TooLong | Unavailable):
                raise
            smaller = _SMALLER if isinstance(error, TooLong) else _MUCH_SMALLER
            # A bound of our own: meanwhile others may learn from their shorter rows that pages can be larger.
            most = max(1, limit // smaller)
            continue
        total += length
        if total > most_bytes:
            raise TooLong(f"Langfuse answered GET {path} with more than {most_bytes:,} bytes in all")
        size.came(page.came, length)
        most = min(2 * most, size.most)
        yield page.rows
        before, cursor = cursor, page.cursor
        if not cursor:
            return
        if cursor == before:
            _log.warning("Langfuse repeats a page; the scan ends here", path=path)
            return
