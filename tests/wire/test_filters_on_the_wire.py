"""Filters that ask for more than a root's own row: its metadata when it is sampled, the whole trace when evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from evaluator.clock import SystemClock
from evaluator.langfuse import Langfuse, Window
from evaluator.limits import OpenGate
from evaluator.loop import LoopThread
from sandbox.server import Sandbox
from tests.serving import Traffic
from traces import When


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    with LoopThread() as running:
        yield running


@pytest.mark.parametrize("asks", [True, False])
def test_metadata_of_roots_is_read_where_a_filter_asks_for_it(
    sandbox: Sandbox, traffic: Traffic, loop: LoopThread, asks: bool
) -> None:
    (pro,) = traffic.add(1, metadata={"plan": "pro", "seats": 7, "notes": "x" * 5000})
    traffic.add(2, first=1, metadata={"plan": "free"})
    traffic.add(1, first=3)
    langfuse = Langfuse(
        base_url=sandbox.langfuse_url,
        public_key="pk-lf-sandbox",
        secret_key="sk-lf-sandbox",
        loop=loop,
        gate=OpenGate(),
        clock=SystemClock(),
        random=Random(1),
        root_metadata=asks,
    )
    now = datetime.now(UTC)
    window = Window(now - timedelta(hours=1), now)
    found = [root for page in langfuse.finished_roots(window, longest=timedelta(hours=1)) for root in page]
    by_id = langfuse.roots([root.ref.id for root in found], Window(now - timedelta(hours=2), now))
    in_sessions = langfuse.session_roots({"session-0": now - timedelta(hours=1)}, most=10)["session-0"].roots
    langfuse.close()
    when = When.model_validate({"metadata": {"plan": "pro", "seats": 7}})
    expected = {pro} if asks else set()
    assert len(found) == len(by_id) == 4
    assert {root.ref.id for root in found if when.matches(root)} == expected
    assert {root.ref.id for root in by_id.values() if when.matches(root)} == expected
    assert {root.ref.id for root in in_sessions if when.matches(root)} == expected
    assert all(len(str(root.metadata.get("notes", ""))) <= 200 for root in found)
