from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors import AlertState, DropTest, Event, NotEnoughHistory, Span, alert_id, step
from monitors.series import WEEK
from tests.weeks import NOW

LOW = DropTest(4.1, 3.8, 0.3, 0.2, 0.4, 0.0005, 0.004, 0.04, 12, 400, 4000, 200, 390.0)
UNSURE = replace(LOW, p=0.05)
CALM = replace(LOW, p=0.6, drop=0.01, mean=4.09)
BLIND = NotEnoughHistory("2 scores this week; 5 are needed", 12, 2, 3.0)


def after(
    state: AlertState, test: DropTest | NotEnoughHistory, at: datetime = NOW, version: str | None = "v1"
) -> tuple[AlertState, Event | None]:
    return step(state, test, version=version, at=at, project="p", monitor="s")


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


def test_after_four_weeks_the_fall_is_the_new_normal() -> None:
    state, event = after(opened(), UNSURE, NOW + timedelta(weeks=4) - timedelta(hours=1))
    assert event is None
    state, event = after(state, UNSURE, NOW + timedelta(weeks=4))
    assert (event, state.opened, state.since) == (Event.NEW_NORMAL, None, NOW - WEEK)


def test_without_scores_an_alert_neither_opens_nor_closes() -> None:
    assert after(opened(), BLIND, NOW + timedelta(weeks=9), version=None) == (opened(), None)


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


def test_the_identity_is_of_project_monitor_and_week() -> None:
    monday = datetime(2026, 3, 30, 6, tzinfo=NOW.tzinfo)
    assert alert_id("p", "s", monday) == alert_id("p", "s", monday + timedelta(days=6))
    others = {alert_id("p", "s", monday + WEEK), alert_id("q", "s", monday), alert_id("p", "t", monday)}
    assert len(others | {alert_id("p", "s", monday)}) == 4


def test_a_state_never_saved_is_closed() -> None:
    assert AlertState.from_json(None) == AlertState()
    assert AlertState.from_json({}) == AlertState()


@given(
    st.lists(st.tuples(st.sampled_from([LOW, UNSURE, CALM, BLIND]), st.sampled_from(["v1", "v2", None])), max_size=40)
)
def test_whatever_comes_messages_alternate_and_the_state_survives_json(
    looks: list[tuple[DropTest | NotEnoughHistory, str | None]],
) -> None:
    state, is_open = AlertState(), False
    for day, (test, version) in enumerate(looks):
        state, event = after(state, test, NOW + timedelta(days=day), version)
        assert AlertState.from_json(json.loads(json.dumps(state.to_json()))) == state
        if event is Event.FELL:
            assert not is_open
        if event in {Event.RESOLVED, Event.NEW_NORMAL}:
            assert is_open
        is_open = state.opened is not None
