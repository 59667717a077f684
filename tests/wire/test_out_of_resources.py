"""Langfuse runs out of resources (422): what is paid for becomes a score, and no trace is given up at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from evaluator.app import App
from evaluator.sampling.jobs import Job
from evaluator.scoring.endings import Again
from evaluator.scoring.gathering import LOOKS
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.processes import eventually, running
from tests.serving import SERVICE, Config, OpenService, Traffic, trace_id
from traces import TraceRef

BUSY = {"errors": 1.0, "error_statuses": (422,), "paths": "observations"}
HEALTHY = {"errors": 0.0}
NAMES = ("answered", "no-errors", "helpfulness")


def pairs(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def each_once(ids: Sequence[str]) -> Counter[tuple[str, str]]:
    return Counter((i, name) for i in ids for name in NAMES)


def found(app: App) -> list[Job]:
    jobs: list[Job] = []
    app.discovery(jobs.extend).since(datetime.now(UTC) - timedelta(hours=1))
    return jobs


def back(again: Sequence[Again]) -> list[Job]:
    return [job for each in again for job in each.jobs]


def test_a_worker_that_has_just_started_pays_for_nothing_it_could_not_write(
    sandbox: Sandbox,
    service: OpenService,
    traffic: Traffic,
    environment: dict[str, str],
    config: Config,
    tmp_path: Path,
) -> None:
    ids = traffic.add(20)
    with service() as app:
        app.discovery(open_queue(app).put).since(datetime.now(UTC) - timedelta(hours=1))
    sandbox.model.latency_seconds = 1.0
    with running(environment, config(service=SERVICE), tmp_path / "log") as processes:
        processes.start("worker", "--threads", "4")
        assert eventually(lambda: sandbox.model.counts()["calls"] >= len(ids)), processes.log()
        sandbox.langfuse.faults.change(BUSY)
        # Langfuse gives nothing to read any more; what was judged needs nothing but to be written.
        assert eventually(lambda: pairs(sandbox) == each_once(ids)), processes.log()
    assert sandbox.model.counts()["calls"] == len(ids)


def test_a_trace_langfuse_has_no_resources_for_is_looked_at_again(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    ids = traffic.add(3)
    with service() as app:
        jobs = found(app)
        sandbox.langfuse.faults.change(BUSY)
        left = back(app.evaluation.evaluate(jobs))
        assert {(job.ref.id, job.attempt) for job in left} == {(i, 1) for i in ids}
        assert app.state.dead_letters() == []
        sandbox.langfuse.faults.change(HEALTHY)
        assert app.evaluation.evaluate(left) == []
    assert pairs(sandbox) == each_once(ids)


def test_one_it_never_has_resources_for_is_given_up_alone_and_named(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    ids = traffic.add(3)
    with service() as app:
        jobs = found(app)
        giant = _grown(sandbox, jobs[0])
        jobs = [giant, *jobs]
        sandbox.langfuse.behaviour.change({"most_rows": 50})
        for attempt in range(1, LOOKS + 1):
            jobs = back(app.evaluation.evaluate(jobs))
            assert [job.attempt for job in jobs] == [attempt]
        assert app.evaluation.evaluate(jobs) == []
        letters = app.state.dead_letters()
    assert {letter.job.ref.id for letter in letters} == {giant.ref.id}
    assert all(letter.reason.startswith("fetch_refused: a trace is more than Langfuse can read") for letter in letters)
    assert pairs(sandbox) == each_once(ids)


def test_what_was_paid_for_before_it_was_given_up_is_not_paid_for_by_a_replay(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    traffic.add(1)
    with service() as app:
        jobs = found(app)
        app.langfuse.capabilities()
        sandbox.langfuse.faults.change({"errors": 1.0, "error_statuses": (401,), "paths": "scores"})
        left = back(app.evaluation.evaluate(jobs))  # judged, and not written
        assert sandbox.model.counts()["calls"] == 1
        sandbox.langfuse.faults.change({"error_statuses": (404,), "paths": "observations"})
        assert app.evaluation.evaluate(left) == []
        letters = app.state.dead_letters()
        assert {letter.reason.partition(":")[0] for letter in letters} == {"fetch_refused"}
        sandbox.langfuse.faults.change(HEALTHY)
        replayed: list[Job] = []
        app.state.dead.replay(letters, replayed.extend, 50)
        assert app.evaluation.evaluate(replayed) == []
        assert app.state.remembered([trace_id(0)]) == {}
    assert pairs(sandbox) == each_once([trace_id(0)])
    assert sandbox.model.counts()["calls"] == 1


def _grown(sandbox: Sandbox, like: Job) -> Job:
    """Return the job of a trace with more rows than the stand-in is made to read at once."""
    ended = datetime.now(UTC) - timedelta(hours=10)
    ref = TraceRef("f" * 32, "step-0", "production", ended - timedelta(seconds=2), ended)
    times = {"startTime": ref.started.isoformat(), "endTime": ref.ended.isoformat()}
    sandbox.langfuse.load_observations(
        [{"id": f"step-{n}", "traceId": ref.id, "type": "SPAN", "name": "step", **times} for n in range(100)]
    )
    return replace(like, ref=ref)
