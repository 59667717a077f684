"""Which promises were kept: from counts in slots to shares, to what waits, and to silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from evaluator.state.coverage import Kept, has_fallen_silent, is_kept, kept, oldest_pending
from evaluator.state.hours import Promises
from evaluator.state.ledger import NO_MONEY

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WITHIN = timedelta(minutes=15)
HOUR = timedelta(hours=1)


def slot(minutes_ago: int, sampled: int = 10, kept: int = 0, missed: int = 0, evaluator: str = "a") -> Promises:
    return Promises(NOW - timedelta(minutes=minutes_ago), evaluator, sampled, kept, missed)


def test_an_answer_in_time_keeps_a_promise() -> None:
    for state in ("scored", "skipped", "unscored"):
        assert is_kept(state, "", WITHIN, WITHIN)
        assert not is_kept(state, "", WITHIN + timedelta(seconds=1), WITHIN)


def test_what_failed_is_gone_or_was_too_dear_breaks_it() -> None:
    assert not is_kept("failed", "bad_answer", timedelta(), WITHIN)
    assert not is_kept("gone", "not visible in Langfuse", timedelta(), WITHIN)
    assert not is_kept("skipped", NO_MONEY, timedelta(), WITHIN)
    assert is_kept("skipped", "no documents", timedelta(), WITHIN)


def test_only_what_is_due_counts() -> None:
    due, not_yet, long_ago = slot(25, kept=9, missed=1), slot(10, kept=1), slot(120)
    assert kept([due, not_yet, long_ago], NOW, WITHIN, HOUR) == [Kept("a", 10, 9, 0)]


def test_what_is_pending_beyond_its_time_is_missed() -> None:
    (found,) = kept([slot(30, sampled=100, kept=60, missed=10)], NOW, WITHIN, HOUR)
    assert (found.share, found.pending) == (0.6, 30)


def test_each_evaluator_has_its_share_and_some_promise_nothing() -> None:
    slots = [slot(30, kept=10), slot(30, kept=5, evaluator="b"), slot(30, evaluator="batched")]
    found = kept(slots, NOW, WITHIN, HOUR, without={"batched"})
    assert [(each.evaluator, each.share) for each in found] == [("a", 1.0), ("b", 0.5)]


def test_the_oldest_that_waits_is_known_to_five_minutes() -> None:
    assert oldest_pending([slot(60, kept=10), slot(30, kept=9), slot(5)], NOW) == timedelta(minutes=25)
    assert oldest_pending([slot(60, kept=10)], NOW) is None


def test_silence_is_traffic_without_any_ending() -> None:
    half = timedelta(minutes=30)
    assert has_fallen_silent([slot(50), slot(20)], NOW, half)
    assert not has_fallen_silent([slot(50), slot(20, kept=1)], NOW, half), "something ended"
    assert not has_fallen_silent([slot(50, kept=10)], NOW, half), "nothing comes and nothing waits"
    assert not has_fallen_silent([slot(10)], NOW, half), "it has only begun"
    assert not has_fallen_silent([slot(50)], NOW, half), "nothing came since"


def test_an_objective_is_missed_by_more_than_chance() -> None:
    assert not Kept("a", 5, 4, 0).misses(0.99), "one of five may fail"
    assert Kept("a", 5, 3, 0).misses(0.99)
    assert not Kept("a", 1000, 988, 0).misses(0.99)
    assert Kept("a", 1000, 970, 0).misses(0.99)
    assert Kept("a", 10, 0, 10).misses(0.5)
    assert not Kept("a", 1000, 1000, 0).misses(0.99)
    assert not Kept("a", 1000, 0, 0).misses(None)


@given(st.lists(st.tuples(st.integers(0, 200), *[st.integers(0, 50)] * 3), max_size=20))
def test_a_share_is_a_share(rows: list[tuple[int, int, int, int]]) -> None:
    for each in kept([slot(*row) for row in rows], NOW, WITHIN, HOUR):
        assert 0 <= each.share <= 1
        assert 0 <= each.pending <= each.due
