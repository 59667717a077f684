from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors import AlertState, DropTest, Event, NotEnoughHistory, Span, alert_id, detectable, foreseen, step
from monitors.series import WEEK
from tests.weeks import NOW

LOW = DropTest(4.1, 3.8, 0.3, 0.2, 0.4, 0.0005, 0.004, 0.04, 12, 400, 4000, 200, 390.0)
UNSURE = replace(LOW, p=0.05)
CALM = replace(LOW, p=0.6, drop=0.01, mean=4.09)
BLIND = NotEnoughHistory("2 scores this week; 5 are needed", 12, 2, 3.0)


def after(
    state: AlertState,
    test: DropTest | NotEnoughHistory,
    at: datetime = NOW,
    version: str | None = "v1",
    *,
    snoozed: bool = False,
) -> tuple[AlertState, Event | None]:
    return step(state, test, version=version, at=at, project="p", monitor="s", snoozed=snoozed)


def opened() -> AlertState:
    state, event = after(AlertState(version="v1"), LOW)
    assert event is Event.FELL
    return state


def test_a_fall_opens_and_freezes_the_baseline() -> None:
    state = opened()
    assert (state.opened, state.baseline_end) == (NOW, NOW - WEEK)
    assert state.id == alert_id("p", "s", NOW)
    assert AlertState().baseline_end is None


def test_it_fires_once_however_often_one_looks() -> None:
    state = opened()
    for day in range(1, 20):
        state, event = after(state, LOW if day % 3 else UNSURE, NOW + timedelta(days=day))
        assert event is None
    assert state == opened()


@pytest.mark.parametrize("test", [UNSURE, CALM, replace(LOW, drop=0.03), BLIND])
def test_nothing_less_than_a_fall_opens(test: DropTest | NotEnoughHistory) -> None:
    assert after(AlertState(version="v1"), test) == (AlertState(version="v1"), None)


def test_a_calm_week_resolves_and_the_fall_stays_out_of_the_baseline() -> None:
    later = NOW + timedelta(days=16)
    state, event = after(opened(), CALM, later)
    assert (event, state.opened) == (Event.RESOLVED, None)
    assert state.fallen == (Span(NOW - WEEK, later - WEEK),)
    assert after(state, CALM, later + timedelta(days=1)) == (state, None)


def test_a_second_fall_is_a_new_alert() -> None:
    state, _ = after(opened(), CALM, NOW + timedelta(days=16))
    again, event = after(state, LOW, NOW + timedelta(days=40))
    assert event is Event.FELL
    assert again.id != opened().id


def test_the_second_fall_of_a_week_is_another_alert_too() -> None:
    monday = datetime(2026, 3, 30, 6, tzinfo=NOW.tzinfo)
    first, _ = after(AlertState(version="v1"), LOW, monday)
    closed, _ = after(first, CALM, monday + timedelta(days=2))
    again, event = after(closed, LOW, monday + timedelta(days=5))
    assert event is Event.FELL
    assert again.id != first.id
    assert again.id == after(closed, LOW, monday + timedelta(days=5, hours=1))[0].id


def test_after_four_weeks_the_fall_is_the_new_normal() -> None:
    state, event = after(opened(), UNSURE, NOW + timedelta(weeks=4) - timedelta(hours=1))
    assert event is None
    state, event = after(state, UNSURE, NOW + timedelta(weeks=4))
    assert (event, state.opened, state.since) == (Event.NEW_NORMAL, None, NOW)


def test_without_scores_an_alert_neither_opens_nor_closes() -> None:
    assert after(opened(), BLIND, NOW + timedelta(weeks=3), version=None) == (opened(), None)


def test_another_ruler_closes_an_alert_and_says_so() -> None:
    state, event = after(opened(), LOW, NOW + timedelta(days=1), version="v2")
    assert (event, state.opened, state.version) == (Event.REMEASURED, None, "v2")


def test_another_ruler_is_said_once_and_never_fires() -> None:
    state, event = after(AlertState(version="v1"), BLIND, version="v2")
    assert event is Event.REMEASURED
    assert after(state, BLIND, NOW + timedelta(days=1), version="v2") == (state, None)


def test_another_ruler_with_its_history_backfilled_goes_on_as_usual() -> None:
    state, event = after(AlertState(version="v1"), LOW, version="v2")
    assert (event, state.version) == (Event.FELL, "v2")


def test_the_first_look_learns_the_ruler_in_silence() -> None:
    state, event = after(AlertState(), BLIND)
    assert (event, state.version) == (None, "v1")


def deeper(by: float) -> DropTest:
    return replace(LOW, drop=LOW.drop + by, low=LOW.low + by, high=LOW.high + by, p=1e-6)


