"""Metrics for Prometheus, from what the fleet has in Redis: every process tells the same, whichever is asked.

So one target is enough (the scheduler), several do no harm, and no files are shared between processes. When Redis does
not answer there is no answer at all: `up` is 0, and the rules of deploy/prometheus page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from evaluator.state.counters import SECONDS, SUM, Counts
from evaluator.state.coverage import oldest_pending
from evaluator.status.overview import Status
from traces import Usage

Rows = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, and the number."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What metrics are made of."""

    status: Status
    counts: Counts
    spending: Mapping[str, Usage]
    now: datetime

    def counted(self, name: str) -> Rows:
        """Return what was counted under a name, by its labels."""
        return [
            (labels, number) for (first, *rest), number in self.counts.items() if first == name for labels in [(*rest,)]
        ]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric: its name, what kind it is, its labels, what it means, and where its numbers come from."""

    name: str
    kind: str
    labels: tuple[str, ...]
    what: str
    rows: Callable[[Seen], Rows]


def _one(number: Callable[[Seen], float | None]) -> Callable[[Seen], Rows]:
    def rows(seen: Seen) -> Rows:
        found = number(seen)
        return [] if found is None else [((), found)]

    return rows


def _counted(name: str) -> Callable[[Seen], Rows]:
    return lambda seen: seen.counted(name)


def _used(of: Callable[[Usage], float]) -> Callable[[Seen], Rows]:
    return lambda seen: [((name,), of(usage)) for name, usage in seen.spending.items()]


def _pairs(seen: Seen) -> Rows:
    """Return pairs by state and reason. What a late score took back is added: a counter never goes back."""
    pairs = Counter(seen.status.funnel)
    for labels, number in seen.counted("taken_back"):
        pairs[labels[0], labels[1], labels[2]] += int(number)
    return list(pairs.items())


def _tokens(seen: Seen) -> Rows:
    for name, usage in seen.spending.items():
        yield (name, "input"), usage.input_tokens
        yield (name, "output"), usage.output_tokens


def _oldest(seen: Seen) -> float:
    found = oldest_pending(seen.status.promises, seen.now)
    return 0.0 if found is None else found.total_seconds()


METRICS: Final = (
    MetricSpec(
        "evaluator_leader", "gauge", (), "1 when a scheduler leads", _one(lambda s: float(s.status.leader is not None))
    ),
    MetricSpec(
        "evaluator_processes",
        "gauge",
        ("role",),
        "processes that live: run, scheduler, worker, sweep",
        lambda s: [((role,), n) for role, n in Counter(each.role for each in s.status.workers).items()],
    ),
    MetricSpec(
        "evaluator_worker_threads",
        "gauge",
        (),
        "worker threads of each lane that live, over all processes",
        _one(lambda s: sum(each.threads for each in s.status.workers)),
    ),
    MetricSpec(
        "evaluator_sweep_lag_seconds",
        "gauge",
        (),
        "from the end of the last window of Langfuse that was read whole to now; at rest about discovery.quiet_for",
        _one(lambda s: None if s.status.behind is None else s.status.behind.total_seconds()),
    ),
    MetricSpec(
        "evaluator_traces_seen_total", "counter", (), "finished traces that were found", _counted("traces_seen")
    ),
    MetricSpec(
        "evaluator_pairs_total",
        "counter",
        ("evaluator", "state", "reason"),
        "pairs of trace and evaluator that reached a state (filtered, sampled_out, shed, sampled; scored, skipped, "
        "unscored, failed, gone)",
        _pairs,
    ),
    MetricSpec(
        "evaluator_pending",
        "gauge",
        ("evaluator",),
        "pairs that were sampled and have not ended",
        lambda s: [((name,), states["pending"]) for name, states in s.status.counts.items()],
    ),
    MetricSpec(
        "evaluator_oldest_pending_seconds",
        "gauge",
        (),
        "how long the oldest live pair that has not ended waits, to five minutes; 0 when none waits",
        _one(_oldest),
    ),
    MetricSpec(
        "evaluator_coverage_due",
        "gauge",
        ("evaluator",),
        "live pairs whose time (coverage.within) was up in the last hour",
        lambda s: [((each.evaluator,), each.due) for each in s.status.kept],
    ),
    MetricSpec(
        "evaluator_coverage_ratio",
        "gauge",
        ("evaluator",),
        "part of these that was evaluated in time",
        lambda s: [((each.evaluator,), each.share) for each in s.status.kept],
    ),
    MetricSpec(
        "evaluator_queue_messages",
        "gauge",
        ("lane",),
        "messages that no worker has taken; up to 50 traces each",
        lambda s: [((lane.value,), known.messages) for lane, known in s.status.lanes.items()],
    ),
    MetricSpec(
        "evaluator_queue_oldest_seconds",
        "gauge",
        ("lane",),
        "how long the oldest of them has waited",
        lambda s: [((lane.value,), known.oldest.total_seconds()) for lane, known in s.status.lanes.items()],
    ),
    MetricSpec(
        "evaluator_in_hand_messages",
        "gauge",
        (),
        "messages that workers have in hand, or that come again later",
        _one(lambda s: s.status.in_hand),
    ),
    MetricSpec(
        "evaluator_lag_seconds",
        "gauge",
        (),
        "how long a trace that comes now waits for a worker or for the slowest judge, by what was done lately",
        _one(lambda s: s.status.load.lag.total_seconds()),
    ),
    MetricSpec(
        "evaluator_sampling_share",
        "gauge",
        (),
        "part of its configured sampling rates that the evaluator takes which takes least; below 1 while workers or "
        "models cannot keep up",
        _one(lambda s: s.status.load.least),
    ),
    MetricSpec(
        "evaluator_scores_written_total", "counter", (), "scores that Langfuse accepted", _counted("scores_written")
    ),
    MetricSpec(
        "evaluator_judge_calls_total",
        "counter",
        ("evaluator",),
        "answers of judges, shared ones in parts",
        _used(lambda u: u.calls),
    ),
    MetricSpec(
        "evaluator_judge_cached_total", "counter", ("evaluator",), "verdicts used again", _used(lambda u: u.cached)
    ),
    MetricSpec(
        "evaluator_judge_tokens_total",
        "counter",
        ("evaluator", "direction"),
        "tokens read (input) and written (output)",
        _tokens,
    ),
    MetricSpec(
        "evaluator_judge_cost_usd_total",
        "counter",
        ("evaluator",),
        "what judging cost, in USD, where prices are known",
        _used(lambda u: u.usd),
    ),
    MetricSpec(
        "evaluator_judge_requests_total",
        "counter",
        ("model", "result"),
        "requests to model servers: `answered`, `no_answer` or the status of a refusal; all but answered are retried",
        _counted("judge_requests"),
    ),
    MetricSpec(
        "evaluator_judge_seconds",
        "histogram",
        ("model",),
        "how long answers of model servers took",
        _counted("judge_seconds"),
    ),
    MetricSpec(
        "evaluator_limit_waits_total",
        "counter",
        ("server",),
        "requests that waited for a rate limit or a pause (langfuse, model, model:NAME)",
        _counted("waits"),
    ),
    MetricSpec(
        "evaluator_limit_wait_seconds_total",
        "counter",
        ("server",),
        "how long they waited together",
        _counted("wait_seconds"),
    ),
    MetricSpec(
        "evaluator_model_closed",
        "gauge",
        ("model",),
        "1 for a model that takes no calls: its key or credit is refused",
        lambda s: [((model,), 1.0) for model in s.status.closed],
    ),
    MetricSpec(
        "evaluator_budget_spent_usd",
        "gauge",
        ("budget",),
        "spent today (UTC) of a budget",
        lambda s: [((whose,), money.spent) for whose, money in s.status.budgets.items()],
    ),
    MetricSpec(
        "evaluator_budget_usd",
        "gauge",
        ("budget",),
        "the budget of a day",
        lambda s: [((whose,), money.limit) for whose, money in s.status.budgets.items()],
    ),
    MetricSpec(
        "evaluator_waiting_for_money",
        "gauge",
        ("evaluator",),
        "pairs that are parked until there is money",
        lambda s: [((name,), number) for name, number in s.status.parked.items()],
    ),
    MetricSpec(
        "evaluator_dead_letters",
        "gauge",
        ("kind",),
        "work given up in the last 30 days and kept",
        lambda s: [((kind,), number) for kind, number in s.status.dead.items()],
    ),
    MetricSpec(
        "evaluator_golden_tests",
        "gauge",
        ("evaluator", "result"),
        "golden examples of a rubric by what they last came to (passed, failed, not_asked)",
        lambda s: [
            ((name, result), number)
            for name, trust in s.status.trust.items()
            if trust.test is not None
            for result, number in trust.test.results.items()
        ],
    ),
    MetricSpec(
        "evaluator_judge_agreement",
        "gauge",
        ("evaluator",),
        "kappa of a judge with people, as `calibrate` last found it; weighted where its scale has an order",
        lambda s: [
            ((name,), trust.agreement.figure.value)
            for name, trust in s.status.trust.items()
            if trust.agreement is not None and trust.agreement.figure is not None
        ],
    ),
    MetricSpec(
        "evaluator_messages_sent_total",
        "counter",
        (),
        "alerts and notices that every destination has",
        _counted("messages_sent"),
    ),
    MetricSpec(
        "evaluator_messages_waiting",
        "gauge",
        (),
        "alerts and notices that some destination does not have yet",
        _one(lambda s: s.status.undelivered),
    ),
)
"""Every metric, as it is documented."""


def exposition(seen: Seen) -> bytes:
    """Return everything in Prometheus' text form."""
    registry = CollectorRegistry()
    registry.register(_Collected(seen))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """Give every metric that has a number."""
        for spec in METRICS:
            yield _family(spec, spec.rows(self._seen))


def _family(spec: MetricSpec, rows: Rows) -> Metric:
    if spec.kind == "histogram":
        return _histogram(spec, rows)
    kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    family = kind(spec.name, spec.what, labels=spec.labels)
    for labels, number in rows:
        family.add_metric(labels, number)
    return family


def _histogram(spec: MetricSpec, rows: Rows) -> Metric:
    family = HistogramMetricFamily(spec.name, spec.what, labels=spec.labels)
    known: dict[tuple[str, ...], dict[str, float]] = {}
    for (*labels, place), number in rows:
        known.setdefault((*labels,), {})[place] = number
    for labels_of, places in known.items():
        total, buckets = 0.0, []
        for at, end in enumerate([*map(str, SECONDS), "+Inf"]):
            total += places.get(str(at), 0.0)
            buckets.append((end, total))
        family.add_metric(labels_of, buckets, places.get(SUM, 0.0))
    return family
