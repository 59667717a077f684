"""Agreement with people: against scikit-learn, krippendorff and scipy, by simulation, and what must always hold."""

from __future__ import annotations

from typing import Any

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import accuracy_score, cohen_kappa_score

from judges import BooleanScale, CategoricalScale, ChecklistScale, NumericScale
from judges.calibration import Agreement, Figure, Labelled, agreement
from judges.shared_scale import shared_scale

STARS = NumericScale(type="numeric", min=1, max=5, step=1)
ANY = NumericScale(type="numeric", min=0, max=1)
PASS = BooleanScale(type="boolean")
LABELS = CategoricalScale(type="categorical", labels=("bad", "fair", "good"), ordered=True)
KINDS = CategoricalScale(type="categorical", labels=("bug", "praise", "question"))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def told(items: list[Labelled], scale: Any = STARS) -> Agreement:
    said = [value for item in items for value in item.labels.values()]
    return agreement(items, shared_scale(scale, said), rng())


def width(figure: Figure) -> float:
    assert figure.low is not None
    assert figure.high is not None
    return figure.high - figure.low


ITEMS = st.lists(
    st.tuples(st.integers(1, 5), st.lists(st.integers(1, 5), min_size=1, max_size=3)), min_size=2, max_size=25
)


def items_of(drawn: list[tuple[int, list[int]]]) -> list[Labelled]:
    return [
        Labelled(float(one), {f"p{k}": float(value) for k, value in enumerate(said)}, session=f"s{n}")
        for n, (one, said) in enumerate(drawn)
    ]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=25))
def test_with_one_person_it_is_what_the_libraries_say(drawn: list[tuple[int, int]]) -> None:
    found = told(items_of([(one, [other]) for one, other in drawn])).judge
    first, second = (list(map(int, side)) for side in zip(*drawn, strict=True))
    assert found["agreement"].value == pytest.approx(accuracy_score(first, second))
    assert found["bias"].value == pytest.approx(np.mean(first) - np.mean(second))
    if len({*first, *second}) > 1:
        assert found["kappa"].value == pytest.approx(cohen_kappa_score(first, second))
        weighted = cohen_kappa_score(first, second, weights="quadratic", labels=[1, 2, 3, 4, 5])
        assert found["weighted kappa"].value == pytest.approx(weighted)
        alpha = krippendorff.alpha(np.array([first, second]), level_of_measurement="ordinal")
        assert found["alpha"].value == pytest.approx(alpha)
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert found["spearman"].value == pytest.approx(spearmanr(first, second)[0], abs=1e-9)
        assert found["kendall"].value == pytest.approx(kendalltau(first, second)[0], abs=1e-9)


@settings(max_examples=20)
@given(ITEMS)
def test_alpha_of_several_people_with_gaps_is_what_krippendorff_says(drawn: list[tuple[int, list[int]]]) -> None:
    found = told(items_of(drawn))
    ratings = np.full((4, len(drawn)), np.nan)
    for n, (one, said) in enumerate(drawn):
        ratings[0, n] = one
        ratings[1 : 1 + len(said), n] = said
    for which, rows in (("judge", ratings), ("people", ratings[1:])):
        together = rows[:, (~np.isnan(rows)).sum(axis=0) > 1]
        if together.size and np.nanmin(together) < np.nanmax(together):
            expected = krippendorff.alpha(rows, level_of_measurement="ordinal")
            assert getattr(found, which)["alpha"].value == pytest.approx(expected)
        else:
            assert "alpha" not in getattr(found, which)


@settings(max_examples=8)
@given(ITEMS, st.data())
def test_a_weight_of_two_is_the_subject_twice(drawn: list[tuple[int, list[int]]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 3), min_size=len(drawn), max_size=len(drawn)))
    once = [Labelled(i.ours, i.labels, float(w), i.session) for i, w in zip(items_of(drawn), weights, strict=True)]
    often = [i for i, w in zip(items_of(drawn), weights, strict=True) for _ in range(w)]
    one, other = told(once), told(often)
    for name in ("agreement", "kappa", "weighted kappa", "spearman", "kendall", "bias"):
        assert (name in one.judge) == (name in other.judge)
        if name in one.judge:
            assert one.judge[name].value == pytest.approx(other.judge[name].value)


@settings(max_examples=8)
@given(ITEMS)
def test_figures_lie_where_they_can_and_inside_their_intervals_order(drawn: list[tuple[int, list[int]]]) -> None:
    found = told(items_of(drawn))
    for figures in (found.judge, found.people):
        for name, figure in figures.items():
            assert -1.0001 <= figure.value <= 1.0001 or name in {"bias", "alpha", "weighted kappa"}
            assert figure.low is None or figure.high is None or figure.low <= figure.high
    assert found.table.sum() == pytest.approx(1)
    assert found.counts.sum() == found.labels == sum(level.n for level in found.levels)


def test_the_ceiling_is_what_two_people_reach_on_the_same_subjects() -> None:
    items = [Labelled(True, {"a": n % 2 == 0, "b": n % 4 == 0, "c": n % 2 == 0}, session=str(n)) for n in range(40)]
    found = told(items, PASS)
    # Of each three pairs, one is always the same and two are in three of four subjects.
    assert found.people["agreement"].value == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert "bias" not in found.people
    alone = told([Labelled(item.ours, {"a": item.labels["a"]}, session=item.session) for item in items], PASS)
    assert alone.people == {}
    assert alone.judge["kappa"].value == 0
    assert alone.headline == "kappa"


