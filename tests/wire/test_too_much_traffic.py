"""Far more than a model can answer comes for a while: its rubric is sampled less, rules are not, and it passes.

`python -m benchmarks.load overload` plays an hour of it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from evaluator.app import App
from evaluator.burdens import burden, lane_load
from evaluator.pulse import beating
from evaluator.sampling.jobs import Job, Lane
from evaluator.sampling.sampler import Sampled
from evaluator.service import serve, sweep
from evaluator.worker import Queue, open_queue
from sandbox.server import Sandbox
from tests.serving import RUBRIC, Config, OpenService, Traffic
from traces import TraceRef

SERVICE = """
discovery: {every: 200ms, quiet_for: 200ms, max_wait: 10s, overlap: 1m, longest_trace: 1m}
judges: {trace: off}
limits: {model_calls_in_flight: 2, patience: 300ms}
overload: {max_lag: 1500ms}
batch_size: 20
"""
QUICK = RUBRIC.replace("helpfulness", "quick") + "judge: {model: quick}\n"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    monkeypatch.setattr("evaluator.pulse.BEAT", timedelta(seconds=0.1))
    monkeypatch.setattr("evaluator.model.slow._SECONDS", 1.0)
    monkeypatch.setattr("evaluator.worker._POLL_MILLISECONDS", dict.fromkeys(Lane, 50))
    event = threading.Event()
    yield event
    event.set()


def running(app: App, told: threading.Event) -> threading.Thread:
    def run() -> None:
        with beating(app, "run", 4):
            serve(app, told, schedule=True, work=True, threads=4)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_model_that_is_asked_too_much_is_asked_less_until_it_keeps_up(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, told: threading.Event
) -> None:
    folder = config(service=SERVICE, rubrics={"helpfulness": RUBRIC, "quick": QUICK})
    sandbox.model.latency_seconds = 0.1  # 20 answers a second, and 100 traces come
    sandbox.model.latency_of = {"quick": 0.0}
    with service(folder) as app:
        app.state.advance(datetime.now(UTC) - timedelta(seconds=5))
        thread = running(app, told)
        try:
            lowest, ids = 1.0, list[str]()
            for _ in range(12):
                ids += traffic.add(20, first=len(ids), ended_ago=0.1 - len(ids) * 0.001)
                time.sleep(0.2)
                lowest = min(lowest, app.state.load().of("helpfulness"))
            assert lowest < 0.5
            assert app.state.load().of("quick") == app.state.load().of("answered") == 1
            end = time.monotonic() + 60
            while app.state.load().least < 1 or _open(app, len(ids)) or open_queue(app).size():
                assert time.monotonic() < end, (app.state.load(), app.state.funnel())
                time.sleep(0.1)
        finally:
            told.set()
            thread.join(30)
        funnel = app.state.funnel()
    taken, shed = funnel["helpfulness", "scored", ""], funnel["helpfulness", "shed", ""]
    assert taken + shed == len(ids)
    assert {(name, funnel[name, "scored", ""]) for name in ("answered", "no-errors", "quick")} == {
        (name, len(ids)) for name in ("answered", "no-errors", "quick")
    }
    scores = [score for score in sandbox.langfuse.all_scores() if score["name"] == "helpfulness"]
    assert len(scores) == taken
    # Each stands for as many as were left out beside it: by the weights all are there.
    chances = [score["metadata"]["inclusion_probability"] for score in scores]
    spread = math.sqrt(sum((1 - chance) / chance**2 for chance in chances))
    assert abs(sum(1 / chance for chance in chances) - len(ids)) < 5 * spread
    assert sandbox.langfuse.counts()["duplicates"] == 0


def _open(app: App, came: int) -> int:
    """Return how many traces are not found yet, and pairs that have no end."""
    funnel = app.state.funnel()
    found = sum(funnel["helpfulness", state, ""] for state in ("sampled", "shed"))
    return (
        came - found + sum(n if state == "sampled" else -(state == "scored") * n for (_, state, _), n in funnel.items())
    )


def job(number: int, *evaluators: str) -> Job:
    samples = tuple(Sampled(name, 1.0, "0") for name in evaluators)
    return Job(TraceRef(f"{number:032x}", "r", "production", NOW, NOW), samples)


def test_what_is_before_the_workers_is_counted_in_traces_and_pairs(service: OpenService) -> None:
    with service() as app:
        queue = open_queue(app)
        queue.put([job(n, "answered", "helpfulness") for n in range(20)])
        queue.put([job(20, "answered")])
        queue.put([job(n, "helpfulness") for n in range(30, 35)], lane=Lane.PATIENT)
        queue.put([job(40, "helpfulness")], timedelta(hours=1), Lane.PATIENT)
        queue.put([job(50, "helpfulness")], lane=Lane.BACKFILL)
        live, patient = lane_load(queue, Lane.LIVE), lane_load(queue, Lane.PATIENT)
        assert (live.messages, live.jobs, live.pairs) == (2, 21, {"answered": 21, "helpfulness": 20})
        assert (patient.messages, patient.jobs, patient.pairs) == (1, 5, {"helpfulness": 5})
        queue.note_ended(Lane.LIVE, 7)
        assert queue.ended(Lane.LIVE) == 7
        assert queue.ended(Lane.PATIENT) == 0


def test_what_a_rubric_skips_is_no_work_of_its_judge(
    service: OpenService, config: Config, traffic: Traffic, sandbox: Sandbox
) -> None:
    """Live traffic in hand, divided by the few that its judge was asked about, was an hour's lag of an idle judge."""
    seldom = RUBRIC.replace("helpfulness", "seldom").replace("$.root.output", "$.root.metadata.draft")
    with service(config(rubrics={"helpfulness": RUBRIC, "seldom": seldom})) as app:
        queue = open_queue(app)
        traffic.add(20)
        sweep(app, timedelta(hours=1), drain=True, threads=2)
        queue.put([job(n, "helpfulness", "seldom", "other") for n in range(100, 120)])
        queue.put([job(n, "seldom") for n in range(200, 203)], lane=Lane.PATIENT)
        app.state.counters.flush()
        before = burden(app, queue, datetime.now(UTC))
    assert before.pairs == {"helpfulness": 20, "other": 20, "seldom": 3}
    assert before.decided == {"helpfulness": 20}
    assert sandbox.model.counts()["calls"] == 20


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_the_order_holds_for_what_waits_for_a_model_too(service: OpenService, config: Config, order: str) -> None:
    with service(config(service=f"overload: {{order: {order}}}\n", rubrics={})) as app:
        queue: Queue = open_queue(app)
        for number in range(3):
            queue.put([job(number, "answered")], lane=Lane.PATIENT)
        messages = queue.broker.do_fetch(Lane.PATIENT, 3)
    places = [next(n for n in range(3) if f"{n:032x}".encode() in message) for message in messages]
    assert places == ([0, 1, 2] if order == "oldest_first" else [2, 1, 0])
