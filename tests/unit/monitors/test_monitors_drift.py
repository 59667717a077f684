"""Whether a judge moved: the paired test against SciPy, who is to blame for a fall, and how often it is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from monitors import WeeklySeries, attribute, drop_test, expect, lasting_test, without_judge
from monitors.anchors import Candidate, chosen
from monitors.drift import (
    Anchor,
    Anchored,
    DriftState,
    Round,
    Shift,
    Turn,
    against_normal,
    judge_step,
    marked,
    paired,
)
from monitors.drop import DropTest, Residuals
from monitors.series import WEEK
from tests.weeks import NOW, world

DAY: Final = timedelta(days=1)
RULER: Final = "v1 gpt"


def anchors(n: int = 60) -> dict[str, Anchor]:
    return {f"a{i}": Anchor(1.0, f"s{i}") for i in range(n)}


def values(numbers: np.ndarray) -> dict[str, float]:
    return {f"a{i}": float(number) for i, number in enumerate(numbers)}


def rounds(*moves: tuple[float, float], seed: int = 0, noise: float = 0.3, n: int = 60) -> tuple[Round, ...]:
    """Return rounds: so many days before now, so much lower than the first."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(1.5, 4.5, n)
    return tuple(
        Round(NOW - days * DAY, RULER, values(level - lower + noise * rng.standard_normal(n))) for days, lower in moves
    )


def weekly(*lower: float, days: int = 84) -> tuple[Round, ...]:
    """Return weekly rounds that end now."""
    return rounds(*((days - 7 * i, each) for i, each in enumerate(lower)))


def series(*, lower: float = 0.0, since_days: float = 7.0, seed: int = 1, n: int = 400) -> WeeklySeries:
    """Return weeks of the simulated world, dated; scores of the last days lie `lower` lower."""
    made = world(np.random.default_rng(seed), n)
    age = made.week * 7 + np.random.default_rng(seed).integers(0, 7, made.week.size)
    shifted = made.values - np.where(age < since_days, lower, 0.0)
    return replace(made, values=shifted, age=age.astype(np.int32), version=RULER)


def fall(of: WeeklySeries, judge: Anchored | None = None) -> DropTest:
    expected = expect(of)
    found = drop_test(of, expected, alpha=0.004, smallest_drop=0.01, scale=(1, 5), judge=judge)  # type: ignore[arg-type]
    assert isinstance(found, DropTest)
    return found


# -- the paired test ---------------------------------------------------------------------------------------------------


def test_with_equal_weights_and_one_anchor_a_session_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.normal(3, 1, 60), rng.normal(2.9, 1, 60)
    found = paired(anchors(), values(before), values(after), NOW)
    wanted = scipy.stats.ttest_rel(after, before)
    interval = wanted.confidence_interval(0.95)
    assert found is not None
    assert (found.points, found.p, found.df) == pytest.approx((np.mean(after - before), wanted.pvalue, 59))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_where_few_anchors_differ_the_exact_sign_flip_test_holds_it_back() -> None:
    moved = np.zeros(60)
    moved[:7] = -1.0
    found = paired(anchors(), values(np.ones(60)), values(1 + moved), NOW)
    exact = scipy.stats.permutation_test(
        (moved[:7],), np.sum, permutation_type="samples", n_resamples=10_000, alternative="two-sided"
    )
    assert found is not None
    assert found.p == pytest.approx(exact.pvalue) == pytest.approx(2 / 2**7)
    assert scipy.stats.ttest_1samp(moved, 0).pvalue < 0.01 < found.p


def test_a_stratum_counts_as_much_as_the_traffic_it_stands_for() -> None:
    weights = {f"a{i}": Anchor(3.0 if i < 30 else 1.0, f"s{i}") for i in range(60)}
    moved = np.where(np.arange(60) < 30, -0.4, 0.0) + np.random.default_rng(1).normal(0, 0.01, 60)
    found = paired(weights, values(np.zeros(60)), values(moved), NOW)
    assert found is not None
    assert found.points == pytest.approx(-0.3, abs=0.01)


