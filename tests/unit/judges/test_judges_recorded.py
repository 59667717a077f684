"""Published judge outputs with labels: our parsers, aggregation and agreement give the published figures.

The sources, their licences and what was published: SOURCE.md beside each set of ../shared/data.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from judges import BooleanScale, CategoricalScale, NumericScale, OffScale
from judges.agreement import TIE, PairedOrders, cohen_kappa, krippendorff_alpha, paired_orders, raw_agreement, settled
from judges.opinions import combined
from tests.recorded import rows, winner
from traces import Failure, Outcome, Verdict

PAIR: Final = CategoricalScale(type="categorical", labels=("Output (a)", "Output (b)"))
RATING: Final = NumericScale(type="numeric", min=0, max=10, step=1)
WINNER: Final = CategoricalScale(type="categorical", labels=("1", "2", "Tie"))
PASS: Final = BooleanScale(type="boolean")
SHARE: Final = NumericScale(type="numeric", min=0, max=1)
ORDERS: Final = ("swap = False", "swap = True")


class TestPairsInBothOrders:
    """LLMBar: GPT-4 and ChatGPT by 5 to 13 methods on eight sets of pairs."""

    def test_every_published_count_of_every_run(self, shared: Path) -> None:
        runs = list(self.runs(shared))
        assert len(runs) == 147
        for run in runs:
            forward, backward = ([winner(result[-1][order]) for result in run["results"]] for order in ORDERS)
            assert self.counts(run["labels"], forward, backward) == self.published(run["statistics"])

    def test_every_published_kappa_of_every_run(self, shared: Path) -> None:
        for run in self.runs(shared):
            # As they were published: the second output's wins are counted as 0, its labels as 2. Only the kappa of
            # the two orders means what it says.
            forward, backward = (
                [1 if winner(result[-1][order]) == 1 else 0 for result in run["results"]] for order in ORDERS
            )
            told = run["statistics"]
            assert cohen_kappa(forward, run["labels"]) == pytest.approx(told["kappa_False"])
            assert cohen_kappa(backward, run["labels"]) == pytest.approx(told["kappa_True"])
            assert cohen_kappa(forward, backward) == pytest.approx(told["kappa_agreement"])

    def test_what_stands_alone_is_read_as_it_was_counted_and_nothing_else_is(self, shared: Path) -> None:
        read: Counter[str] = Counter()
        for run in self.runs(shared):
            for given, order in ((result[-1][order], order) for result in run["results"] for order in ORDERS):
                if "completion" not in given:
                    continue
                try:
                    place = PAIR.labels.index(PAIR.parse(given["completion"][0]))
                except OffScale:
                    read["prose"] += 1
                    continue
                read["alone"] += 1
                # In the second order the outputs stand the other way round.
                read["as published"] += winner(given) == (place + 1 if order == ORDERS[0] else 2 - place)
        assert read["alone"] == read["as published"] == 15_856
        assert read["prose"] == 4_632

    def test_ratings_are_read_and_compared_as_published(self, shared: Path) -> None:
        unread = 0
        for run in self.runs(shared):
            for result in run["results"] if run["method"].startswith("Rating") else ():
                try:
                    one, other = (RATING.parse(result[-1][f"score_{number}"][0]) for number in (1, 2))
                except OffScale:
                    unread += 1
                    continue
                # A tie was given to the second in one order and to the first in the other.
                assert [winner(result[-1][order]) for order in ORDERS] == [
                    1 if one > other else 2,
                    2 if other > one else 1,
                ]
        assert unread == 5  # empty answers

    def test_the_weaker_judge_has_the_stronger_bias(self, shared: Path) -> None:
        shares: defaultdict[str, list[float]] = defaultdict(list)
        for run in self.runs(shared):
            if run["method"] == "Vanilla":
                found = self.orders(run)
                shares[run["judge"]].append(found.same / found.pairs)
        assert len(shares["GPT-4"]) == len(shares["ChatGPT"])
        assert all(strong > weak for strong, weak in zip(shares["GPT-4"], shares["ChatGPT"], strict=True))

    @staticmethod
    def runs(shared: Path) -> Iterator[dict[str, Any]]:
        for path in sorted((shared / "data" / "llmbar").glob("*__judgments.jsonl.gz")):
            yield from rows(path)

    @staticmethod
    def orders(run: dict[str, Any]) -> PairedOrders:
        forward, backward = ([winner(result[-1][order]) for result in run["results"]] for order in ORDERS)
        return paired_orders(forward, backward)

    @staticmethod
    def counts(labels: list[int], forward: list[int], backward: list[int]) -> dict[str, int]:
        both = [settled(*each) for each in zip(forward, backward, strict=True)]
        return {
            name: round((raw_agreement(labels, said) or 0) * len(labels))
            for name, said in (("correct_False", forward), ("correct_True", backward), ("correct_both", both))
        } | {"equal": paired_orders(forward, backward).same}

    @staticmethod
    def published(statistics: dict[str, Any]) -> dict[str, int]:
        names = ("correct_False", "correct_True", "correct_both", "equal")
        return {name: int(statistics[name].split("/")[0]) for name in names}


class TestAnnotators:
    """PandaLM: 999 pairs, three people, two judges."""

    def test_people_agree_as_published(self, shared: Path) -> None:
        people = list(zip(*self.labels(shared), strict=True))
        kappas = [cohen_kappa(people[one], people[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
        assert [round(kappa or 0, 2) for kappa in kappas] == [0.85, 0.88, 0.86]
        assert krippendorff_alpha(self.labels(shared)) == pytest.approx(0.864, abs=0.0005)

    def test_their_majority_has_the_published_counts(self, shared: Path) -> None:
        assert Counter(self.majority(shared)) == Counter({0: 105, 1: 422, 2: 472})

    def test_gpt_3_5_is_as_right_as_was_computed(self, shared: Path) -> None:
        said, unread = [], 0
        for row in rows(shared / "data/pandalm_testset/gpt-3.5-turbo-testset-v1.jsonl.gz"):
            try:
                said.append({"1": 1, "2": 2, "Tie": TIE}[WINNER.parse(row["gpt_result"])])
            except OffScale:  # what the publishers call garbage
                unread += 1
                said.append(TIE)
        assert unread == 25
        assert raw_agreement(self.majority(shared), said) == pytest.approx(0.711, abs=0.0005)
        assert cohen_kappa(self.majority(shared), said) == pytest.approx(0.496, abs=0.0005)

    def test_pandalm_is_as_right_as_was_computed(self, shared: Path) -> None:
        found = rows(shared / "data/pandalm_testset/pandalm-7b-testset-v1.jsonl.gz")
        said = [int(row["pandalm_result"]) for row in found]
        assert raw_agreement(self.majority(shared), said) == pytest.approx(0.668, abs=0.0005)
        assert cohen_kappa(self.majority(shared), said) == pytest.approx(0.435, abs=0.0005)

    @staticmethod
    def labels(shared: Path) -> list[list[int]]:
        found = rows(shared / "data/pandalm_testset/testset-v1.jsonl.gz")
        return [[row[f"annotator{number}"] for number in (1, 2, 3)] for row in found]

    def majority(self, shared: Path) -> list[int]:
        """Take each annotator for an opinion of a jury."""
        names = {1: "1", 2: "2", TIE: "Tie"}
        back = {name: label for label, name in names.items()}
        found = [combined([Verdict(names[label]) for label in labels], WINNER) for labels in self.labels(shared)]
        return [back[str(outcome.value)] for outcome in found if isinstance(outcome, Verdict)]


@pytest.mark.parametrize(
    ("tool", "false_pass", "false_fail"), [("naive", 5, 11), ("phoenix", 5, 10), ("deepeval", 8, 5), ("opik", 0, 16)]
)
class TestRepeats:
    """bc-038: four evaluation tools on 70 agent traces, three times each, one error among them."""

    def test_the_majority_of_the_repeats_errs_as_published(
        self, shared: Path, tool: str, false_pass: int, false_fail: int
    ) -> None:
        wrong = self.errors(self.passed(shared, tool))
        assert wrong == {"false_pass": false_pass, "false_fail": false_fail}
        told = self.analysis(shared, tool)["primary_case_level"]
        assert wrong == {name: told[name]["events"] for name in wrong}

    def test_as_many_cases_flip_as_published(self, shared: Path, tool: str, false_pass: int, false_fail: int) -> None:
        flips = sum(outcome.confidence != 1 for outcome in self.passed(shared, tool).values())
        assert flips == self.analysis(shared, tool)["determinism"]["verdict_flip_cases"]

    def test_other_thresholds_err_as_published(self, shared: Path, tool: str, false_pass: int, false_fail: int) -> None:
        for threshold, told in self.analysis(shared, tool).get("threshold_sensitivity_case_level", {}).items():
            wrong = self.errors(self.passed(shared, tool, float(threshold)))
            assert wrong == {name: told[name]["events"] for name in wrong}

    @staticmethod
    def analysis(shared: Path, tool: str) -> dict[str, Any]:
        text = (shared / "data/bc038_eval_tools/bc038-analysis-v0.2.0-2026-08-14.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)["arms"][tool]
        return found

    @staticmethod
    def passed(shared: Path, tool: str, threshold: float = 0.5) -> dict[str, Verdict]:
        """Read every answer with our parsers and combine the repeats of each case."""
        repeats: defaultdict[str, list[Outcome]] = defaultdict(list)
        for row in rows(shared / f"data/bc038_eval_tools/bc038-eval-{tool}-v0.2.0.jsonl"):
            if row["error"]:
                repeats[row["case_id"]].append(Failure("tool_error", row["error"]))
                continue
            said = json.loads(row["raw"]) if row["raw"].startswith("{") else {"label": row["raw"]}
            number = said.get("value", said.get("score"))
            passes = PASS.parse(said["label"]) if "label" in said else SHARE.parse(number) >= threshold
            assert passes == row["verdict_pass"] or threshold != 0.5
            repeats[row["case_id"]].append(Verdict(passes))
        together = {case: combined(outcomes, PASS) for case, outcomes in repeats.items()}
        return {case: outcome for case, outcome in together.items() if isinstance(outcome, Verdict)}

    @staticmethod
    def errors(passed: dict[str, Verdict]) -> dict[str, int]:
        assert len(passed) == 70
        return {
            "false_pass": sum(case.endswith("-wrong") and bool(found.value) for case, found in passed.items()),
            "false_fail": sum(case.endswith("-correct") and not found.value for case, found in passed.items()),
        }
