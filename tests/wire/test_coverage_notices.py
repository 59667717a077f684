"""People hear of missed coverage and of silence once, and once more when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evaluator.alerts.coverage_notices import CoverageNotices, promises_nothing
from evaluator.definitions import Definitions, load
from evaluator.state.alert_memory import AlertMemory
from evaluator.state.fleet import Settled, State
from tests.watching import HandClock
from traces import TraceRef

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
FIVE = timedelta(minutes=5)


class World:
    """A service on which a clock is turned by hand."""

    def __init__(self, state: State, definitions: Definitions) -> None:
        self.state, self.clock = state, HandClock()
        self.clock.at = START
        self.notices = CoverageNotices(state, definitions, self.clock, delivers=True)
        self._number = 0

    def traces(self, number: int, state: str = "scored") -> None:
        """Let traces be handed over now, and end at once; `pending` ones do not."""
        now = self.clock.at
        refs = [TraceRef(f"t{self._number + n}", "r", "production", now, now) for n in range(number)]
        self._number += number
        self.state.claim({ref: ["answered/sampled/"] for ref in refs}, now)
        if state != "pending":
            self.state.settle([Settled(ref, "answered", state, handed=now) for ref in refs], now)

    def passes(self, span: timedelta, traces: int = 0, state: str = "scored") -> list[str]:
        """Let time pass in steps of five minutes, with traces in each; return what was told."""
        told: list[str] = []
        for _ in range(int(span / FIVE)):
            self.traces(traces, state)
            self.clock.at += FIVE
            self.state.advance(self.clock.at)
            told += self.notices.tell()
        return told


@pytest.fixture
def world(state: State, tmp_path: Path) -> World:
    (tmp_path / "rules.yaml").write_text("- {name: answered, rule: not_empty}\n")
    (tmp_path / "evaluator.yaml").write_text("coverage: {objective: 99%, within: 10m}\n")
    return World(state, load(tmp_path))


def test_a_service_that_keeps_its_promises_tells_nothing(world: World) -> None:
    assert world.passes(timedelta(hours=2), traces=10) == []


def test_missed_coverage_is_told_once_and_its_end_once(world: World) -> None:
    began = world.passes(timedelta(hours=1), traces=10, state="failed")
    assert [key.partition("/")[0] + key[-6:] for key in began] == ["coverage/began"]
    over = world.passes(timedelta(hours=3), traces=10)
    assert [key[-5:] for key in over] == ["/over"]
    assert over[0].split("/")[:2] == began[0].split("/")[:2], "the same episode"
    texts = [payload["message"]["text"] for payload in world.state.outbox().values()]
    assert any("0.0% of" in text and "99 % evaluated within 10m" in text for text in texts)
    assert any("Coverage is met again" in text for text in texts)
    assert [text for _, text in AlertMemory(world.state._redis, "test").told()] == texts[::-1]


def test_silence_is_told_though_no_objective_is_set(state: State, tmp_path: Path) -> None:
    world = World(state, load(tmp_path))
    assert world.passes(timedelta(minutes=30), traces=2, state="pending") == []
    told = world.passes(timedelta(minutes=30), traces=2, state="pending")
    assert [key.partition("/")[0] for key in told] == ["silence"]
    assert [key[-4:] for key in world.passes(timedelta(hours=1), traces=2)] == ["over"]


def looks(world: World, span: timedelta, moves: timedelta = timedelta()) -> list[str]:
    """Look every five minutes, with discovery reading on by `moves` each time; return the kinds of what was told."""
    told: list[str] = []
    for _ in range(int(span / FIVE)):
        world.clock.at += FIVE
        mark = world.state.watermark()
        assert mark is not None
        world.state.advance(mark + moves)
        told += [key.partition("/")[0] for key in world.notices.tell()]
    return told


def test_a_discovery_that_stands_still_is_told(world: World) -> None:
    world.state.advance(START)
    assert looks(world, timedelta(hours=2)) == ["behind"]


def test_a_discovery_that_catches_up_after_a_long_pause_is_none_that_stands_still(world: World) -> None:
    world.state.advance(START - timedelta(days=3))
    assert looks(world, timedelta(hours=2), moves=timedelta(minutes=20)) == []


def test_a_service_that_comes_back_has_time_to_read_before_it_is_told_to_stand_still(world: World) -> None:
    world.state.advance(START)
    assert looks(world, FIVE) == []
    world.clock.at += timedelta(days=2)
    assert looks(world, timedelta(minutes=10)) == []


def test_a_short_relief_is_not_the_end(world: World) -> None:
    world.passes(timedelta(minutes=30), traces=10, state="failed")
    assert world.passes(timedelta(minutes=10)) == []
    assert world.passes(timedelta(minutes=30), traces=10, state="failed") == []


def test_what_a_batch_answers_is_not_promised(world: World, tmp_path: Path) -> None:
    (tmp_path / "rubrics").mkdir()
    text = "name: tone\ninputs: {a: $.root.output}\ncriteria: Polite?\nscore: {type: boolean}\njudge: {lane: batch}\n"
    (tmp_path / "rubrics" / "tone.yaml").write_text(text)
    assert promises_nothing(load(tmp_path)) == {"tone"}
