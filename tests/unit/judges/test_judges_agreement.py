"""Agreement: by hand, against statsmodels, and what must hold of any numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from judges.agreement import TIE, PairedOrders, cohen_kappa, krippendorff_alpha, paired_orders, raw_agreement, settled

COUNTS = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
FIRST, SECOND = zip(*itertools.chain(*([pair] * count for pair, count in COUNTS.items())), strict=True)

GAPS: list[list[float | bool | str | None]] = [  # Krippendorff (2011): four observers, twelve units
    [1, 1, None, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [None, 5, 5, 5],
    [None, None, 1, 1],
    [None, 3, None, None],
]

RATED = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=40)
UNITS = st.lists(st.lists(st.none() | st.integers(1, 5), min_size=2, max_size=4), min_size=1, max_size=20)


class TestKappa:
    def test_the_example_of_the_textbook(self) -> None:
        assert raw_agreement(FIRST, SECOND) == pytest.approx(0.7)
        assert cohen_kappa(FIRST, SECOND) == pytest.approx(0.4)

    @pytest.mark.parametrize(
        ("distance", "expected"),
        # One of four differs, by one. By chance: 1 2 in 1/4, 2 1 in 1/8, 3 1 in 1/8, 3 2 in 1/8.
        [("nominal", 1 - 0.25 / 0.625), ("linear", 1 - 0.25 / 0.75), ("quadratic", 1 - 0.25 / 1.0)],
    )
    def test_by_hand(self, distance: Any, expected: float) -> None:
        assert cohen_kappa([1, 1, 2, 3], [1, 1, 2, 2], distance=distance) == pytest.approx(expected)

    @pytest.mark.parametrize("distance", ["nominal", "linear", "quadratic"])
    @given(rated=RATED)
    def test_it_is_what_statsmodels_says(self, distance: Any, rated: list[tuple[int, int]]) -> None:
        first, second = zip(*rated, strict=True)
        table = np.zeros((5, 5))
        np.add.at(table, (np.array(first) - 1, np.array(second) - 1), 1)
        ours = cohen_kappa(first, second, distance=distance)
        if len({*first, *second}) == 1:
            assert ours is None
            return
        wt = None if distance == "nominal" else distance
        assert ours == pytest.approx(cohens_kappa(table, wt=wt, return_results=False))

    @given(RATED)
    def test_it_does_not_matter_who_is_first(self, rated: list[tuple[int, int]]) -> None:
        first, second = zip(*rated, strict=True)
        assert cohen_kappa(first, second, distance="linear") == pytest.approx(
            cohen_kappa(second, first, distance="linear")
        )

    def test_numbers_are_as_far_apart_as_they_are(self) -> None:
        # A level that nobody gave is a level all the same, and means of samples lie between two.
        near, far = [1, 2.5, 5], [1, 3.0, 5]
        assert cohen_kappa(near, far, distance="quadratic") == pytest.approx(1 - 0.25 / 3 / _chance(near, far))

    def test_labels_need_their_order(self) -> None:
        first, second = ["bad", "fair", "good"], ["bad", "good", "good"]
        levels = ["bad", "fair", "good"]
        assert cohen_kappa(first, second, distance="linear", levels=levels) == pytest.approx(
            cohen_kappa([0, 1, 2], [0, 2, 2], distance="linear")
        )
        with pytest.raises(ValueError, match="give the levels from low to high"):
            cohen_kappa(first, second, distance="linear")
        with pytest.raises(ValueError, match="'good' is none of the levels"):
            cohen_kappa(first, second, levels=["bad", "fair"])

    def test_yes_and_no_are_two_values(self) -> None:
        first, second = [said == "yes" for said in FIRST], [said == "yes" for said in SECOND]
        assert cohen_kappa(first, second) == pytest.approx(0.4)
        assert cohen_kappa(first, second, distance="quadratic") == pytest.approx(0.4)


def _chance(first: list[float], second: list[float]) -> float:
    return sum((one - other) ** 2 for one in first for other in second) / (len(first) * len(second))


class TestAlpha:
    @pytest.mark.parametrize(("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
    def test_the_example_of_krippendorff(self, metric: Any, alpha: float) -> None:
        assert krippendorff_alpha(GAPS, metric=metric) == pytest.approx(alpha, abs=0.0005)

    def test_by_hand(self) -> None:
        # Two units, 1 1 and 1 2: observed 2 of 4 pairs differ; expected 2 * 3 * 1 / 3 of them.
        assert krippendorff_alpha([[1, 1], [1, 2]]) == pytest.approx(1 - 2 / (2 * 3 * 1 / 3))
        assert krippendorff_alpha([[1, 1], [2, 2]]) == 1.0
        assert krippendorff_alpha([["a", "b"], ["b", "a"]]) == pytest.approx(1 - 4 / (2 * 2 * 2 / 3))

    def test_small_numbers_are_numbers_too(self) -> None:
        small = [[value / 100 if isinstance(value, int) else None for value in unit] for unit in GAPS]
        assert krippendorff_alpha(small, metric="interval") == pytest.approx(0.849, abs=0.0005)

    @pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
    @given(units=UNITS, random=st.randoms())
    def test_it_does_not_matter_who_said_what_in_which_order(self, metric: Any, units: Any, random: Any) -> None:
        mixed = [random.sample(unit, len(unit)) for unit in random.sample(units, len(units))]
        one, other = krippendorff_alpha(units, metric=metric), krippendorff_alpha(mixed, metric=metric)
        assert one == pytest.approx(other) if one is not None else other is None
        assert one is None or one <= 1

    @given(UNITS)
    def test_an_item_that_one_alone_judged_says_nothing(self, units: Any) -> None:
        assert krippendorff_alpha([*units, [5, None], [None]]) == krippendorff_alpha(units)

    def test_an_order_of_labels_is_given(self) -> None:
        words: dict[Any, str | None] = {1: "a", 2: "b", 3: "c", 4: "d", 5: "e", None: None}
        told = [[words[value] for value in unit] for unit in GAPS]
        for metric in ("ordinal", "interval"):
            by_label = krippendorff_alpha(told, metric=metric, levels="abcde")
            assert by_label == pytest.approx(krippendorff_alpha(GAPS, metric=metric))
        with pytest.raises(ValueError, match="labels have no order"):
            krippendorff_alpha(told, metric="ordinal")


class TestWeights:
    @given(RATED.filter(lambda rated: len({value for pair in rated for value in pair}) > 1), st.data())
    def test_a_weight_of_two_is_the_item_twice(self, rated: list[tuple[int, int]], data: st.DataObject) -> None:
        weights = data.draw(st.lists(st.integers(1, 3), min_size=len(rated), max_size=len(rated)))
        many = [pair for pair, weight in zip(rated, weights, strict=True) for _ in range(weight)]
        (first, second), (more, others) = zip(*rated, strict=True), zip(*many, strict=True)
        assert raw_agreement(first, second, weights=weights) == pytest.approx(raw_agreement(more, others))
        assert cohen_kappa(first, second, weights=weights) == pytest.approx(cohen_kappa(more, others))

    @pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
    def test_equal_weights_of_any_size_change_nothing(self, metric: Any) -> None:
        plain = krippendorff_alpha(GAPS, metric=metric)
        assert krippendorff_alpha(GAPS, metric=metric, weights=[20.0] * 12) == pytest.approx(plain)

    def test_an_item_without_weight_is_not_there(self) -> None:
        assert krippendorff_alpha([*GAPS, [1, 5]], weights=[1] * 12 + [0]) == krippendorff_alpha(GAPS)
        assert cohen_kappa([*FIRST, "yes"], [*SECOND, "no"], weights=[1] * 50 + [0]) == pytest.approx(0.4)

    @pytest.mark.parametrize("weights", [[1], [1, -1], [1, float("nan")], [[1, 1]]])
    def test_weights_are_one_for_each_item_and_not_negative(self, weights: Any) -> None:
        for judged in (raw_agreement, cohen_kappa):
            with pytest.raises(ValueError, match="each of the 2 items needs a weight"):
                judged([1, 2], [1, 2], weights=weights)
        with pytest.raises(ValueError, match="each of the 2 items needs a weight"):
            krippendorff_alpha([[1, 2], [1, 2]], weights=weights)


def test_nothing_is_told_of_nothing() -> None:
    assert raw_agreement([], []) is None
    assert cohen_kappa([], []) is None
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([[1], [2, None]]) is None
    assert cohen_kappa([1, 1], [1, 1]) is None
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None
    assert paired_orders([], []).bias is None


def test_both_judge_the_same_items() -> None:
    for judged in (raw_agreement, cohen_kappa):
        with pytest.raises(ValueError, match="both judge the same items: 1 are not 2"):
            judged([1], [1, 2])


class TestPairs:
    def test_a_pair_decided_by_its_place_is_told_from_one_that_is_not(self) -> None:
        found = paired_orders([1, 1, 2, 2, TIE, 1], [1, 2, 1, 2, TIE, TIE])
        assert found == PairedOrders(
            pairs=6, same=3, first=1, last=1, kappa=cohen_kappa([1, 1, 2, 2, 0, 1], [1, 2, 1, 2, 0, 0])
        )
        assert found.bias == 0

    def test_one_who_always_takes_the_first_has_all_the_bias(self) -> None:
        assert paired_orders([1, 1], [2, 2]).bias == 1
        assert paired_orders([2], [1]).bias == -1

    def test_a_winner_that_depends_on_the_order_is_none(self) -> None:
        assert [settled(*pair) for pair in ((1, 1), (2, 2), (1, 2), (2, 1), (TIE, 1))] == [1, 2, TIE, TIE, TIE]

    @pytest.mark.parametrize(("forward", "backward"), [([3], [1]), ([1], [1, 2])])
    def test_winners_are_named_by_what_they_are(self, forward: list[int], backward: list[int]) -> None:
        with pytest.raises(ValueError, match=r"a winner is 1, 2 or 0|shorter|longer"):
            paired_orders(forward, backward)
