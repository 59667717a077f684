from __future__ import annotations

import base64
import json
from datetime import timedelta
from itertools import pairwise

import pytest

from evaluator.errors import Refused, Unavailable
from monitors import Event, MonitorSpec
from tests.watching import START, House, Killed, die


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
    assert "350 of about 700 scored this week against 4,200 in the 12 weeks before" in house.texts[0]
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


def test_a_message_that_was_told_and_could_not_be_confirmed_is_not_told_again() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.5)
    confirmed = house.state.sent

    def away(message: str) -> None:
        raise Unavailable("Redis does not answer")

    house.state.sent = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        house.look()
    assert len(house.slack.got) == len(house.state.waiting) == 1
    house.state.sent = confirmed  # type: ignore[method-assign]
    house.watch.deliver()
    assert (len(house.slack.got), house.state.waiting) == (1, {})


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