def test_anchors_of_one_session_are_not_independent() -> None:
    shared = {f"a{i}": Anchor(1.0, f"s{i // 2}") for i in range(60)}
    moved = np.repeat(np.random.default_rng(2).normal(-0.1, 0.5, 30), 2)
    one, two = (
        paired(anchors(), values(np.zeros(60)), values(moved), NOW),
        paired(shared, values(np.zeros(60)), values(moved), NOW),
    )
    assert one is not None
    assert two is not None
    assert two.variance == pytest.approx(one.variance * 2, rel=0.05)


def test_what_is_not_in_both_rounds_is_left_out_and_too_few_say_nothing() -> None:
    before, after = values(np.ones(60)), values(np.zeros(15))
    found = paired(anchors(), before, after, NOW)
    assert found is not None
    assert (found.n, found.p) == (15, 0.0)
    assert paired(anchors(), before, values(np.zeros(9)), NOW) is None


def test_nothing_moved_is_no_move() -> None:
    found = paired(anchors(), values(np.ones(60)), values(np.ones(60)), NOW)
    assert found is not None
    assert (found.points, found.p, found.variance) == (0.0, 1.0, 0.0)


# -- who is to blame ---------------------------------------------------------------------------------------------------


def test_a_fall_with_a_judge_that_did_not_move_is_the_apps() -> None:
    judge = Anchored(anchors(), weekly(*[0.0] * 13))
    plain, found = fall(series(lower=0.5)), fall(series(lower=0.5), judge)
    assert found.fired
    assert (found.blame, found.taken_out) == ("app", False)
    assert (found.drop, found.p) == (plain.drop, plain.p)
    assert plain.blame is None


def test_a_judge_known_to_have_moved_is_taken_out_and_the_fall_is_its_doing() -> None:
    judge = Anchored(anchors(), weekly(*[0.0] * 12, 0.5), moves=(NOW,))
    judge = Anchored(judge.anchors, (*judge.rounds[:-1], replace(judge.rounds[-1], at=NOW - 6.9 * DAY)), (NOW,))
    plain, found = fall(series(lower=0.5)), fall(series(lower=0.5), judge)
    assert plain.fired
    assert not found.fired
    assert (found.blame, found.taken_out) == ("judge", True)
    assert found.drop == pytest.approx(0.0, abs=0.15)
    assert found.mean == pytest.approx(found.now + found.mix + found.by_judge)


def test_both_may_have_moved() -> None:
    judge = Anchored(
        anchors(), (*weekly(*[0.0] * 12), replace(weekly(*[0.0] * 12, 0.5)[-1], at=NOW - 6.9 * DAY)), (NOW,)
    )
    found = fall(series(lower=1.2), judge)
    assert found.fired
    assert (found.blame, found.taken_out) == ("app", True)
    assert found.drop == pytest.approx(0.7, abs=0.15)


def test_segments_add_up_to_the_apps_part_of_the_fall_alone() -> None:
    last = replace(weekly(*[0.0] * 12, 0.5)[-1], at=NOW - 6.9 * DAY)
    of = series(lower=1.2)
    found = fall(of, Anchored(anchors(), (*weekly(*[0.0] * 12), last), (NOW,)))
    expected = expect(of)
    assert isinstance(expected, Residuals)
    rest = attribute(of, without_judge(of, expected, found))
    assert rest.rest + sum(row.points for row in rest.rows) == pytest.approx(-found.drop)
    assert without_judge(of, expected, fall(of)) is expected


def test_a_kinder_judge_hides_no_fall() -> None:
    last = replace(weekly(*[0.0] * 12, -0.5)[-1], at=NOW - 6.9 * DAY)
    judge = Anchored(anchors(), (*weekly(*[0.0] * 12), last), (NOW,))
    assert not fall(series()).fired
    assert fall(series(), judge).fired


