"""Whose labels are asked for: what always holds, and what it brings in a simulated world."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.labelling import World, agreement_of, asked, disagreements, widest
from judges.teaching import Candidate, Known, Stratum, Why, is_drawn, more_labels, propose

GOOD, BAD = Stratum("5", "answer:3"), Stratum("1", "answer:3")

places = st.floats(0, 1, exclude_max=True)
candidates = st.lists(
    st.builds(
        Candidate,
        id=st.integers(0, 10**6).map(str),
        at=places,
        stratum=st.sampled_from([GOOD, BAD, Stratum("3", "answer:4")]),
        session=st.sampled_from(["a", "b", "c", ""]),
        doubt=st.floats(0, 1),
        labelled=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda each: each.id,
)


def one(number: int, at: float, *, stratum: Stratum = GOOD, doubt: float = 0.0, session: str = "") -> Candidate:
    return Candidate(f"{number}", at, stratum, session or f"s{number}", doubt)


@given(candidates, st.integers(1, 30), st.floats(0, 1))
def test_nobody_is_asked_twice_nor_more_than_wished_and_the_place_tells_why(
    known: list[Candidate], size: int, share: float
) -> None:
    found = propose(known, {}, size, share)
    assert len(found) <= size
    assert len({each.candidate.id for each in found}) == len(found)
    for each in found:
        assert is_drawn(each.candidate.at) == (each.why is Why.DRAWN)
        assert each.why is Why.DRAWN or not each.candidate.labelled
        assert each.why is not Why.DOUBT or each.candidate.doubt > 0
    sessions = Counter(each.candidate.session for each in found if each.why is not Why.DRAWN)
    del sessions[""]
    assert max(sessions.values(), default=0) <= 2


@given(candidates, st.integers(1, 30), st.floats(0, 1), st.randoms(use_true_random=False))
def test_the_random_share_is_a_threshold_on_the_place_and_on_nothing_else(
    known: list[Candidate], size: int, share: float, random: object
) -> None:
    found = propose(known, {}, size, share)
    drawn = {each.candidate.id for each in found if each.why is Why.DRAWN}
    below = sorted(each.at for each in known if is_drawn(each.at))
    assert len(drawn) == min(round(size * share), len(below))
    assert {each.id for each in known if below and each.at < (below[: len(drawn)] or [0.0])[-1]} <= drawn
    blind = [Candidate(each.id, each.at, GOOD) for each in known]
    assert {e.candidate.id for e in propose(blind, {}, size, share) if e.why is Why.DRAWN} == drawn


@given(candidates, st.integers(1, 20))
def test_who_is_asked_does_not_depend_on_the_order_in_which_scores_are_read(known: list[Candidate], size: int) -> None:
    assert propose(known, {}, size, 0.5) == propose(known[::-1], {}, size, 0.5)


def test_the_most_doubtful_and_the_least_known_come_in_turn() -> None:
    rest = [one(n, 0.5 + n / 100, doubt=0.9 if n == 7 else 0.1 if n == 3 else 0.0) for n in range(10)]
    rest.append(one(10, 0.99, stratum=BAD))
    known = {GOOD: Known(900, 40, 2.0), BAD: Known(100)}
    found = propose(rest, known, 3, 0.0)
    why = {each.candidate.id: each.why for each in found}
    assert why == {"7": Why.DOUBT, "10": Why.FEW, "3": Why.DOUBT}


def test_half_of_a_queue_that_is_half_done_was_drawn_at_random() -> None:
    rng = np.random.default_rng(2)
    found = propose([one(n, float(at)) for n, at in enumerate(rng.random(4000))], {}, 200, 0.5)
    half = [each for each in found[:100] if each.why is Why.DRAWN]
    assert stats.binomtest(len(half), 100, 0.5).pvalue > 0.01 or len(half) > 20


def test_a_stratum_is_less_known_the_wider_its_interval() -> None:
    none, few, many = Known(100), Known(100, 10, 2.0), Known(100, 200, 40.0)
    widths = [high - low for low, high in (each.interval for each in (none, few, many))]
    assert widths == sorted(widths, reverse=True)
    assert [each.gain(0, 0.1) for each in (none, few, many)] == sorted(
        (each.gain(0, 0.1) for each in (none, few, many)), reverse=True
    )
    assert many.interval[0] < 0.2 < many.interval[1]
    assert none.gain(0, 0.1) > none.gain(1, 0.1) > Known(100, waiting=2).gain(0, 0.1)


@given(st.integers(1, 5000), st.floats(0.01, 2), st.floats(0.01, 2))
def test_as_many_labels_more_as_make_the_interval_that_narrow(labels: int, width: float, wished: float) -> None:
    more = more_labels(labels, width, wished)
    assert width * (labels / (labels + more)) ** 0.5 <= wished * (1 + 1e-9)
    assert more == 0 or width * (labels / (labels + more - 1)) ** 0.5 > wished * (1 - 1e-9)


def test_nothing_is_as_narrow_as_nothing() -> None:
    with pytest.raises(ValueError, match="never"):
        more_labels(10, 0.3, 0.0)


def test_chosen_labels_find_more_and_know_the_rare_better_and_the_random_share_stays_fair() -> None:
    """With a hundred labels each, over simulated weeks; docs/calibration.md has the table of many more."""
    rng = np.random.default_rng(5)
    found: dict[str, list[float]] = {name: [] for name in ("mixed", "random", "wide", "wide random", "fair", "truth")}
    everything = []
    for _ in range(16):
        world = World.drawn(rng)
        mixed, random = asked(world, 100, 0.5), asked(world, 100, 1.0)
        found["mixed"].append(disagreements(world, mixed))
        found["random"].append(disagreements(world, random))
        found["wide"].append(widest(world, mixed))
        found["wide random"].append(widest(world, random))
        found["truth"].append(agreement_of(world, list(range(world.size))))
        found["fair"].append(agreement_of(world, [n for n in mixed if is_drawn(world.places[n])]))
        everything.append(agreement_of(world, mixed))
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    assert mean["mixed"] > 1.2 * mean["random"]
    assert mean["wide"] < mean["wide random"]
    spread = float(np.std(found["fair"])) / 16**0.5
    assert abs(mean["fair"] - mean["truth"]) < 3 * spread
    assert np.mean(everything) < mean["truth"] - 3 * spread  # all labels make it worse than it is
