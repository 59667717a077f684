from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.oaxaca import OaxacaBlinder

from monitors import Attribution, Judged, NotEnoughHistory, WeeklySeries, attribute, expect, weekly
from monitors.attribution import cramers_v, split, worst_traces
from monitors.drop import Residuals
from monitors.segments import contributions, rank
from monitors.series import WEEK
from tests.weeks import NOW, judged

DIMENSIONS = ("prompt_version", "model", "trace_name", "tags")
Make = Callable[[int, int, np.random.Generator], tuple[Mapping[str, str], float]]


def scores(make: Make, *, weeks: int = 10, n: int = 300, seed: int = 1, each: int = 2) -> list[Judged]:
    """Return weeks in which `make(week, i, rng)` gives segments and level of the i-th session of `each` traces."""
    rng = np.random.default_rng(seed)
    made: list[Judged] = []
    for week in range(weeks + 1):
        for i in range(n // each):
            segments, level = make(week, i, rng)
            at = NOW - week * WEEK - timedelta(days=7 * (i + 0.5) * each / n)
            session = f"s{week}-{i}"
            made.extend(
                Judged(
                    float(np.clip(np.round(level + 0.7 * rng.standard_normal()), 1, 5)),
                    at,
                    f"t{week}-{i}-{j}",
                    session=session,
                    segments=segments,
                    comment=f"why {i}-{j}",
                )
                for j in range(each)
            )
    return made


def put(
    made: list[Judged], dimensions: tuple[str, ...] = DIMENSIONS, weeks: int = 10
) -> tuple[WeeklySeries, Residuals]:
    series = weekly(made, now=NOW, weeks=weeks, segments=dimensions)
    expected = expect(series)
    assert not isinstance(expected, NotEnoughHistory)
    return series, expected


def explain(make: Make, dimensions: tuple[str, ...] = DIMENSIONS, **options: int) -> Attribution:
    return attribute(*put(scores(make, **options), dimensions, options.get("weeks", 10)))


def usual(rng: np.random.Generator) -> tuple[dict[str, str], float]:
    """Return the segments and level of quiet traffic: two kinds of it, two models, two prompts, tags."""
    name = str(rng.choice(["answer", "search"], p=[0.7, 0.3]))
    segments = {
        "trace_name": name,
        "model": str(rng.choice(["large", "small"])),
        "prompt_version": f"{name}:{rng.choice([2, 3])}",
        "tags": ",".join(sorted({str(t) for t in rng.choice(["vip", "beta", "eu"], 2)})),
    }
    return segments, {"answer": 4.3, "search": 3.4}[name]


def bad_release(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
    """Return traffic of which 40 % of the answers get a new, bad prompt version this week."""
    segments, level = usual(rng)
    if week == 0 and segments["trace_name"] == "answer" and rng.random() < 0.4:
        return {**segments, "prompt_version": "answer:4"}, level - 1.2
    return segments, level


def test_a_bad_prompt_version_is_named_first() -> None:
    found = explain(bad_release)
    assert found.dimension == "prompt_version"
    worst = found.rows[0]
    assert (worst.value, worst.new, worst.mean_before) == ("answer:4", True, None)
    assert worst.share == pytest.approx(0.28, abs=0.06)
    assert worst.low < worst.points < worst.high < 0
    assert found.alike == ()


def test_a_version_all_traffic_moved_to_is_named_too() -> None:
    def replaced(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        segments, level = usual(rng)
        return {**segments, "prompt_version": "one:4" if week == 0 else "one:3"}, level - 0.5 * (week == 0)

    found = explain(replaced)
    assert found.dimension == "prompt_version"
    assert found.rows[0].value == "one:4"
    assert found.rows[0].share == pytest.approx(1)


def test_a_known_segment_that_fell_is_named_and_not_the_one_with_the_lowest_mean() -> None:
    def fallen(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        segments, level = usual(rng)
        return segments, level - 0.8 * (week == 0 and segments["trace_name"] == "answer")

    found = explain(fallen, ("trace_name", "model"))
    assert (found.dimension, found.rows[0].value) == ("trace_name", "answer")
    row = found.rows[0]
    assert row.mean is not None
    assert row.mean_before is not None
    assert row.mean_before - row.mean == pytest.approx(0.75, abs=0.15)
    assert not row.new


def test_moving_traffic_to_a_worse_model_is_a_fall_and_its_doing() -> None:
    def moved(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        model = "small" if rng.random() < (0.7 if week == 0 else 0.2) else "large"
        return {"model": model, "trace_name": "answer"}, 4.4 if model == "large" else 3.2

    series, expected = put(scores(moved), ("trace_name", "model"))
    assert series.estimate(0, expected.residual).mean < -0.4
    found = attribute(series, expected)
    assert found.dimension == "model"
    assert found.rows[0].value == "small"
    assert found.rows[0].share > found.rows[0].share_before + 0.3


def test_when_all_fall_alike_nobody_is_named() -> None:
    def everywhere(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        segments, _level = usual(rng)
        return segments, 3.5 - 0.6 * (week == 0)

    found = [explain(everywhere, seed=seed) for seed in range(20)]
    evenly = [each for each in found if each.dimension is None]
    assert len(evenly) >= 18  # at the 5 % allowed, three named of twenty would be bad luck
    assert all(each.rows == () and each.rest < -0.3 and len(each.worst) == 5 for each in evenly)


def test_what_holds_the_same_traces_cannot_be_told_apart() -> None:
    def together(week: int, i: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        segments, level = bad_release(week, i, rng)
        return {**segments, "model": "new" if segments["prompt_version"] == "answer:4" else "old"}, level

    found = explain(together)
    assert (found.dimension, found.rows[0].value) == ("prompt_version", "answer:4")
    assert found.alike == (("model", "new"),)
    assert [row.value for row in found.new] == ["new"]


def test_a_single_tag_is_found_among_others() -> None:
    def tagged(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        segments, level = usual(rng)
        return segments, level - 0.9 * (week == 0 and "vip" in segments["tags"])

    found = explain(tagged, ("tags", "model"), n=600)
    assert (found.dimension, found.rows[0].value) == ("tags", "vip")


def test_few_sessions_are_never_blamed() -> None:
    def rare(week: int, i: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        segments, level = usual(rng)
        return ({**segments, "model": "odd"}, 1.0) if week == 0 and i < 4 else (segments, level)

    found = explain(rare)
    assert all(row.value != "odd" for row in (*found.rows, *found.new))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(-1.0, 1.0), st.booleans())
def test_contributions_add_up_to_the_headline(seed: int, low: float, new: bool) -> None:
    def anything(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        segments, level = usual(rng)
        if new and week == 0 and rng.random() < 0.3:
            segments = {**segments, "tags": "fresh", "prompt_version": "other:1"}
        return segments, level - (low if week == 0 else 0)

    series, expected = put(scores(anything, weeks=5, n=60, seed=seed), weeks=5)
    total = series.estimate(0, expected.residual).mean
    for name in DIMENSIONS:
        rows = contributions(series, expected, name)
        assert sum(row.points for row in rows) == pytest.approx(total, abs=1e-9)
        assert sum(row.share for row in rows) >= 1 - 1e-9
        assert all(row.low <= row.points <= row.high for row in rows)
    found = attribute(series, expected)
    assert sum(row.points for row in found.rows) + found.rest == pytest.approx(total, abs=1e-9)


def test_order_of_scores_does_not_matter() -> None:
    made = scores(bad_release, n=100)
    shuffled = [made[i] for i in np.random.default_rng(3).permutation(len(made))]
    one, other = (attribute(*put(each)) for each in (made, shuffled))
    assert (one.dimension, one.alike) == (other.dimension, other.alike)
    assert [row.value for row in one.rows] == [row.value for row in other.rows]
    assert [t.trace_id for t in one.worst] == [t.trace_id for t in other.worst]
    assert one.rest == pytest.approx(other.rest)


def test_a_contribution_has_the_error_that_resampling_sessions_gives() -> None:
    series, expected = put(scores(bad_release, n=200, each=4), ("prompt_version",))
    row = next(r for r in contributions(series, expected, "prompt_version") if r.value == "answer:4")
    dimension, rng = series.dimensions["prompt_version"], np.random.default_rng(1)
    now = series.week == 0
    mine = (dimension.joint == dimension.names.index("answer:4"))[now]
    _, cluster = np.unique(series.session[now], return_inverse=True)
    totals = np.column_stack([np.bincount(cluster, mine * expected.residual[now]), np.bincount(cluster)])
    drawn = totals[rng.integers(0, len(totals), (2000, len(totals)))].sum(axis=1)
    spread = float(np.std(drawn[:, 0] / drawn[:, 1]))
    half = (row.high - row.low) / 2
    assert half / 2.06 == pytest.approx(spread, rel=0.2)  # t of some 25 sessions


# -- the exact split --------------------------------------------------------------------------------------------------


def test_the_split_is_that_of_oaxaca_and_blinder() -> None:
    rng = np.random.default_rng(7)
    n = 900
    now = np.repeat([0.0, 1.0], n)
    codes = np.concatenate([rng.choice(3, n, p=[0.6, 0.3, 0.1]), rng.choice(3, n, p=[0.4, 0.3, 0.3])])
    values = np.array([4.4, 4.0, 3.2])[codes] - 0.3 * now * (codes == 1) + rng.normal(0, 0.7, 2 * n)
    columns = np.column_stack([codes == 0, codes == 1, now]).astype(float)
    oracle = OaxacaBlinder(values, columns, 2, hasconst=False, swap=False)
    unexplained, explained, gap = oracle.two_fold(two_fold_type="self_submitted", submitted_weight=1).params
    found = split(values, np.ones(2 * n), codes, now)
    # statsmodels tells how far the later group lies below the first.
    assert found.within == pytest.approx(-unexplained)
    assert found.mix == pytest.approx(-explained)
    assert found.within + found.mix == pytest.approx(-gap)


@given(st.integers(0, 10_000))
def test_the_split_is_exact_with_any_weights_and_new_or_gone_segments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    values, weights = rng.normal(size=n), rng.uniform(0.5, 9, n)
    now = (np.arange(n) % 2).astype(float)
    codes = rng.integers(0, 5, n) + (now * rng.integers(0, 2)).astype(np.int64)
    found = split(values, weights, codes, now)
    later = now == 1
    gap = np.average(values[later], weights=weights[later]) - np.average(values[~later], weights=weights[~later])
    assert found.within + found.mix == pytest.approx(gap)


# -- worst traces -----------------------------------------------------------------------------------------------------


def test_worst_traces_come_from_the_blamed_segment_at_most_two_a_session() -> None:
    made = scores(bad_release, each=6)
    series, expected = put(made)
    found = attribute(series, expected)
    blamed = {s.trace_id: s for s in made if s.segments["prompt_version"] == "answer:4"}
    assert [trace.trace_id for trace in found.worst if trace.trace_id not in blamed] == []
    sessions = [blamed[trace.trace_id].session for trace in found.worst]
    assert max(sessions.count(session) for session in sessions) <= 2
    assert found.worst[0].lost <= found.worst[-1].lost < 0
    assert found.worst[0].comment.startswith("why ")


def test_worst_is_by_what_it_cost_not_by_its_score() -> None:
    # A 2 in the good segment that stands for ten traces costs more than a 1 in the always bad one.
    def kinds(_: int, i: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        bad = i % 2 == 0
        return {"trace_name": "bad" if bad else "good"}, 1.2 if bad else 4.8

    made = scores(kinds, n=200)
    heavy = Judged(2.0, NOW - timedelta(days=1), "heavy", 10.0, "own", {"trace_name": "good"})
    series, expected = put([*made, heavy], ("trace_name",))
    assert worst_traces(series, expected, None)[0].trace_id == "heavy"


def test_a_trace_is_listed_once_and_one_without_id_never() -> None:
    made = scores(lambda _w, _i, rng: usual(rng), n=100)
    twice = [Judged(1.0, NOW - timedelta(days=1), "same", session=f"x{i}") for i in range(3)]
    nameless = Judged(1.0, NOW - timedelta(days=1), "", 50.0, "y")
    found = attribute(*put([*made, *twice, nameless]))
    ids = [trace.trace_id for trace in found.worst]
    assert len(set(ids)) == len(ids)
    assert "" not in ids


def test_cramers_v_of_yes_and_no() -> None:
    column = np.array([1.0, 1, 0, 0])
    assert cramers_v(column, column) == pytest.approx(1)
    assert cramers_v(column, 1 - column) == pytest.approx(1)
    assert cramers_v(column, np.array([1.0, 0, 1, 0])) == pytest.approx(0)
    assert cramers_v(column, np.ones(4)) == 0


def test_dimensions_that_explain_alike_keep_the_order_of_the_monitor() -> None:
    def twins(week: int, _: int, rng: np.random.Generator) -> tuple[dict[str, str], float]:
        new = week == 0 and rng.random() < 0.4
        return {"model": "m2" if new else "m1", "prompt_version": "p:2" if new else "p:1"}, 4.2 - 1.1 * new

    for order in (("model", "prompt_version"), ("prompt_version", "model")):
        assert [name for name, _ in rank(*put(scores(twins), order))] == list(order)
        assert explain(twins, order).dimension == order[0]


def test_segments_that_share_traces_are_judged_more_strictly() -> None:
    lists, by_tag = ("a,b", "b,c", "c"), list[Judged]()
    for week, i in product(range(7), range(60)):
        level = 4.0 + (i % 5) / 10 - (0.4 if week == 0 and i % 3 == 0 else 0)
        segments = dict.fromkeys(("tags", "trace_name"), lists[i % 3])
        by_tag.append(judged(level, week=week, day=0.1 + i / 10, session=f"{week}-{i}", segments=segments))
    series = weekly(by_tag, now=NOW, weeks=6, segments=["tags", "trace_name"])
    expected = expect(series)
    assert not isinstance(expected, NotEnoughHistory)
    tags, names = (contributions(series, expected, name) for name in ("tags", "trace_name"))
    by = stats.false_discovery_control([row.p for row in tags], method="by")
    bh = stats.false_discovery_control([row.p for row in names], method="bh")
    assert [row.q for row in tags] == pytest.approx(by.tolist())
    assert [row.q for row in names] == pytest.approx(bh.tolist())


def test_of_traces_that_failed_alike_those_the_judge_was_surest_of_are_read_first() -> None:
    made = [judged(float(i > 2 or week > 0), week=week, day=0.1 + i / 3, trace=f"{week}-{i}", session=f"{week}-{i}")
            for week in range(6) for i in range(18)]  # fmt: skip
    sure = {"0-0": 0.6, "0-1": 0.95, "0-2": 0.8}
    series = weekly([replace(each, confidence=sure.get(each.trace_id, 0.0)) for each in made], now=NOW, weeks=5)
    expected = expect(series)
    assert not isinstance(expected, NotEnoughHistory)
    assert [trace.trace_id for trace in worst_traces(series, expected, None)] == ["0-1", "0-2", "0-0"]