def test_what_a_noisy_judge_may_have_done_is_said_to_be_unclear() -> None:
    noisy = rounds(*((84 - 7 * i, 0.0) for i in range(12)), (0.1, 0.25), noise=1.0)
    found = fall(series(lower=0.25), Anchored(anchors(), noisy))
    assert found.fired
    assert found.blame == "unclear"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (weekly(0.0), "one round has nothing to be compared with"),
        (tuple(replace(each, ruler="v2 gpt") for each in weekly(*[0.0] * 13)), "another ruler"),
        (weekly(*[0.0] * 11), "the last round is too old"),
        (rounds((3.0, 0.0), (0.1, 0.0)), "both rounds lie in the last week, mostly on one side"),
    ],
)
def test_what_anchors_do_not_know_they_do_not_say(made: tuple[Round, ...], why: str) -> None:
    found = fall(series(lower=0.5), Anchored(anchors(), made))
    assert (found.judge, found.blame) == (None, None), why


def test_a_move_between_two_rounds_may_have_been_at_any_moment_and_the_interval_says_so() -> None:
    """The judge moved three days ago, the rounds were seven days ago and now."""
    judge = Anchored(anchors(), (*weekly(*[0.0] * 12), rounds((0.01, 0.6))[0]), (NOW,))
    known = {f"a{i}": judge.rounds[0].values[f"a{i}"] for i in range(60)}
    last = replace(judge.rounds[-1], values={name: value - 0.6 for name, value in known.items()})
    judge = Anchored(judge.anchors, (*judge.rounds[:-1], last), (NOW,))
    of = series(lower=0.6, since_days=3)
    found = fall(of, judge)
    assert not found.fired
    assert found.judge is not None
    assert found.judge.low < -0.6 * 3 / 7 < found.judge.high


def test_where_the_moment_of_the_change_is_known_the_line_is_a_step() -> None:
    """The judge moved three days ago and said so by a new name; rounds were seven days ago and now."""
    made = weekly(*[0.0] * 12)
    values_now = {name: value - 0.6 for name, value in made[-1].values.items()}
    last = Round(NOW, RULER, values_now)
    of = series(lower=0.6, since_days=3)
    line = fall(of, Anchored(anchors(), (*made, last), (NOW,)))
    step = fall(of, Anchored(anchors(), (*made, replace(last, since=NOW - 3 * DAY)), (NOW,)))
    assert line.judge is not None
    assert step.judge is not None
    assert step.judge.points == pytest.approx(-0.6 * 3 / 7, abs=0.05)
    assert step.judge.high - step.judge.low < 0.6 * (line.judge.high - line.judge.low)


def test_small_falls_that_last_are_compared_without_the_judges_part_too() -> None:
    of = series(lower=0.25, since_days=28)
    judge = Anchored(anchors(), weekly(*[0.0] * 9, 0.25, 0.25, 0.25, 0.25), (NOW - 25 * DAY,))
    plain = lasting_test(of, alpha=0.0005, smallest_drop=0.01, scale=(1, 5))
    found = lasting_test(of, alpha=0.0005, smallest_drop=0.01, scale=(1, 5), judge=judge)
    assert plain is not None
    assert found is not None
    assert plain[0].fired
    assert (found[0].fired, found[0].blame) == (False, "judge")


def test_once_the_baseline_holds_both_judges_its_weeks_are_as_alike_as_before() -> None:
    of = series(lower=0.5, since_days=7 * 6)
    judge = Anchored(anchors(), weekly(*[0.0] * 7, *[0.5] * 6), (NOW - 35 * DAY,))
    found, plain = fall(of, judge), fall(of)
    assert not found.fired
    assert found.high - found.low < 0.5 * (plain.high - plain.low)


# -- when people hear --------------------------------------------------------------------------------------------------


def course(*lower: float) -> list[Turn | None]:
    """Return what is told after each weekly round."""
    state, told, made = DriftState(), [], list(weekly(*lower, days=7 * len(lower)))
    for number in range(1, len(made) + 1):
        judge = Anchored(anchors(), tuple(made[:number]))
        before = state
        state, turn = judge_step(state, against_normal(judge, state), 4.0)
        made[:number] = marked(made[:number], before, turn)
        told.append(turn)
    return told


def test_a_move_is_told_once_and_that_it_is_over_once() -> None:
    told = course(0, 0, 0, 0, 0.5, 0.5, 0.5, 0, 0)
    assert [each for each in told if each] == [Turn.MOVED, Turn.BACK]
    assert (told.index(Turn.MOVED), told.index(Turn.BACK)) == (4, 7)


