"""An alert's life over weeks of daily looks, with people who snooze and a Redis that forgets."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest

from evaluator.errors import Unavailable
from evaluator.messages.delivery import Delivery
from evaluator.state.alert_memory import Kind, Mark
from monitors import Event, Expected, MonitorSpec
from tests.watching import START, FakeMemory, FakeSlack, FakeState, HandClock, House, Killed, die

DAY = timedelta(days=1)


def fallen(*specs: MonitorSpec, low: float = 1.2) -> House:
    house = House(*specs)
    house.fill(7, 91)
    house.fill(0, 7, low=low)
    return house


def live(house: House, days: int, *, low: float = 0.0) -> list[Event]:
    """Let days pass, each with its scores and its look."""
    events: list[Event] = []
    for _ in range(days):
        house.day(house.clock.at, low=low)
        house.clock.at += DAY
        events += [alert.event for alert in house.look()]
    return events


def test_a_fall_that_grows_is_told_in_the_thread_of_the_first_message() -> None:
    house = fallen(low=0.8)
    (first,) = house.look()
    assert live(house, 9, low=3.0) == [Event.GREW]
    assert live(house, 14) == [Event.RESOLVED]
    opening, grown, resolved = house.slack.letters
    assert opening.thread is None
    assert (grown.key, resolved.key) == (f"{first.id}/grew1", f"{first.id}/resolved")
    assert grown.thread_place == resolved.thread_place == f"place of {first.key}"
    assert "fell further" in grown.content["text"]
    assert "when last told" in str(grown.content["blocks"])


def test_a_wiped_redis_repeats_nothing_where_the_message_can_be_found() -> None:
    house = fallen()
    (first,) = house.look()
    house.wipe()
    assert live(house, 3, low=1.2) == []
    assert len(house.slack.got) == 1
    # It is the same alert still: its end goes into the same thread.
    assert Event.RESOLVED in live(house, 14)
    assert house.slack.letters[-1].thread_place == f"place of {first.key}"


def test_a_forgotten_alert_that_is_nearly_over_is_ended_where_it_began() -> None:
    house = fallen(low=0.9)
    (first,) = house.look()
    # Three days of the week are as before again: low enough to stay open (p = .01 and .1), too little to fire.
    assert live(house, 2) == []
    house.wipe()
    assert live(house, 1) == []
    assert live(house, 4)[-1:] == [Event.RESOLVED]
    assert house.slack.letters[-1].key == f"{first.id}/{Event.RESOLVED}"
    assert len(house.slack.letters) == 2


def test_where_nobody_can_look_a_wiped_redis_tells_the_same_alert_under_the_same_name() -> None:
    house = fallen()
    house.slack.finds = False
    house.look()
    house.clock.at += DAY
    house.wipe()
    house.look()
    first, again = house.slack.letters
    assert first.key == again.key


def test_a_fall_found_late_says_since_when_it_could_be_seen() -> None:
    house = fallen()
    house.look()
    shown = str(house.slack.got[0]["blocks"])
    assert "First to be seen on 2" in shown


def test_a_snooze_is_quiet_and_what_is_still_low_afterwards_is_told_then() -> None:
    house = fallen()
    house.memory.said = [Mark(Kind.SNOOZE, "faithfulness", START + 5 * DAY)]
    assert house.look() == []
    assert live(house, 4, low=1.2) == []
    assert live(house, 1, low=1.2) == [Event.FELL]
    assert len(house.slack.got) == 1


def test_a_snooze_of_another_score_changes_nothing() -> None:
    house = fallen()
    house.memory.said = [Mark(Kind.SNOOZE, "helpfulness", START + 5 * DAY)]
    assert [alert.event for alert in house.look()] == [Event.FELL]


def test_a_change_that_was_expected_pages_nobody() -> None:
    house = fallen(MonitorSpec(score="faithfulness", expected=(Expected(at=START - 7 * DAY, why="shorter"),)))
    assert house.look() == []
    assert live(house, 30, low=1.2) == []
    # From then on the lower level is what is normal: a second fall is seen.
    assert live(house, 7, low=3.0) == [Event.FELL]


def test_to_say_later_that_it_was_expected_closes_the_alert_in_its_thread() -> None:
    house = fallen()
    (first,) = house.look()
    house.memory.said = [Mark(Kind.EXPECT, "faithfulness", START - 7 * DAY, "answers are shorter")]
    assert live(house, 2, low=1.2) == [Event.EXPECTED]
    assert "(answers are shorter)" in house.texts[1]
    assert house.slack.letters[1].thread_place == f"place of {first.key}"


def test_one_destination_that_is_down_makes_no_other_hear_twice() -> None:
    house = fallen()
    other = FakeSlack("webhook")
    other.failing = Unavailable("it is down")
    house.to.append(other)
    house.watch = house.started()
    (alert,) = house.look()
    for _ in count():
        house.clock.sleep(600)
        house.watch.deliver()
        if other.tries == 4:
            break
    assert (len(house.slack.got), len(other.got)) == (1, 0)
    assert house.memory.went == {("Slack", alert.key): "", ("webhook", alert.key): "it is down"}
    other.failing = None
    house.clock.sleep(3600)
    house.watch.deliver()
    assert (len(house.slack.got), len(other.got)) == (1, 1)
    assert (house.state.waiting, house.memory.went) == ({}, {})


def test_a_destination_that_is_set_up_no_more_keeps_no_message_waiting() -> None:
    house = fallen()
    other = FakeSlack("webhook")
    other.failing = Unavailable("it is down")
    house.to.append(other)
    house.watch = house.started()
    house.look()
    house.to.remove(other)
    house.watch = house.started()
    house.watch.deliver()
    assert (house.state.waiting, house.memory.went) == ({}, {})
    assert len(house.slack.got) == 1


def test_an_answer_waits_for_what_it_answers() -> None:
    house = fallen()
    house.slack.failing = Unavailable("it is down")
    house.look()
    assert live(house, 10) == [Event.RESOLVED]
    house.slack.failing = None
    # The first message was tried often and waits for an hour; the second would be due at once.
    house.clock.sleep(70)
    house.watch.deliver()
    house.clock.sleep(3600)
    house.watch.deliver()
    first, second = house.slack.letters
    assert (first.key.rpartition("/")[2], second.key.rpartition("/")[2]) == ("fell", "resolved")
    assert second.thread_place == f"place of {first.key}"
    assert (house.state.waiting, house.memory.went) == ({}, {})


def test_who_takes_over_is_told_that_it_may_have_been_sent() -> None:
    house = fallen()
    house.slack.failing = Unavailable("hung up")
    house.look()
    house.slack.failing = None
    house.watch = house.started()
    house.watch.deliver()
    (letter,) = house.slack.letters
    assert letter.since is not None
    assert START - DAY < letter.since < START


def test_a_small_fall_that_lasts_is_told_once_as_what_it_is() -> None:
    house = House(MonitorSpec(score="faithfulness", scale=(1, 5)))
    house.fill(28, 16 * 7)
    house.fill(0, 28, low=0.17)
    (alert,) = house.look()
    assert alert.test is not None
    assert alert.test.span == 4
    assert live(house, 5, low=0.17) == []
    (letter,) = house.slack.letters
    assert "in the last 4 weeks against" in str(letter.content)
    assert "A small fall that lasts" in str(letter.content)


def test_an_alert_whose_score_is_watched_no_longer_is_closed_in_its_thread_once() -> None:
    house = fallen(MonitorSpec(score="faithfulness"), MonitorSpec(score="other"))
    (first,) = house.look()
    house.specs = (MonitorSpec(score="other"),)
    house.watch = house.started()
    assert [(alert.event, alert.id) for alert in house.look()] == [(Event.LOST, first.id)]
    assert house.slack.letters[-1].thread_place == f"place of {first.key}"
    assert "monitors.yaml no more" in str(house.slack.got[-1])
    assert house.look() == []
    # Watched again later, it begins anew.
    house.specs = (MonitorSpec(score="faithfulness"),)
    house.watch = house.started()
    assert Event.LOST not in live(house, 3)


def test_a_crash_while_an_alert_is_let_go_loses_and_repeats_nothing() -> None:
    house = fallen(MonitorSpec(score="faithfulness"), MonitorSpec(score="other"))
    (first,) = house.look()
    house.specs = (MonitorSpec(score="other"),)
    house.state.saved = die
    house.watch = house.started()
    with pytest.raises(Killed):
        house.look()
    house.state.saved = lambda: None
    house.watch = house.started()
    assert house.look() == []
    assert [letter.key for letter in house.slack.letters] == [first.key, f"{first.id}/lost"]


def test_an_alert_of_a_score_that_nobody_writes_any_more_ends() -> None:
    house = fallen()
    (first,) = house.look()
    events = []
    for days in (10, 17, 1, 3):
        house.clock.at += days * DAY
        events += [(alert.event, alert.id) for alert in house.look()]
    assert events == [(Event.LOST, first.id)]
    assert "For four weeks nothing could be compared (0 scores this week" in house.texts[-1]


def _several(total: float | None, *names: str) -> House:
    house = House(*(MonitorSpec(score=name) for name in names), total=total)
    for seed, name in enumerate(names):
        house.fill(7, 91, name=name, seed=1000 * seed)
        house.fill(0, 7, name=name, low=0.75 if seed else 1.2, seed=1000 * seed)
    return house


def test_one_budget_for_all_scores_leaves_each_a_part_of_it() -> None:
    names = ("a", "b", "c")
    alone = _several(None, *names).look()
    shared = _several(1e-6, *names)
    told = shared.look()
    assert len(alone) == 3
    assert [alert.score for alert in told] == ["a"]  # the surest, at a third of so small a total
    assert told[0].test is not None
    assert told[0].test.alpha == pytest.approx(alone[0].test.alpha * 1e-6 / 3 if alone[0].test else 0)
    assert shared.look() == []


def test_with_one_budget_every_score_is_looked_at_and_one_that_fails_stops_no_other() -> None:
    house = _several(6.0, "a", "b", "c")
    house.langfuse.broken = {"b"}
    with pytest.raises(Unavailable):
        house.look()
    assert [letter.content["text"][:6] for letter in house.slack.letters] == ["a fell", "c fell"]
    assert set(house.state.states) >= {"a", "c"}


def test_an_e_detector_opens_and_ends_an_alert_and_says_what_it_has() -> None:
    house = fallen(MonitorSpec(score="faithfulness", test="e-detector", scale=(1, 5)), low=2.0)
    (first,) = house.look()
    assert first.event is Event.FELL
    assert first.test is not None
    assert first.test.evidence is not None
    assert first.test.evidence > first.test.needed == 364
    assert "to 1, fires above 364" in str(house.slack.got[0])
    facts = house.slack.letters[0].facts
    assert facts is not None
    assert facts["test"]["evidence_needed"] == 364
    assert live(house, 10) == [Event.RESOLVED]


def test_digests_of_two_projects_have_names_of_their_own_and_alerts_the_same_as_ever() -> None:
    state, memory, slack = FakeState(), FakeMemory(), FakeSlack()
    state.waiting = {
        "digest/2026-W14": {"message": {"text": "a"}},
        "id/fell": {"message": {"text": "b"}, "facts": {"a": 1}},
    }
    Delivery(state, memory, [slack], HandClock(), "4f2a").deliver()
    assert [letter.key for letter in slack.letters] == ["4f2a/digest/2026-W14", "id/fell"]
    assert state.waiting == {}
    assert memory.went == {}
