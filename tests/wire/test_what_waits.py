"""What a batch holds while its judges think: questions and what scores say, no traces."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from evaluator.sampling.jobs import Job
from sandbox.server import Sandbox
from tests.processes import eventually
from tests.serving import OpenService, Traffic
from traces import Trace


def test_no_trace_waits_in_memory_for_its_judge(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    traffic.add(20)
    sandbox.model.latency_seconds = 2.0
    jobs: list[Job] = []
    with service() as app, ThreadPoolExecutor(1) as elsewhere:
        app.discovery(jobs.extend).since(datetime.now(UTC) - timedelta(hours=1))
        evaluating = elsewhere.submit(app.evaluation.evaluate, jobs)
        assert eventually(lambda: sandbox.model.counts()["calls"] == 20)
        assert not evaluating.done()
        assert {each.id for each in gc.get_objects() if isinstance(each, Trace)}.isdisjoint(job.ref.id for job in jobs)
        assert evaluating.result() == []
    scores = sandbox.langfuse.all_scores()
    assert len(scores) == 60
    assert {score["metadata"]["segments"]["trace_name"] for score in scores} == {"answer-user-query"}
