"""Weeks of two rulers, bridged by anchors that both judged: for information, and honest about what is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitors import Held, Judged, WeeklySeries, bridged
from monitors.drift import Shift
from tests.weeks import NOW, judged

STRICTER = Shift(-0.5, -0.6, -0.4, 0.0001, 0.0025, 59.0, 60, NOW)


def scores(*, fell: float = 0.0, weeks: int = 8, seed: int = 5) -> list[Judged]:
    """Weeks of an old ruler, and this one by a new one that gives half a point less; `fell` is the app's own doing."""
    rng = np.random.default_rng(seed)
    return [
        replace(
            judged(
                4.0 + 0.6 * float(rng.standard_normal()) - (0.5 + fell) * (week == 0),
                week=week,
                day=7 * (n + 0.5) / 200,
            ),
            version="new" if week == 0 else "old",
            session=f"{week}-{n}",
        )
        for week in range(weeks + 1)
        for n in range(200)
    ]


def two(of: list[Judged], weeks: int = 8) -> tuple[WeeklySeries, WeeklySeries]:
    held = Held.of(of, now=NOW)
    return held.weekly(weeks=weeks, version="old"), held.weekly(weeks=weeks)


@pytest.mark.parametrize("fell", [0.0, 0.4])
def test_what_the_app_did_beside_the_change_of_ruler_is_told_with_its_interval(fell: float) -> None:
    before, now = two(scores(fell=fell))
    assert (before.version, now.version, before.values.size, now.values.size) == ("old", "new", 1600, 200)
    found = bridged(before, now, STRICTER, (1.0, 5.0))
    assert found is not None
    assert found.low < fell < found.high
    assert (found.low > 0) == (fell > 0)
    assert found.drop == pytest.approx(fell, abs=0.2)


def test_what_the_anchors_do_not_know_for_sure_widens_it() -> None:
    before, now = two(scores())
    sure, unsure = (bridged(before, now, replace(STRICTER, variance=each), (1.0, 5.0)) for each in (0.0, 0.04))
    assert sure is not None
    assert unsure is not None
    assert unsure.high - unsure.low > 0.7 > sure.high - sure.low


def test_it_holds_what_it_says_in_nineteen_of_twenty_weeks() -> None:
    """With the anchors' own error drawn anew each time; of 200 at least 181 (p < .001 for less)."""
    rng, held = np.random.default_rng(11), 0
    for seed in range(200):
        shift = replace(STRICTER, points=-0.5 + 0.05 * float(rng.standard_normal()))
        found = bridged(*two(scores(fell=0.2, weeks=5, seed=seed), 5), shift, (1.0, 5.0))
        assert found is not None
        held += found.low <= 0.2 <= found.high
    assert held >= 181


def test_few_weeks_or_scores_or_a_ruler_that_nobody_knows_are_no_bridge() -> None:
    few = two(scores(weeks=3), 3)
    assert bridged(*few, STRICTER) is None
    before, now = two(scores())
    assert bridged(before, replace(now, excluded=frozenset({0})), STRICTER) is None
    held = Held.of(scores(), now=NOW)
    unknown = held.weekly(weeks=8, version="nobody")
    assert (unknown.version, unknown.values.size) == (None, 0)
    assert bridged(unknown, now, STRICTER) is None
    lone = [each for each in scores() if each.version == "old" or each.session in {"0-1", "0-2"}]
    assert bridged(*two(lone), STRICTER) is None
