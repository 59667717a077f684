from __future__ import annotations

import base64
import contextlib
import copy
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from evaluator.errors import Refused, Unavailable
from evaluator.langfuse import Capabilities, Window
from evaluator.message import Message
from evaluator.state import MonitorRecord
from evaluator.watch import Watch
from monitors import Alert, Event, MonitorSpec
from traces import RecordedScore, TraceRef, TraceRoot

START = datetime(2026, 3, 30, 6, 0, tzinfo=UTC)


class HandClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class FakeLangfuse:
    """Scores in memory; pages are small, so that paging is part of every test."""

    def __init__(self) -> None:
        self.held: list[RecordedScore] = []
        self.traces: dict[str, TraceRoot] = {}
        self.asked: list[tuple[Window, tuple[str, ...]]] = []
        self.joined: list[Sequence[str]] = []
        self.broken: set[str] = set()
        self.linking: Callable[[], None] = lambda: None
        self.reading: Callable[[], object] = lambda: None

    def capabilities(self) -> Capabilities:
        return Capabilities("4.59.0", "proj", "Project", batch_scores=True)

    def scores(
        self, window: Window, *, names: Sequence[str] = (), trace_ids: Sequence[str] = ()
    ) -> Iterator[list[RecordedScore]]:
        assert not trace_ids
        self.reading()
        if self.broken.intersection(names):
            raise Unavailable("Langfuse does not answer")
        self.asked.append((window, tuple(names)))
        found = [s for s in self.held if s.name in names and window.start <= s.timestamp < window.end]
        for first in range(0, len(found), 100):
            yield found[first : first + 100]

    def roots(self, trace_ids: Sequence[str], window: Window) -> dict[str, TraceRoot]:
        self.joined.append(trace_ids)
        known = (self.traces[i] for i in trace_ids if i in self.traces)
        return {root.ref.id: root for root in known if window.start <= root.ref.started < window.end}

    def trace_url(self, trace_id: str) -> str:
        self.linking()
        return f"https://langfuse.example/project/proj/traces/{trace_id}"