def test_it_is_told_again_only_when_it_grew_by_a_step_that_can_be_seen() -> None:
    one = detectable(LOW)
    # The interval reaches 0.1 up; what is found in four of five weeks at p < .004 is 1.8 times that.
    assert 0.17 < one < 0.19
    assert after(opened(), deeper(one - 0.01), NOW + timedelta(days=7)) == (opened(), None)
    state, event = after(opened(), deeper(one + 0.01), NOW + timedelta(days=7))
    assert (event, state.updates) == (Event.GREW, 1)
    assert state.told == pytest.approx(LOW.drop + one + 0.01)
    assert after(state, deeper(one + 0.02), NOW + timedelta(days=14)) == (state, None)
    assert state.id == opened().id


def test_while_the_week_fills_up_with_days_of_the_fall_its_growth_is_no_news() -> None:
    for day in range(7):
        assert after(opened(), deeper(0.3 * day), NOW + timedelta(days=day)) == (opened(), None)


def test_a_step_is_never_smaller_than_what_is_worth_a_message() -> None:
    assert detectable(replace(LOW, high=LOW.drop + 0.001)) == LOW.smallest


def test_a_fall_within_a_snooze_is_told_when_it_is_over_and_still_low() -> None:
    state, event = after(AlertState(version="v1"), LOW, snoozed=True)
    assert (event, state.muted, state.baseline_end) == (None, True, NOW - WEEK)
    assert after(state, deeper(2), NOW + timedelta(days=1), snoozed=True) == (state, None)
    later, event = after(state, LOW, NOW + timedelta(days=9))
    assert (event, later.muted, later.id, later.opened) == (Event.FELL, False, state.id, NOW)


def test_a_fall_that_passes_within_a_snooze_is_never_told() -> None:
    state, _ = after(AlertState(version="v1"), LOW, snoozed=True)
    closed, event = after(state, CALM, NOW + timedelta(days=9))
    assert (event, closed.opened) == (None, None)


def test_a_snooze_stills_updates_and_not_the_end_of_what_was_told() -> None:
    assert after(opened(), deeper(2), NOW + timedelta(days=1), snoozed=True) == (opened(), None)
    assert after(opened(), CALM, NOW + timedelta(days=9), snoozed=True)[1] is Event.RESOLVED


def test_an_expected_change_ends_an_alert_and_begins_a_new_baseline() -> None:
    state, event = foreseen(opened(), NOW - timedelta(days=2))
    assert (event, state.opened, state.since) == (Event.EXPECTED, None, NOW - timedelta(days=2))
    assert foreseen(state, NOW - timedelta(days=2)) == (state, None)
    assert foreseen(state, NOW - timedelta(days=9)) == (state, None)
    assert foreseen(AlertState(), NOW)[1] is None
    assert foreseen(opened(), None) == (opened(), None)


def test_a_fall_first_seen_earlier_has_the_identity_of_then() -> None:
    early = NOW - timedelta(days=9)
    state, event = step(AlertState(), LOW, version="v1", at=NOW, project="p", monitor="s", since=early)
    assert (event, state.opened, state.id) == (Event.FELL, early, alert_id("p", "s", early))


def test_a_state_of_an_older_version_tells_nothing_twice() -> None:
    kept = {
        key: value for key, value in opened().to_json().items() if key not in {"told", "told_at", "updates", "muted"}
    }
    state, event = after(AlertState.from_json(kept), deeper(2), NOW + timedelta(days=1))
    assert (event, state.told) == (None, deeper(2).drop)


def test_the_identity_is_of_project_monitor_and_week() -> None:
    monday = datetime(2026, 3, 30, 6, tzinfo=NOW.tzinfo)
    assert alert_id("p", "s", monday) == alert_id("p", "s", monday + timedelta(days=6))
    others = {alert_id("p", "s", monday + WEEK), alert_id("q", "s", monday), alert_id("p", "t", monday)}
    assert len(others | {alert_id("p", "s", monday)}) == 4


def test_a_state_never_saved_is_closed() -> None:
    assert AlertState.from_json(None) == AlertState()
    assert AlertState.from_json({}) == AlertState()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([LOW, deeper(1), UNSURE, CALM, BLIND]), st.sampled_from(["v1", "v2", None]), st.booleans()
        ),
        max_size=40,
    )
)
def test_whatever_comes_messages_alternate_and_the_state_survives_json(
    looks: list[tuple[DropTest | NotEnoughHistory, str | None, bool]],
) -> None:
    state, is_open = AlertState(), False
    for day, (test, version, snoozed) in enumerate(looks):
        state, event = after(state, test, NOW + timedelta(days=day), version, snoozed=snoozed)
        assert AlertState.from_json(json.loads(json.dumps(state.to_json()))) == state
        if event is Event.FELL:
            assert not is_open
        if event in {Event.RESOLVED, Event.GREW}:
            assert is_open
        is_open = state.opened is not None and not state.muted


def test_what_nobody_can_follow_for_four_weeks_ends() -> None:
    state, event = after(opened(), BLIND, NOW + timedelta(weeks=4), version=None)
    assert (event, state.opened, state.since) == (Event.LOST, None, NOW)
