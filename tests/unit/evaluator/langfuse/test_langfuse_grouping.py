"""What is done together for several callers is logged in the name of them all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from structlog.contextvars import bound_contextvars, get_contextvars

from evaluator.langfuse.grouping import Grouped


def told(callers: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Return what the log knows while a group's work is done for each of these callers."""
    known: list[dict[str, Any]] = []

    async def work(items: Sequence[int]) -> Sequence[int]:
        known.append(get_contextvars())
        return [-item for item in items]

    async def everybody() -> None:
        grouped = Grouped(work, 100, 0.01)

        async def ask(number: int, about: dict[str, str]) -> None:
            with bound_contextvars(**about):
                assert await grouped.ask([number, number + 1]) == [-number, -number - 1]
                assert get_contextvars() == about, "the caller's own name is as it was"

        await asyncio.gather(*(ask(number, about) for number, about in enumerate(callers)))

    asyncio.run(everybody())
    return known


def test_all_messages_are_named_and_what_they_share_once() -> None:
    callers = [{"message_id": f"m{n}", "lane": "evaluate"} for n in range(3)]
    assert told([*callers, {"message_id": "m0", "lane": "evaluate", "trace_id": "t"}]) == [
        {"message_id": "m0,m1,m2", "lane": "evaluate", "trace_id": "t"}
    ]


def test_of_many_some_are_named_and_the_others_counted() -> None:
    (known,) = told([{"message_id": f"m{n}"} for n in range(40)])
    assert known == {"message_id": "m0,m1,m2,m3,m4 and 35 more"}


def test_who_is_alone_is_named_alone_and_nobody_as_nobody() -> None:
    assert told([{"message_id": "m"}]) == [{"message_id": "m"}]
    assert told([{}]) == [{}]
