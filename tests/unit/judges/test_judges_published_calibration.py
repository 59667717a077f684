"""Calibration on data no one here made: PandaLM's people and judges, four evaluation tools on labelled agent runs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from judges import BooleanScale, CategoricalScale
from judges.agreement import Value
from judges.calibration import Agreement, Labelled, agreement
from judges.shared_scale import shared_scale
from tests.recorded import rows

WINNERS = CategoricalScale(type="categorical", labels=("1", "2", "tie"))
PASS = BooleanScale(type="boolean")


def told(items: list[Labelled], scale: CategoricalScale | BooleanScale) -> Agreement:
    return agreement(items, shared_scale(scale, []), np.random.default_rng(0))


def named(winner: object) -> str:
    return {"1": "1", "2": "2"}.get(str(winner), "tie")


def test_pandalm_two_people_reach_what_its_readme_says_and_judges_less(shared: Path) -> None:
    folder = shared / "data" / "pandalm_testset"
    people = {row["idx"]: row for row in rows(folder / "testset-v1.jsonl.gz")}
    judged = {row["idx"]: named(row["gpt_result"]) for row in rows(folder / "gpt-3.5-turbo-testset-v1.jsonl.gz")}
    items = [
        Labelled(judged[idx], {f"annotator{n}": named(row[f"annotator{n}"]) for n in (1, 2, 3)}, session=str(idx))
        for idx, row in people.items()
    ]
    found = told(items, WINNERS)
    assert (found.n, found.labels, found.raters) == (999, 2997, 3)
    # The kappas of its README are .85, .88 and .86; alpha was computed elsewhere (SOURCE.md).
    assert found.people["kappa"].value == pytest.approx((0.85 + 0.88 + 0.86) / 3, abs=0.005)
    assert found.people["alpha"].value == pytest.approx(0.864, abs=0.0005)
    kappa = found.judge["kappa"]
    assert kappa.high is not None
    assert kappa.high < found.people["kappa"].value
    assert found.below(0.8) == 1


@pytest.mark.parametrize(
    ("tool", "false_passes", "false_fails"), [("naive", 5, 11), ("phoenix", 5, 10), ("deepeval", 8, 5), ("opik", 0, 16)]
)
def test_bc038_counts_false_passes_and_false_fails(
    shared: Path, tool: str, false_passes: int, false_fails: int
) -> None:
    said: dict[str, list[bool]] = defaultdict(list)
    truth: dict[str, Value] = {}
    for row in rows(shared / "data" / "bc038_eval_tools" / f"bc038-eval-{tool}-v0.2.0.jsonl"):
        truth[row["case_id"]] = row["true_label"] == "correct"
        if not row["error"]:
            said[row["case_id"]].append(bool(row["verdict_pass"]))
    items = [
        Labelled(sum(passes) * 2 > len(passes), {"truth": truth[case]}, session=case) for case, passes in said.items()
    ]
    found = told(items, PASS)
    assert (int(found.counts[1, 0]), int(found.counts[0, 1])) == (false_passes, false_fails)
    no, yes = found.levels
    assert no.ours.value == pytest.approx(false_passes / no.n)
    assert yes.ours.value == pytest.approx(1 - false_fails / yes.n)
