"""Pages: as large as they may be, no larger than an answer gets, and smaller in place when one was too large."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import orjson
import pytest

from evaluator.errors import EvaluatorError, Unavailable
from evaluator.langfuse.paging import PageSize, pages
from evaluator.langfuse.reading import object_page
from evaluator.langfuse.wire import Params, TooLong, TooWide, Wire

MOST_BYTES = 5_000_000


class Server:
    """Rows of given lengths behind a cursor; an answer of more than 5 MB is an error."""

    def __init__(self, lengths: list[int], error: EvaluatorError) -> None:
        self.lengths = lengths
        self.error = error
        self.asked: list[int] = []
        self.refused = 0

    async def get_sized(self, path: str, params: Params, read: Callable[[bytes], Any]) -> tuple[Any, int]:
        assert path == "v2/observations"
        given = dict(params)
        start, limit = int(given.get("cursor", "0")), int(given["limit"])
        self.asked.append(limit)
        size = sum(self.lengths[start : start + limit])
        if size > MOST_BYTES:
            self.refused += 1
            raise self.error
        rows = [{"id": str(place)} for place in range(start, min(start + limit, len(self.lengths)))]
        more = {"cursor": str(start + limit)} if start + limit < len(self.lengths) else {}
        return read(orjson.dumps({"data": rows, "meta": more})), size


def read(server: Server, size: PageSize) -> list[str]:
    async def every() -> list[str]:
        found = pages(cast("Wire", server), "v2/observations", [], size, object_page)
        return [row["id"] async for rows in found for row in rows]

    return asyncio.run(every())


@pytest.mark.parametrize("error", [TooLong("too long"), Unavailable("status 500")])
def test_a_giant_among_small_rows_is_read_in_place_and_the_rest_in_few_pages(error: EvaluatorError) -> None:
    lengths = [1_000] * 400 + [1_700_000] * 6 + [1_000] * 400
    server = Server(lengths, error)
    assert read(server, PageSize(1000, 1_000)) == [str(place) for place in range(len(lengths))]
    assert server.refused < 10
    assert len(server.asked) < 40


def test_pages_follow_the_length_of_rows() -> None:
    server = Server([100_000] * 100, TooLong("too long"))
    read(server, PageSize(1000, 1_000))
    # 25 rows of 100 kB are half of what an answer may have.
    assert 20 <= server.asked[-1] <= 25
    assert server.refused <= 3


@pytest.mark.parametrize("error", [TooLong("too long"), TooWide("out of resources"), Unavailable("status 500")])
def test_a_row_that_is_too_long_by_itself_is_an_error(error: EvaluatorError) -> None:
    server = Server([6_000_000], error)
    with pytest.raises(type(error)):
        read(server, PageSize(1000, 1_000))
    assert len(server.asked) <= 6


def test_a_range_too_wide_is_for_the_caller_to_narrow() -> None:
    server = Server([6_000] * 1_000, TooWide("out of resources"))
    with pytest.raises(TooWide):
        read(server, PageSize(1000, 1_000))
    assert len(server.asked) == 1


def test_what_others_learn_from_short_rows_does_not_make_a_giant_be_tried_for_ever() -> None:
    size = PageSize(1000, 1_000)

    class Busy(Server):
        async def get_sized(self, path: str, params: Params, read: Callable[[bytes], Any]) -> tuple[Any, int]:
            for _ in range(50):
                size.came(1_000, 1_000)
            return await super().get_sized(path, params, read)

    server = Busy([1_700_000] * 6, TooLong("too long"))
    assert len(read(server, size)) == 6
    assert len(server.asked) < 20
