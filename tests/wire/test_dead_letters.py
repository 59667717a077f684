"""Dead letters on real sockets: what was given up is taken up again once, whatever happens on the way, or dropped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from evaluator.app import App
from evaluator.cli import cli
from evaluator.sampling.jobs import Job, Lane
from evaluator.service import sweep
from evaluator.state.dead_letters import DeadLetter, Replayed
from evaluator.state.fleet import Settled
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.serving import OpenService, Traffic, trace_id
from traces import Failure, TraceRef, Verdict

HOUR = timedelta(hours=1)
FAILED = ("helpfulness", "failed", "bad_answer")


@pytest.fixture
def app(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> Iterator[App]:
    """The service after its judge failed on three traces; the judge is well again."""
    sandbox.model.answers.malformed = 1.0
    traffic.add(3)
    with service() as opened:
        sweep(opened, HOUR, drain=True, threads=2)
        sandbox.model.answers.malformed = 0.0
        yield opened


def worked_off(app: App) -> None:
    sweep(app, HOUR, drain=True, threads=2)


def judged(sandbox: Sandbox) -> Counter[str]:
    return Counter(s["traceId"] for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness")


def replay(app: App, letters: list[DeadLetter] | None = None) -> Replayed:
    queue = open_queue(app)
    chosen = app.state.dead_letters() if letters is None else letters
    return app.state.dead.replay(chosen, lambda jobs: queue.put(jobs, lane=Lane.BACKFILL), 2)


def each_once() -> Counter[str]:
    return Counter(trace_id(number) for number in range(3))


def test_a_letter_that_is_replayed_gets_one_score_and_is_failed_no_more(app: App, sandbox: Sandbox) -> None:
    assert app.state.funnel()[FAILED] == 3
    assert replay(app) == Replayed(put=3)
    assert open_queue(app).waiting(Lane.BACKFILL) == 2
    assert app.state.funnel()[FAILED] == 0
    worked_off(app)
    assert judged(sandbox) == each_once()
    assert app.state.dead_letters() == []
    assert (app.state.funnel()[FAILED], app.state.funnel()["helpfulness", "scored", ""]) == (0, 3)
    assert app.state.funnel()["helpfulness", "sampled", ""] == 3
    assert app.state.dead.counts() == Counter(replayed=3)


def test_to_replay_twice_puts_nothing_twice(app: App, sandbox: Sandbox) -> None:
    letters = app.state.dead_letters()
    assert replay(app, letters) == Replayed(put=3)
    assert replay(app, letters) == Replayed(gone=3)
    worked_off(app)
    assert judged(sandbox) == each_once()
    assert sandbox.langfuse.counts()["duplicates"] == 0


class _Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("before_it_was_put", [True, False])
def test_a_replay_that_was_killed_is_done_again(app: App, sandbox: Sandbox, before_it_was_put: bool) -> None:
    queue = open_queue(app)

    def put(jobs: Any) -> None:
        if not before_it_was_put:
            queue.put(jobs, lane=Lane.BACKFILL)
        raise _Killed

    with pytest.raises(_Killed):
        app.state.dead.replay(app.state.dead_letters(), put, 50)
    letters = app.state.dead_letters()
    assert [letter.begun for letter in letters] == [True] * 3
    assert app.state.funnel()[FAILED] == 0
    assert replay(app) == Replayed(put=3)
    worked_off(app)
    assert judged(sandbox) == each_once()
    assert sandbox.langfuse.counts()["duplicates"] == 0
    assert (app.state.funnel()[FAILED], app.state.funnel()["helpfulness", "scored", ""]) == (0, 3)
    assert app.state.dead.counts() == Counter(replayed=3)
    assert app.state.dead_letters() == []


def test_a_replay_that_was_killed_after_its_work_is_only_tidied_up(app: App, sandbox: Sandbox) -> None:
    queue = open_queue(app)

    def put(jobs: Any) -> None:
        queue.put(jobs)
        raise _Killed

    with pytest.raises(_Killed):
        app.state.dead.replay(app.state.dead_letters(), put, 50)
    worked_off(app)
    assert len(app.state.dead_letters()) == 3
    calls = sandbox.model.counts()["calls"]
    assert replay(app) == Replayed(gone=3)
    worked_off(app)
    assert sandbox.model.counts()["calls"] == calls
    assert app.state.dead_letters() == []


def test_what_fails_again_leaves_a_new_letter_and_counts_once(app: App, sandbox: Sandbox) -> None:
    first = app.state.dead_letters()
    sandbox.model.answers.malformed = 1.0
    replay(app)
    worked_off(app)
    again = app.state.dead_letters()
    assert {letter.id for letter in again} == {letter.id for letter in first}
    assert min(letter.at for letter in again) > max(letter.at for letter in first)
    assert not any(letter.begun for letter in again)
    assert app.state.funnel()[FAILED] == 3
    assert replay(app, first) == Replayed(gone=3)


def test_what_failed_and_is_replayed_before_it_was_claimed_is_sampled_once(app: App) -> None:
    known = app.state.dead_letters()[0]
    assert isinstance(known.job.ref, TraceRef)
    ref = replace(known.job.ref, id=trace_id(9))
    letter = replace(known, job=replace(known.job, ref=ref))
    app.state.settle([Settled(ref, letter.evaluator, "failed", letter.kind, letter)])
    assert replay(app, [letter]) == Replayed(put=1)
    app.state.claim({ref: ["helpfulness/sampled/"]})
    assert app.state.funnel()["helpfulness", "sampled", ""] == 4


def test_a_remembered_failure_is_asked_again_and_a_paid_verdict_is_not(app: App) -> None:
    letter = app.state.dead_letters()[0]
    trace, own = letter.job.ref.id, f"{letter.evaluator}@v1"
    app.state.remember(
        [
            (trace, own, Failure("bad_answer", "", retryable=False)),
            (trace, f"{own}#step", Verdict(1.0)),
            (trace, "helpful@v1", Failure("bad_answer", "", retryable=False)),
        ]
    )
    replay(app, [letter])
    assert app.state.remembered([trace]).keys() == {(trace, f"{own}#step"), (trace, "helpful@v1")}


def test_a_dropped_letter_is_gone_and_its_pair_stays_failed(app: App) -> None:
    first, *others = app.state.dead_letters()
    assert app.state.dead.drop([first]) == 1
    assert app.state.dead.drop([first]) == 0
    assert app.state.dead_letters() == others
    assert app.state.funnel()[FAILED] == 3


def test_to_drop_what_was_on_its_way_lets_it_fail_again(app: App) -> None:
    def put(jobs: Sequence[Job]) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        app.state.dead.replay(app.state.dead_letters(), put, 50)
    assert app.state.dead.drop(app.state.dead_letters()) == 3
    assert app.state.funnel()[FAILED] == 3
    jobs = [Job(letter.job.ref, letter.job.samples) for letter in app.state.dead_letters()]
    assert app.state.settled(jobs) == {}


@pytest.fixture
def typed(app: App, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVALUATOR_CONFIG", str(app.definitions.folder))

    def ask(*words: str, said: str = "") -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["dead-letters", *words], input=said)
        return done.exit_code, done.stdout

    return ask


def test_letters_are_listed_by_reason_and_age(typed: Any) -> None:
    code, text = typed("list", "--limit", "2")
    assert code == 0
    _, row, newest, _, more, *_ = text.splitlines()
    assert row.split() == ["3", "0m", "0m", "bad_answer", "helpfulness"]
    assert f"{trace_id(2)}/helpfulness  bad_answer: " in newest
    assert "and 1 older ones" in more
    assert "nothing was given up that fits" in typed("list", "--reason", "worker_error")[1]
    assert "nothing was given up that fits" in typed("list", "--older-than", "1h")[1]
    rows = json.loads(typed("list", "--json", "--reason", "bad_answer", "--evaluator", "helpfulness")[1])
    assert {row["trace_id"] for row in rows} == set(each_once())
    assert all(row["inclusion_probability"] == 1.0 for row in rows)


def test_a_letter_is_shown_with_what_to_do(typed: Any) -> None:
    code, text = typed("show", trace_id(1))
    assert code == 0
    assert f"/traces/{trace_id(1)}" in text
    assert f"evaluator dead-letters replay '{trace_id(1)}/helpfulness'" in text
    assert json.loads(typed("show", f"{trace_id(1)}/helpfulness", "--json")[1])[0]["attempts"] == 1
    assert typed("show", "nothing")[0] == 2


def test_replay_and_drop_want_to_know_which(typed: Any, app: App) -> None:
    assert typed("replay")[0] == typed("drop")[0] == 2
    assert json.loads(typed("replay", trace_id(0), "--json")[1]) == {"replayed": 1, "gone": 0}
    assert typed("drop", "--reason", "bad_answer", said="n\n")[0] == 1
    assert len(app.state.dead_letters()) == 2
    assert "2 dropped" in typed("drop", "--all", "--yes")[1]
    assert "1 replayed, 2 dropped" in typed("list")[1]
