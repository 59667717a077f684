"""Sessions of past traffic: when each had been idle for long enough, and what stands for very many of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from evaluator.preview.past_sessions import SeenSessions
from traces import TraceRef, TraceRoot

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
IDLE = timedelta(minutes=30)
LATER = START + timedelta(days=9)


def root(session_id: str, minute: float, number: int = 0) -> TraceRoot:
    """Return a root that ended so many minutes after the start."""
    ended = START + timedelta(minutes=minute)
    ref = TraceRef(f"{session_id}-{minute}-{number}", "root", "production", ended - timedelta(seconds=2), ended)
    return TraceRoot(ref, session_id=session_id)


def seen(*roots: TraceRoot, most: int = 1000) -> SeenSessions:
    sessions = SeenSessions(most)
    for each in roots:
        sessions.see(each)
    return sessions


def test_a_session_is_judged_when_it_is_idle_and_again_when_it_went_on() -> None:
    sessions = seen(root("a", 50), root("a", 0), root("a", 20))
    visits = [(visit.at, len(visit.roots)) for visit in sessions.visits(IDLE, LATER)]
    assert visits == [(START + timedelta(minutes=80), 3)]
    sessions.see(root("a", 120))
    visits = [(visit.at, len(visit.roots)) for visit in sessions.visits(IDLE, LATER)]
    assert visits == [(START + timedelta(minutes=80), 3), (START + timedelta(minutes=150), 4)]


def test_what_is_not_idle_yet_is_not_judged_yet() -> None:
    sessions = seen(root("a", 0), root("b", 100))
    assert [visit.session_id for visit in sessions.visits(IDLE, START + timedelta(minutes=60))] == ["a"]


def test_a_root_that_comes_twice_counts_once_and_one_of_no_session_not_at_all() -> None:
    alone = TraceRoot(root("a", 5).ref)
    sessions = seen(root("a", 0), root("a", 0), alone)
    assert len(sessions) == 1
    assert [len(visit.roots) for visit in sessions.visits(IDLE, LATER)] == [1]


def test_of_very_many_a_fair_part_stands_for_all() -> None:
    sessions = seen(*(root(f"session-{number}", number % 50) for number in range(4000)), most=500)
    kept = len(list(sessions.visits(IDLE, LATER)))
    assert kept <= 500
    assert sessions.share == 1 / 8
    assert 3400 < len(sessions) < 4600
    assert abs(kept / sessions.share - 4000) < 600


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True))
def test_every_root_is_in_the_last_visit_and_each_visit_knows_more(minutes: list[int]) -> None:
    visits = list(seen(*(root("a", minute) for minute in minutes)).visits(IDLE, LATER))
    sizes = [len(visit.roots) for visit in visits]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == len(minutes)
    for visit in visits:
        assert visit.at - IDLE == max(each.ref.ended for each in visit.roots)
