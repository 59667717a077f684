"""A key that is refused, as the service sees it: questions wait, people are told once, all goes on by itself."""

from __future__ import annotations

import io
from collections import Counter
from datetime import UTC, datetime, timedelta

import redis
from rich.console import Console

from evaluator.app import App
from evaluator.sampling.jobs import Job, Lane
from evaluator.service import sweep
from evaluator.status.overview import look
from evaluator.status.report import show
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.serving import OpenService, Traffic

MODEL = "gpt-5.4-mini"


def found(app: App) -> list[Job]:
    jobs: list[Job] = []
    app.discovery(jobs.extend).since(datetime.now(UTC) - timedelta(hours=1))
    return jobs


def scored(sandbox: Sandbox) -> Counter[str]:
    return Counter(score["name"] for score in sandbox.langfuse.all_scores())


def test_questions_wait_for_a_key_that_is_refused_and_nothing_is_given_up(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis
) -> None:
    traffic.add(5)
    sandbox.model.wanted_key = "sk-new"
    with service() as app:
        again = app.evaluation.evaluate(found(app))
        assert scored(sandbox) == {"answered": 5, "no-errors": 5}
        assert [(one.lane, {job.attempt for job in one.jobs}) for one in again] == [(Lane.PATIENT, {0})]
        reads = sandbox.langfuse.counts()["requests"]
        asked = sandbox.model.counts()["statuses"]["401"]
        jobs = [job for one in again for job in one.jobs]
        again = app.evaluation.evaluate(jobs, Lane.PATIENT)
        assert [len(one.jobs) for one in again] == [5]
        assert sandbox.model.counts()["statuses"]["401"] == asked
        assert sandbox.langfuse.counts()["requests"] == reads
        app.watch.deliver()
        app.watch.deliver()
        status = look(app, open_queue(app), datetime.now(UTC))
    (message,) = sandbox.slack.messages
    assert f"Judge model {MODEL} takes no calls" in message["text"]
    assert "check OPENAI_API_KEY" in message["text"]
    assert status.dead == Counter()
    assert status.closed.keys() == {MODEL}
    assert status.as_json()["closed_models"].keys() == {MODEL}
    out = Console(file=io.StringIO(), width=160)
    show(status, out)
    assert isinstance(out.file, io.StringIO)
    assert "its questions wait" in out.file.getvalue()
    # Somebody mends it, and the pause is over.
    sandbox.model.wanted_key = ""
    valkey.hset(f"evaluator:circuit:{MODEL}", "due", 0)
    with service() as app:
        left = [job for one in app.evaluation.evaluate(jobs, Lane.PATIENT) for job in one.jobs]
        assert len(left) < 5
        assert [one for one in app.evaluation.evaluate(left, Lane.PATIENT) if one.jobs] == []
        assert look(app, open_queue(app), datetime.now(UTC)).closed == {}
    assert scored(sandbox) == {"answered": 5, "no-errors": 5, "helpfulness": 5}


def test_a_sweep_does_not_wait_for_a_person_and_says_for_what_work_waits(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    traffic.add(3)
    sandbox.model.wanted_key = "sk-new"
    with service() as app:
        swept = sweep(app, timedelta(hours=1), drain=True, threads=2, standstill=0.5)
    assert swept.closed.keys() == {MODEL}
    assert swept.left == 1
    assert swept.as_json()["closed_models"] == {MODEL: swept.closed[MODEL]}
    assert "check OPENAI_API_KEY" in swept.closed[MODEL]
    assert scored(sandbox) == {"answered": 3, "no-errors": 3}


def test_an_account_without_credit_waits_too(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    traffic.add(2)
    sandbox.model.out_of_credit = True
    with service(slack_webhook_url="") as app:
        again = app.evaluation.evaluate(found(app))
        assert [one.lane for one in again] == [Lane.PATIENT]
        assert app.state.outbox() == {}
        assert app.state.dead_letters() == []
