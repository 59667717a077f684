from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.faults import Fault, FaultKind, Faults


def kinds(faults: Faults, number: int, path: str = "/api") -> Counter[str]:
    decided = [faults.decide(path) for _ in range(number)]
    return Counter("none" if fault is None else fault.kind.value for fault in decided)


def test_nothing_goes_wrong_by_default() -> None:
    assert kinds(Faults(), 500) == {"none": 500}
    assert Faults().delay() == 0


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("errors", FaultKind.ERROR),
        ("rate_limited", FaultKind.RATE_LIMITED),
        ("resets", FaultKind.RESET),
        ("lost_answers", FaultKind.LOST_ANSWER),
        ("hangs", FaultKind.HANG),
    ],
)
def test_a_certain_fault_always_happens(field: str, kind: FaultKind) -> None:
    faults = Faults()
    faults.change({field: 1.0})
    assert kinds(faults, 50) == {kind.value: 50}


def test_shares_come_out_and_do_not_overlap() -> None:
    seen = kinds(Faults(errors=0.2, rate_limited=0.2, resets=0.1, hangs=0.1), 10_000)
    assert abs(seen["error"] / 10_000 - 0.2) < 0.02
    assert abs(seen["rate_limited"] / 10_000 - 0.2) < 0.02
    assert abs(seen["reset"] / 10_000 - 0.1) < 0.02
    assert abs(seen["none"] / 10_000 - 0.4) < 0.02


def test_an_error_draws_one_of_its_statuses() -> None:
    faults = Faults(errors=1.0, error_statuses=(502, 504))
    drawn = {fault.status for fault in (faults.decide("/") for _ in range(100)) if fault is not None}
    assert drawn == {502, 504}


def test_a_refusal_and_a_hang_carry_their_seconds() -> None:
    assert Faults(rate_limited=1.0, retry_after=7).decide("/") == Fault(FaultKind.RATE_LIMITED, 429, 7)
    assert Faults(hangs=1.0, hang_seconds=9).decide("/") == Fault(FaultKind.HANG, seconds=9)


def test_a_burst_ends_after_its_number_of_requests() -> None:
    faults = Faults(burst=3, error_statuses=(503,))
    assert [fault.status if fault else 200 for fault in (faults.decide("/") for _ in range(5))] == [
        503,
        503,
        503,
        200,
        200,
    ]


def test_only_matching_paths_are_touched_and_a_burst_waits_for_them() -> None:
    faults = Faults(burst=1, errors=1.0, paths=r"/scores$")
    assert faults.decide("/api/public/v2/observations") is None
    assert faults.burst == 1
    assert faults.decide("/api/public/scores") is not None


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_one_seed_gives_one_sequence(seed: int, share: float) -> None:
    first, second = Faults(errors=share, seed=seed), Faults(errors=share, seed=seed)
    assert [first.decide("/") for _ in range(20)] == [second.decide("/") for _ in range(20)]


def test_setting_the_seed_starts_the_sequence_anew() -> None:
    faults = Faults(errors=0.5, seed=3)
    before = [faults.decide("/") for _ in range(20)]
    faults.change({"seed": 3})
    assert [faults.decide("/") for _ in range(20)] == before


def test_latency_is_constant_without_spread_and_varies_with_it() -> None:
    constant = Faults(latency=0.2)
    assert {constant.delay() for _ in range(10)} == {0.2}
    spread = Faults(latency=0.2, latency_spread=0.5)
    delays = [spread.delay() for _ in range(1000)]
    assert len(set(delays)) > 900
    assert 0.15 < sorted(delays)[500] < 0.25


def test_clear_switches_everything_off() -> None:
    faults = Faults(errors=1.0, burst=5, paths="x", latency=3.0)
    faults.clear()
    assert faults.document() == Faults().document()
    assert faults.decide("x") is None


def test_change_takes_json_and_keeps_types() -> None:
    faults = Faults()
    faults.change({"errors": 1, "error_statuses": [500], "burst": 2, "paths": "scores"})
    assert (faults.errors, faults.error_statuses, faults.burst, faults.paths) == (1.0, (500,), 2, "scores")
    assert isinstance(faults.errors, float)


@pytest.mark.parametrize(
    "values", [{"eror": 1}, {"errors": "much"}, {"errors": -1}, {"error_statuses": []}, {"paths": 3}, {"burst": None}]
)
def test_change_refuses_what_it_does_not_know_and_changes_nothing(values: dict[str, Any]) -> None:
    faults = Faults(seed=1)
    with pytest.raises(ValueError, match=r"known|cannot be"):
        faults.change({"resets": 0.5} | values)
    assert faults.resets == 0.0


def test_the_document_lists_every_setting_and_nothing_private() -> None:
    assert set(Faults().document()) == {
        "errors",
        "error_statuses",
        "burst",
        "rate_limited",
        "retry_after",
        "resets",
        "lost_answers",
        "hangs",
        "hang_seconds",
        "latency",
        "latency_spread",
        "paths",
        "seed",
    }


def test_what_happened_is_counted() -> None:
    faults = Faults(resets=1.0)
    for _ in range(3):
        faults.decide("/")
    faults.change({"resets": 0.0})
    faults.decide("/")
    assert faults.happened == {FaultKind.RESET: 3}
