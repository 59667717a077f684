"""A watch that knows of its judges: asked before a fall is told, taken out where they moved."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from monitors import DropTest, Event, MonitorSpec
from monitors.drift import Anchor, Anchored, Round
from tests.watching import START, House

DAY = timedelta(days=1)
RULER = "v1 gpt"


class FakeJudges:
    """A judge with anchors: weekly rounds, and one more when it is asked again."""

    def __init__(self, lower: float, *, answers: bool = True) -> None:
        self.lower = lower
        self.answers = answers
        self.asked: list[str] = []
        self.rounds = [self._round(START - 7 * week * DAY - 6.9 * DAY, 0.0) for week in range(12, -1, -1)]
        self.moves: list[timedelta] = []

    def anchored(self, score: str) -> Anchored | None:
        assert score == "faithfulness"
        moves = tuple(START - ago for ago in self.moves)
        return Anchored({str(i): Anchor(1.0, str(i)) for i in range(40)}, tuple(self.rounds), moves)

    def again(self, score: str) -> bool:
        self.asked.append(score)
        if self.answers:
            # Its new name was seen with the first trace of the week.
            since = START - 7 * DAY if self.lower else None
            self.rounds.append(replace(self._round(START - timedelta(hours=1), self.lower), since=since))
            self.moves = [timedelta(hours=1)] if self.lower else []
        return self.answers

    def _round(self, at: datetime, lower: float) -> Round:
        values = {str(i): 4.0 - lower + 0.01 * (i % 3) for i in range(40)}
        return Round(at, RULER, values)


def fallen(judges: FakeJudges, low: float = 0.9) -> House:
    house = House(judges=judges)
    house.fill(7, 92)
    house.fill(0, 7, low=low, bad="answer:3")
    return house


def test_the_judge_is_asked_before_a_fall_is_told_and_the_message_says_that_it_is_the_app() -> None:
    judges = FakeJudges(0.0)
    (alert,) = fallen(judges).look()
    assert alert.event is Event.FELL
    assert judges.asked == ["faithfulness"]
    assert isinstance(alert.test, DropTest)
    assert alert.test.blame == "app"


def test_nobody_hears_of_a_fall_that_is_the_judges_doing() -> None:
    judges = FakeJudges(0.45)  # half of the traffic falls by 0.9
    judges.rounds[-1] = judges._round(START - 7.2 * DAY, 0.0)
    house = fallen(judges)
    assert house.look() == []
    assert house.slack.got == []
    assert judges.asked == ["faithfulness"]


def test_quiet_weeks_and_open_alerts_ask_nobody() -> None:
    quiet = FakeJudges(0.0)
    house = House(judges=quiet)
    house.fill(0, 92)
    assert house.look() == []
    assert quiet.asked == []
    open_ = FakeJudges(0.0)
    house = fallen(open_)
    house.look()
    house.look()
    assert open_.asked == ["faithfulness"]


def test_without_an_answer_a_fall_is_told_with_what_is_known() -> None:
    judges = FakeJudges(0.0, answers=False)
    (alert,) = fallen(judges).look()
    assert alert.event is Event.FELL
    assert judges.asked == ["faithfulness"]


def test_an_open_alert_that_turns_out_to_be_the_judges_is_resolved_and_says_so() -> None:
    judges = FakeJudges(0.45, answers=False)
    judges.rounds[-1] = judges._round(START - 7.2 * DAY, 0.0)
    house = fallen(judges)
    (first,) = house.look()
    assert first.event is Event.FELL
    judges.answers = True
    judges.again("faithfulness")
    (second,) = house.look()
    assert second.event is Event.RESOLVED
    assert "The judge: on 40 frozen traces" in house.texts[-1]


@pytest.mark.parametrize(("low", "fell"), [(0.6, False), (2.4, True)])
def test_who_hears_of_another_ruler_hears_whether_the_score_fell_beside_it(low: float, *, fell: bool) -> None:
    judges = FakeJudges(0.0)
    judges.rounds.append(replace(judges._round(START - 6.8 * DAY, 0.3), ruler="v2 gpt"))
    house = House(judges=judges)
    house.fill(7, 98)
    house.clock.at = START - 7 * DAY
    assert house.look() == []
    house.fill(0, 7, low=low, metadata={"evaluator_version": "v2"})
    house.clock.at = START
    (alert,) = house.look()
    assert alert.event is Event.REMEASURED
    told = json.dumps(house.slack.got[0], ensure_ascii=False).replace("\N{MINUS SIGN}", "-")
    assert "the new one gives -0.30" in told
    found = re.search(r"Beside that the plain mean moved by ([-+.0-9]+) \(95 % ([-+.0-9]+) to ([-+.0-9]+)\)", told)
    assert found is not None, told
    moved, least, most = map(float, found.groups())
    assert least < moved < most
    assert (most < 0) == fell
    assert house.look() == [], "no alert comes of it"


def test_a_monitor_of_labels_has_no_anchors() -> None:
    judges = FakeJudges(0.0)
    house = House(MonitorSpec(score="mood", labels=frozenset({"warm"})), judges=judges)
    assert house.look() == []
    assert judges.asked == []