def test_sessions_that_are_alike_make_intervals_wider() -> None:
    drawn = rng().integers(1, 6, size=(60, 2))
    alone = [Labelled(float(a), {"p": float(b)}, session=f"{n}") for n, (a, b) in enumerate(drawn.repeat(6, axis=0))]
    together = [Labelled(i.ours, i.labels, session=str(n // 6)) for n, i in enumerate(alone)]
    narrow, wide = (told(items).judge["weighted kappa"] for items in (alone, together))
    assert narrow.value == pytest.approx(wide.value)
    assert width(wide) / width(narrow) == pytest.approx(6**0.5, rel=0.2)


def test_a_95_percent_interval_covers_the_truth_about_95_times_of_100() -> None:
    # A judge that says what the person said in 70 % of the cases, else anything: kappa is .7 in the long run.
    random, covered = rng(), 0
    for _ in range(60):
        said = random.integers(1, 6, 150)
        given_ = np.where(random.random(150) < 0.7, said, random.integers(1, 6, 150))
        items = [
            Labelled(float(a), {"p": float(b)}, session=str(n))
            for n, (a, b) in enumerate(zip(given_, said, strict=True))
        ]
        figure = told(items).judge["kappa"]
        covered += (figure.low or 0) <= 0.7 <= (figure.high or 0)
    assert covered >= 0.88 * 60


def test_how_sure_it_is_to_be_below_a_floor() -> None:
    good = [Labelled(float(n % 5 + 1), {"p": float(n % 5 + 1)}, session=str(n)) for n in range(30)]
    assert told(good).below(0.6) == 0
    bad = [Labelled(float(n % 5 + 1), {"p": float(n % 3 + 1)}, session=str(n)) for n in range(30)]
    assert (told(bad).below(0.6) or 0) > 0.99
    assert told([Labelled(3.0, {"p": 3.0}, session="s")]).below(0.6) is None
    with pytest.raises(ValueError, match="nothing to compare"):
        told([])


def test_numbers_of_any_size_are_shown_in_parts_and_correlated_as_they_are() -> None:
    random = rng()
    said = random.random(80)
    items = [Labelled(float(x**2), {"p": float(x)}, session=str(n)) for n, x in enumerate(said)]
    found = told(items, ANY)
    assert found.shown == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert found.judge["spearman"].value > 0.99
    assert found.judge["bias"].value == pytest.approx(np.mean(said**2 - said), abs=0.02)


@pytest.mark.parametrize(
    ("scale", "said", "value", "ours"),
    [
        (STARS, [1.0, 5.0], 4.0, 4.0),
        (STARS, [1.0, 5.0], 6.0, None),
        (STARS, [1.0, 0.0], 4.0, True),  # yes and no, to a judge of five levels: above the middle
        (STARS, [1.0, 0.0], 3.0, False),
        (STARS, [1.0, 1.0], 1.0, 1.0),  # nobody said no: a 1 is the worst of five levels
        (STARS, [True, True], 1.0, False),
        (ANY, [1.0, 0.0], 0.5, True),
        (PASS, [1.0, 0.0], 1.0, True),
        (PASS, [1.0, 0.0], 0.4, None),
        (PASS, ["yes", "no"], "true", True),
        (LABELS, ["good"], "fair", "fair"),
        (LABELS, ["good"], "great", None),
        (LABELS, ["good"], 1.0, None),
    ],
)
def test_both_are_read_on_one_scale(scale: Any, said: list[Any], value: Any, ours: Any) -> None:
    assert shared_scale(scale, said).ours(value) == ours


def test_numbers_of_people_become_yes_and_no_where_one_says_from_where_on() -> None:
    scale = shared_scale(PASS, [1.0, 5.0], 4)
    assert [scale.theirs(value, 4) for value in (3.0, 4.0, 5.0)] == [False, True, True]
    assert scale.theirs(True, 4) is True
    assert scale.theirs(5.0) is None
    assert shared_scale(STARS, [4.0, True]).theirs(True) is None
    assert shared_scale(STARS, [0.0, 1.0], 2).pass_at == 2


def test_labels_with_and_without_an_order() -> None:
    ordered = [Labelled("bad", {"p": "fair"}), Labelled("good", {"p": "good"}), Labelled("fair", {"p": "fair"})]
    found = told(ordered, LABELS)
    assert found.headline == "weighted kappa"
    assert [(level.label, level.at) for level in found.levels] == [("fair", 1.0), ("good", 2.0)]
    plain = told([Labelled("bug", {"p": "bug"}), Labelled("praise", {"p": "question"})], KINDS)
    assert plain.headline == "kappa"
    assert plain.levels == ()
    assert set(plain.judge) == {"agreement", "kappa", "alpha"}


def test_a_checklist_is_a_share() -> None:
    criteria = {"a": "Is it a?", "b": "Is it b?"}
    scale = ChecklistScale.model_validate({"type": "checklist", "criteria": criteria})
    assert shared_scale(scale, [0.5, 1.0]).ours(0.75) == 0.75
    assert shared_scale(scale, [0.0, 1.0]).ours(0.75) is True
