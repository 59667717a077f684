"""What is kept of anchors comes back as it was, and each anchor counts as much as the traffic it stands for."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.calibration.anchors import Item, weighted
from evaluator.state.anchor_rounds import Judging, Known
from monitors.drift import Anchor, DriftState, Round, Shift
from tests.building import trace
from tests.weeks import NOW
from traces import Subject

FINITE = st.floats(-1e6, 1e6)
TIMES = st.integers(0, 10**6).map(lambda minutes: NOW + timedelta(minutes=minutes))
VALUES = st.dictionaries(st.text(max_size=5), FINITE, max_size=4)
ROUNDS = st.builds(Round, TIMES, st.text(max_size=9), VALUES, st.booleans(), st.none() | TIMES)
JUDGINGS = st.builds(
    Judging, ROUNDS, st.text(max_size=6), st.tuples(st.text(max_size=9)), st.dictionaries(st.text(), st.integers(1, 9))
)
KNOWN = st.builds(
    Known,
    st.dictionaries(st.text(max_size=5), st.builds(Anchor, FINITE, st.text(max_size=5)), max_size=4),
    st.lists(JUDGINGS, max_size=3).map(tuple),
    st.builds(DriftState, st.none() | TIMES, st.none() | TIMES, st.lists(TIMES, max_size=3).map(tuple)),
    st.none() | st.builds(Shift, FINITE, FINITE, FINITE, FINITE, FINITE, FINITE, st.integers(0, 99), TIMES),
    st.none() | TIMES,
)


@given(KNOWN)
def test_it_comes_back_as_it_was(known: Known) -> None:
    assert Known.from_json(json.loads(json.dumps(known.to_json()))) == known


def test_nothing_kept_is_nothing_known() -> None:
    assert Known.from_json(None) == Known()
    assert Known().last is None


def test_what_an_older_release_kept_can_be_read() -> None:
    kept = Known(judgings=(Judging(Round(NOW, "v1 gpt", {"a": 1.0}), "v1"),)).to_json()
    del kept["judgings"][0]["since"]
    last = Known.from_json(kept).last
    assert last is not None
    assert last.round.since is None


def test_a_level_counts_as_much_as_the_traffic_has_of_it_however_many_anchors_it_has() -> None:
    def item(name: str, level: int, share: float) -> Item:
        return Item(name, trace(), Subject("t1"), level, share, name)

    items = [*(item(f"low{i}", 0, 0.1) for i in range(10)), *(item(f"high{i}", 4, 0.9) for i in range(30))]
    weights = weighted(items)
    low = sum(anchor.weight for name, anchor in weights.items() if name.startswith("low"))
    assert sum(anchor.weight for anchor in weights.values()) == pytest.approx(40)
    assert low / 40 == pytest.approx(0.1)


def test_a_level_whose_anchors_were_chosen_at_different_times_counts_as_they_say_together() -> None:
    def item(name: str, level: int, share: float) -> Item:
        return Item(name, trace(), Subject("t1"), level, share, name)

    items = [*(item(f"low{i}", 0, share) for i, share in enumerate((0.1, 0.2, 0.3))), item("high", 4, 0.8)]
    for order in (items, items[::-1]):
        weights = weighted(order)
        assert sum(weights[f"low{i}"].weight for i in range(3)) == pytest.approx(4 * 0.2)
        assert weights["high"].weight == pytest.approx(4 * 0.8)


def test_the_mean_of_a_round_is_weighted() -> None:
    anchors = {"a": Anchor(3.0, "s"), "b": Anchor(1.0, "t")}
    judging = Judging(Round(NOW, "v1", {"a": 4.0, "b": 0.0}), "v1")
    assert Known(anchors).mean(judging) == 3.0
