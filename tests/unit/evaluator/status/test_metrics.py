"""Metrics: what Redis holds, in Prometheus' text form, every one of them documented."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from evaluator.calibration.trust import Agreement, Trust
from evaluator.state.counters import SUM
from evaluator.state.golden_tests import KeptTest
from evaluator.status.metrics import METRICS, Seen, exposition
from judges.calibration import Figure
from tests.looks import NOW, busy, status
from traces import Usage

DOCS = Path(__file__).parents[4] / "docs"

COUNTS = {
    ("traces_seen",): 12.0,
    ("judge_requests", "gpt", "answered"): 3.0,
    ("judge_seconds", "gpt", "0"): 1.0,
    ("judge_seconds", "gpt", "9"): 2.0,
    ("judge_seconds", "gpt", SUM): 150.5,
    ("waits", "langfuse"): 4.0,
    ("wait_seconds", "langfuse"): 9.5,
    ("taken_back", "answered", "failed", "bad_answer"): 2.0,
}


def samples(seen: Seen) -> dict[str, float]:
    text = exposition(seen).decode()
    return {
        f"{each.name}{sorted(each.labels.values()) if each.labels else ''}": each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_numbers_of_the_fleet_are_told() -> None:
    found = samples(Seen(status(), COUNTS, {"tone": Usage("", 3, 100, 20, 0.5, 1)}, NOW))
    assert found["evaluator_leader"] == 1
    assert found["evaluator_sweep_lag_seconds"] == 95
    assert found["evaluator_traces_seen_total"] == 12
    assert found["evaluator_pairs_total['', 'answered', 'scored']"] == 9
    assert found["evaluator_pending['answered']"] == 1
    assert found["evaluator_judge_tokens_total['input', 'tone']"] == 100
    assert found["evaluator_judge_cost_usd_total['tone']"] == 0.5
    assert found["evaluator_limit_wait_seconds_total['langfuse']"] == 9.5
    assert found["evaluator_worker_threads"] == 8


def test_a_histogram_adds_up() -> None:
    found = samples(Seen(status(), COUNTS, {}, NOW))
    assert found["evaluator_judge_seconds_bucket['0.25', 'gpt']"] == 1
    assert found["evaluator_judge_seconds_bucket['64.0', 'gpt']"] == 1
    assert found["evaluator_judge_seconds_bucket['+Inf', 'gpt']"] == 3
    assert found["evaluator_judge_seconds_count['gpt']"] == 3
    assert found["evaluator_judge_seconds_sum['gpt']"] == 150.5


def test_what_is_known_of_judges_is_told_and_what_is_not_is_absent() -> None:
    test = KeptTest(NOW, "v1", 5, 1, 0)
    agreement = Agreement("quality", 0.6, NOW, "kappa", Figure(0.7, 0.6, 0.8), 40, "v1")
    trust = {"tone": Trust("v1", 6, test, agreement), "new": Trust("v1", 6, None, Agreement("quality", None))}
    found = samples(Seen(status(trust=trust), {}, {}, NOW))
    told = {name: value for name, value in found.items() if "golden" in name or "agreement" in name}
    assert told == {
        "evaluator_golden_tests['passed', 'tone']": 5,
        "evaluator_golden_tests['failed', 'tone']": 1,
        "evaluator_golden_tests['not_asked', 'tone']": 0,
        "evaluator_judge_agreement['tone']": 0.7,
    }


def test_what_was_taken_back_does_not_let_a_counter_go_back() -> None:
    found = samples(Seen(status(), COUNTS, {}, NOW))
    assert found["evaluator_pairs_total['answered', 'bad_answer', 'failed']"] == 2


def test_strange_words_are_escaped() -> None:
    found = samples(Seen(busy(), {}, {}, NOW))
    assert found["evaluator_model_closed['gpt']"] == 1
    assert found["evaluator_coverage_ratio['answered']"] == 0.6
    assert sum(name.startswith("evaluator_dead_letters") for name in found) == 1


def test_every_metric_has_its_line_in_the_docs() -> None:
    page = (DOCS / "operations.md").read_text()
    assert [each.name for each in METRICS if f"| `{each.name}` |" not in page] == []
    names = [each.name for each in METRICS]
    assert len(names) == len(set(names))
    assert all(each.name.endswith("_total") == (each.kind == "counter") for each in METRICS)