class FakeState:
    """The fleet's state; `saved` runs right after a save, where a test may let the process die."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self.waiting: dict[str, dict[str, Any]] = {}
        self.saved: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def monitor(self, name: str) -> Iterator[MonitorRecord]:
        record = MonitorRecord(copy.deepcopy(self.states.get(name)))
        yield record
        self.states[name] = json.loads(json.dumps(record.state))
        self.waiting.update(json.loads(json.dumps(record.outbox)))
        if record.outbox:
            self.saved()

    def outbox(self) -> dict[str, dict[str, Any]]:
        return dict(self.waiting)

    def sent(self, message: str) -> None:
        del self.waiting[message]


class FakeSlack:
    """Takes messages, or fails as told."""

    takes_charts = True

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.charts: list[bytes | None] = []
        self.failing: Exception | None = None
        self.tries = 0

    def post(self, content: Message, chart: bytes | None = None) -> None:
        self.tries += 1
        if self.failing is not None:
            raise self.failing
        self.got.append(content)
        self.charts.append(chart)


class Killed(BaseException):
    """The process dies."""


def die() -> None:
    raise Killed


class House:
    """A watch with everything around it."""

    def __init__(self, *specs: MonitorSpec, slack: bool = True) -> None:
        self.langfuse, self.state, self.slack, self.clock = FakeLangfuse(), FakeState(), FakeSlack(), HandClock()
        self.specs: tuple[MonitorSpec, ...] = specs or (MonitorSpec(score="faithfulness"),)
        self.with_slack = slack
        self.watch = self.started()

    def started(self) -> Watch:
        return Watch(self.langfuse, self.state, self.specs, self.slack if self.with_slack else None, self.clock)

    def fill(self, first: int, last: int, *, low: float = 0.0, seed: int = 0, **fields: Any) -> None:
        """Write scores for days `first` to `last` before now (0 is today), 50 a day."""
        for day in range(first, last):
            self.day(START - timedelta(days=day + 1), low=low, seed=seed + day, **fields)

    def day(self, start: datetime, *, low: float = 0.0, seed: int = 0, bad: str = "answer:4", **fields: Any) -> None:
        rng = np.random.default_rng([seed, start.toordinal()])
        for i in range(50):
            fallen = low > 0 and i % 2 == 0
            level = 4.2 - (low if fallen else 0) + 0.7 * rng.standard_normal()
            prompt = bad if fallen else "answer:3"
            at = start + timedelta(minutes=28 * i)
            self.langfuse.held.append(
                recorded(float(np.clip(round(level), 1, 5)), at, f"{at:%m%d}-{i}", prompt, **fields)
            )

    def look(self) -> list[Alert]:
        return self.watch.look()

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.slack.got]


def recorded(value: float | str, at: datetime, trace: str, prompt: str = "answer:3", **fields: Any) -> RecordedScore:
    metadata = {
        "evaluator_version": "v1",
        "inclusion_probability": 0.5,
        "session_id": f"session-{trace}",
        "judge_model": "gpt",
        "segments": {"prompt_version": prompt, "model": "m", "trace_name": "answer", "tags": "a,b"},
        **fields.pop("metadata", {}),
    }
    defaults = {"name": "faithfulness", "data_type": "NUMERIC", "source": "API", "comment": f"because {trace}"}
    settings = {**defaults, "metadata": metadata, **fields}
    name = settings["name"]
    return RecordedScore(id=f"{trace}-{name}", value=value, timestamp=at, trace_id=trace, **settings)


def test_a_fall_is_told_once_and_names_the_bad_prompt_version_first() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    alerts = house.look()
    assert [alert.event for alert in alerts] == [Event.FELL]
    found = alerts[0].attribution
    assert found is not None
    assert (found.dimension, found.rows[0].value) == ("prompt_version", "answer:4")
    assert alerts[0].test is not None
    assert alerts[0].test.n == 350
    assert len(house.slack.got) == 1
    assert house.texts[0].startswith("faithfulness fell 4.1")
    assert "350 scored this week against 4,200 in the 12 weeks before" in house.texts[0]
    assert house.slack.charts[0] is not None
    assert house.slack.charts[0].startswith(b"\x89PNG")


def test_repeated_looks_do_not_repeat_the_alert() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    for _ in range(5):
        house.look()
    for day in range(6):
        house.day(START + timedelta(days=day), low=1.2)
        house.clock.at = START + timedelta(days=day + 1)
        house.look()
    assert len(house.slack.got) == 1
    assert house.state.waiting == {}


def test_a_crash_between_save_and_delivery_still_tells_it_once() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)

    house.state.saved = die
    with pytest.raises(Killed):
        house.look()
    assert house.slack.got == []
    house.state.saved = lambda: None
    house.watch = house.started()
    assert house.look() == []
    assert len(house.slack.got) == 1
    house.look()
    house.watch.deliver()
    assert len(house.slack.got) == 1


def test_a_crash_before_the_save_loses_nothing() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.langfuse.linking = die
    with pytest.raises(Killed):
        house.look()
    assert house.state.waiting == {}
    house.langfuse.linking = lambda: None
    house.look()
    assert len(house.slack.got) == 1


def test_quiet_weeks_say_nothing() -> None:
    house = House()
    house.fill(0, 91)
    assert house.look() == []
    assert house.slack.got == []


def test_an_undelivered_message_stays_and_is_tried_ever_less_often() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.slack.failing = Refused("Slack refuses: channel_not_found")
    house.look()
    tried = [house.clock.at]
    for _ in range(400):
        before = house.slack.tries
        house.clock.sleep(20)
        house.watch.deliver()
        tried.extend([house.clock.at] * (house.slack.tries - before))
    waits = [(b - a).total_seconds() for a, b in pairwise(tried)]
    assert waits == sorted(waits)
    assert waits[0] == 60
    assert len(tried) < 10
    house.slack.failing = None
    house.clock.sleep(3600)
    house.watch.deliver()
    assert len(house.slack.got) == 1


def test_slacks_own_wish_to_wait_is_honoured() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.slack.failing = Unavailable("busy", retry_after=500)
    house.look()
    house.slack.failing = None
    house.clock.sleep(499)
    house.watch.deliver()
    assert house.slack.got == []
    house.clock.sleep(1)
    house.watch.deliver()
    assert len(house.slack.got) == 1


def test_recovery_is_told_and_the_alert_may_come_again() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.look()
    for day in range(12):
        house.day(START + timedelta(days=day))
    house.clock.at = START + timedelta(days=12)
    (alert,) = house.look()
    assert alert.event is Event.RESOLVED
    assert "has recovered" in house.texts[1]
    house.clock.at = START + timedelta(days=12, hours=1)
    assert house.look() == []


def test_a_fall_that_lasts_becomes_the_new_normal_and_a_second_one_is_seen() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.look()
    for day in range(35):
        house.day(START + timedelta(days=day), low=1.2 if day < 28 else 2.8)
    house.clock.at = START + timedelta(days=28)
    assert [alert.event for alert in house.look()] == [Event.NEW_NORMAL]
    house.clock.at = START + timedelta(days=35)
    assert [alert.event for alert in house.look()] == [Event.FELL]


def test_missing_scores_are_not_zeros() -> None:
    house = House()
    house.fill(7, 91)
    assert house.look() == []
    house.langfuse.held.clear()
    assert house.look() == []


def test_too_little_history_is_no_alert() -> None:
    house = House()
    house.fill(7, 28)
    house.fill(0, 7, low=3.0)
    assert house.look() == []


@pytest.mark.parametrize("change", [{"evaluator_version": "v2"}, {"judge_model": "other"}])
def test_a_changed_ruler_is_told_instead_of_an_alert(change: dict[str, str]) -> None:
    house = House()
    house.fill(7, 98)
    house.clock.at = START - timedelta(days=7)
    assert house.look() == []
    house.fill(0, 7, low=2.0, metadata=change)
    house.clock.at = START
    (alert,) = house.look()
    assert alert.event is Event.REMEASURED
    assert "measured differently" in house.texts[0]
    assert next(iter(change.values())) in json.dumps(house.slack.got[0])
    assert house.look() == []


def test_weights_are_one_over_the_inclusion_probability() -> None:
    house = House(MonitorSpec(score="faithfulness", segments=()))
    for day in range(91):
        at = START - timedelta(days=day + 1)
        # All 25 bad ones are taken, of 250 good ones every tenth.
        for i in range(50):
            good = i % 2 == 0
            meta = {"inclusion_probability": 0.1 if good else 1.0}
            score = recorded(5.0 if good else 1.0, at + timedelta(minutes=i), f"{day}-{i}", metadata=meta)
            house.langfuse.held.append(score)
    house.watch.digest()
    assert "*4.64*" in json.dumps(house.slack.got[0])  # (250 x 5 + 25 x 1) / 275


@pytest.mark.parametrize("odd", [0, -1, 7, "0.5", None, True])
def test_an_odd_inclusion_probability_counts_once(odd: object) -> None:
    house = House()
    house.langfuse.held = [
        recorded(float(i % 2), START - timedelta(hours=i + 1), f"t{i}", metadata={"inclusion_probability": odd})
        for i in range(10)
    ]
    house.watch.digest()
    assert "*50.0 %*" in json.dumps(house.slack.got[0])


def test_user_feedback_of_others_is_joined_with_its_trace() -> None:
    house = House(MonitorSpec(score="user-feedback"))
    rng = np.random.default_rng(3)
    for day in range(91):
        for i in range(30):
            at = START - timedelta(days=day + 1) + timedelta(minutes=i)
            bad = day < 7 and i < 15
            value = float(rng.random() < (0.3 if bad else 0.9))
            trace = f"{day}-{i}"
            feedback = RecordedScore(trace, "user-feedback", value, "BOOLEAN", "API", at, trace_id=trace)
            house.langfuse.held.append(feedback)
            asked = at - timedelta(hours=2)
            ref = TraceRef(trace, "r", "default", asked, asked)
            house.langfuse.traces[trace] = TraceRoot(
                ref, "answer", prompt_name="answer", prompt_version=4 if bad else 3, tags=("x",), session_id=f"s{trace}"
            )
    (alert,) = house.look()
    assert alert.binary
    assert alert.attribution is not None
    assert alert.attribution.rows[0].value == "answer:4"
    assert "%" in house.texts[0]
    assert max(len(ids) for ids in house.langfuse.joined) <= 100


def test_our_own_scores_need_no_look_at_their_traces() -> None:
    house = House()
    house.fill(0, 91)
    house.look()
    assert house.langfuse.joined == []


def test_texts_and_nan_are_left_out_and_never_counted_as_zero() -> None:
    house = House()
    house.fill(7, 91)
    for i in range(60):
        at = START - timedelta(hours=i + 1)
        house.langfuse.held.append(recorded("bad", at, f"text-{i}"))
        house.langfuse.held.append(recorded(float("nan"), at, f"nan-{i}"))
    assert house.look() == []
    house.fill(0, 7)
    assert house.look() == []


def test_only_the_wanted_environments_count() -> None:
    spec = MonitorSpec.model_validate({"score": "faithfulness", "environment": "production"})
    house = House(spec)
    house.fill(0, 91, environment="production")
    house.fill(0, 7, low=3.0, seed=99, environment="staging")
    assert house.look() == []


def test_an_excluded_week_is_replaced_by_an_earlier_one() -> None:
    holiday = (START - timedelta(days=10)).date()
    house = House(MonitorSpec(score="faithfulness", excluded_weeks=(holiday,), baseline_weeks=12))
    house.fill(7, 14, low=3.0)
    house.fill(14, 105)
    house.fill(0, 7, low=1.2)
    (alert,) = house.look()
    assert alert.test is not None
    assert alert.test.weeks == 12
    assert alert.test.baseline > 4


def test_a_date_far_away_makes_nobody_read_more() -> None:
    house = House(MonitorSpec(score="faithfulness", excluded_weeks=(date(2020, 1, 1),)))
    house.look()
    assert min(window.start for window, _ in house.langfuse.asked) == START - timedelta(weeks=13)


def test_one_score_that_cannot_be_read_does_not_stop_the_others() -> None:
    house = House(MonitorSpec(score="broken"), MonitorSpec(score="faithfulness"))
    house.langfuse.broken.add("broken")
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    with pytest.raises(Unavailable):
        house.look()
    assert len(house.slack.got) == 1


def test_when_two_look_at_once_one_finding_counts() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    other = house.started()

    def overtaken() -> None:
        house.langfuse.reading = lambda: None
        other.look()

    house.langfuse.reading = overtaken
    assert house.look() == []
    assert len(house.slack.got) == 1


def test_without_slack_an_alert_is_logged_and_nothing_piles_up(capsys: pytest.CaptureFixture[str]) -> None:
    house = House(slack=False)
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    assert len(house.look()) == 1
    house.watch.digest()
    assert house.state.waiting == {}
    assert "faithfulness fell" in capsys.readouterr().out


def test_a_webhook_gets_no_chart() -> None:
    house = House()
    house.slack.takes_charts = False
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.look()
    assert house.slack.charts == [None]


def test_the_outbox_is_json_with_the_chart_in_base64() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.slack.failing = Unavailable("down")
    (alert,) = house.look()
    assert list(house.state.waiting) == [alert.key]
    assert base64.b64decode(house.state.waiting[alert.key]["chart"]).startswith(b"\x89PNG")


def test_the_digest_tells_of_every_score_and_of_open_alerts() -> None:
    house = House(MonitorSpec(score="faithfulness"), MonitorSpec(score="silent"))
    house.fill(7, 91)
    house.fill(0, 7, low=1.2)
    house.look()
    house.watch.digest()
    text = json.dumps(house.slack.got[1], ensure_ascii=False)
    assert "faithfulness" in house.texts[1]
    assert "low since" in text
    assert "no scores this week" in text
    assert "350 scored" in text


def test_no_monitors_no_digest() -> None:
    house = House()
    house.specs = ()
    house.watch = house.started()
    house.watch.digest()
    assert house.slack.got == []