def test_a_move_that_stays_is_normal_after_four_weeks_and_then_a_second_one_is_told() -> None:
    told = course(0, 0, 0, *[0.5] * 8, *[1.2] * 2)
    assert [each for each in told if each] == [Turn.MOVED, Turn.NEW_NORMAL, Turn.MOVED]


def test_what_was_judged_meanwhile_is_normal_once_it_is() -> None:
    """Four weeks of rounds after a move are what the next one is held against, not the last of them alone."""
    made = list(weekly(0, 0, 0, *[0.5] * 6, days=63))
    state = DriftState()
    for number in range(1, len(made) + 1):
        before = state
        state, turn = judge_step(state, against_normal(Anchored(anchors(), tuple(made[:number])), state), 4.0)
        made[:number] = marked(made[:number], before, turn)
    assert state.since is not None
    assert [each.apart for each in made] == [False] * 9
    found = against_normal(Anchored(anchors(), tuple(made)), state)
    alone = paired(anchors(), made[-2].values, made[-1].values, NOW)
    assert found is not None
    assert alone is not None
    assert found.variance < 0.8 * alone.variance


def test_a_move_too_small_to_matter_is_never_told() -> None:
    state, turn = judge_step(DriftState(), Shift(-0.03, -0.031, -0.029, 1e-9, 1e-6, 59, 60, NOW), 4.0)
    assert (state, turn) == (DriftState(), None)


# -- who becomes an anchor ---------------------------------------------------------------------------------------------

candidates = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 40), st.floats(0, 1)), min_size=1, max_size=150
)


@given(candidates, st.integers(20, 80))
def test_the_draw_is_stratified_at_most_two_a_session_and_the_same_whoever_makes_it(
    drawn: list[tuple[int, int, int, float]], size: int
) -> None:
    known = [
        Candidate(str(i), level, f"seg{segment}", f"s{session}", 1.0, place)
        for i, (level, segment, session, place) in enumerate(drawn)
    ]
    found = chosen(known, size)
    by_id = {each.id: each for each in known}
    assert found == chosen(known[::-1], size)
    sessions = Counter(by_id[name].session for name in found)
    assert max(sessions.values()) <= 2
    assert len(found) == min(size, sum(min(2, n) for n in Counter(each.session for each in known).values()))
    shares = {by_id[name].level: share for name, share in found.items()}
    levels = Counter(each.level for each in known)
    assert shares == pytest.approx({level: levels[level] / len(known) for level in shares})


def test_rare_levels_are_seen_and_frequent_ones_count_as_they_are() -> None:
    known = [Candidate(str(i), 0 if i < 10 else 4, f"seg{i % 3}", f"s{i}", 1.0, (i * 0.618) % 1) for i in range(200)]
    found = chosen(known, 60)
    level = Counter(0 if int(name) < 10 else 4 for name in found)
    assert level == {0: 10, 4: 50}
    segments = Counter(int(name) % 3 for name in found if int(name) >= 10)
    assert max(segments.values()) - min(segments.values()) <= 1


def of_the_round(made: Mapping[str, float], at: datetime) -> Round:
    return Round(at, RULER, made)


def test_chance_alone_seldom_says_that_a_judge_moved() -> None:
    """Sixty years of weekly rounds of a judge that wavers by a tenth of the scale and never moves."""
    rng = np.random.default_rng(11)
    alarms = 0
    known = anchors()
    for _ in range(120):
        level, state, made = rng.uniform(1, 5, 60), DriftState(), []
        for week in range(26):
            drawn = values(np.clip(np.round(level + 0.4 * rng.standard_normal(60)), 1, 5))
            made.append(of_the_round(drawn, NOW + week * WEEK))
            state, turn = judge_step(state, against_normal(Anchored(known, tuple(made[-9:])), state), 4.0)
            alarms += turn is Turn.MOVED
            if state.opened is not None:
                break
    assert alarms / 60 < 0.5  # a year; benchmarks/drift.py counts exactly
