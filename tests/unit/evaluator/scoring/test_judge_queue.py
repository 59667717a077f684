"""How many judge calls may wait for Langfuse: by number and by bytes, each question whole, what is dropped counted."""

from __future__ import annotations

from itertools import count

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext
from structlog.testing import capture_logs

from evaluator.scoring.judge_queue import BYTES_A_REQUEST, MOST_BYTES, MOST_SPANS, Room, lots


def span(number: int, text: str = "") -> ReadableSpan:
    return ReadableSpan("judge", SpanContext(1, number, is_remote=False), attributes={"input": text})


@pytest.fixture
def room() -> Room:
    return Room(lambda: 0.0)


def test_long_prompts_wait_no_more_than_there_are_bytes_for(room: Room) -> None:
    size = 10_000_000
    taken = [number for number in range(1, 100) if room.take(number, 1, size)]
    assert len(taken) == MOST_BYTES // size
    room.sent([span(1), span(2)])
    assert [room.take(number, 1, size) for number in (201, 202, 203)] == [True, True, False]


def test_many_short_ones_wait_no_more_than_there_are_places_for(room: Room) -> None:
    assert sum(room.take(number, 2, 10) for number in range(1, MOST_SPANS)) == MOST_SPANS // 2
    room.sent([span(5000), span(1)])  # a call below a question gives nothing back, its question does
    assert [room.take(number, 1, 10) for number in (6001, 6002, 6003)] == [True, True, False]


def test_one_that_is_longer_than_all_room_is_shown_when_nothing_else_waits(room: Room) -> None:
    assert room.take(1, 1, 2 * MOST_BYTES)
    assert not room.take(2, 1, 1)
    room.sent([span(1)])
    assert room.take(3, 1, 1)


def test_what_is_dropped_is_counted_and_told_once_a_minute() -> None:
    seconds = count(0, 20)
    room = Room(lambda: float(next(seconds)))
    room.take(1, MOST_SPANS, 1)
    with capture_logs() as lines:
        assert not any(room.take(number, 1, 1) for number in range(2, 7))
    assert [(line["dropped"], line["waiting"]) for line in lines] == [(1, MOST_SPANS), (4, MOST_SPANS)]


def test_a_request_holds_no_more_than_langfuse_takes_at_once() -> None:
    spans = [span(number, "x" * size) for number, size in enumerate([10, BYTES_A_REQUEST - 1000, 2000, 10, 9_000_000])]
    assert [[each.context.span_id for each in lot if each.context] for lot in lots(spans)] == [[0, 1], [2, 3], [4]]
    assert list(lots([])) == []
