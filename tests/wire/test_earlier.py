"""Rules that compare: what is kept of traces in Redis, what a later trace is compared with, and that a retry agrees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from evaluator.app import App
from evaluator.definitions import load
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled
from evaluator.service import sweep
from evaluator.state import earlier
from evaluator.state.earlier import Earlier
from sandbox.server import Sandbox
from tests.building import START, trace
from tests.serving import Config, OpenService, Traffic, everything
from traces import Trace

RULES: Final = """
- {name: usual, rule: within_usual, of: latency}
- {name: same, rule: consistent_answer}
"""
SENT: Final = "Your order was shipped on Monday and should arrive within three to five business days."
NO: Final = "We are sorry, but we cannot help with that request."


def made(number: int, *, after: float = 0.0, **fields: Any) -> Trace:
    fields = {"name": "chat", "output": SENT, "input": "Where is my order?", "root_took": 10.0, **fields}
    built = trace(**fields)
    root = replace(built.root, start=START + timedelta(seconds=after), end=START + timedelta(seconds=after + 10))
    return replace(built, id=f"{number:032x}", root=root, observations=(root,))


class Memory:
    """What several processes share, without the rest of the service."""

    def __init__(self, client: redis.Redis, folder: Path) -> None:
        self.definitions = load(folder)
        self._of = [Earlier(client, "test", self.definitions) for _ in range(2)]
        self._turn = 0

    def check(self, *traces: Trace) -> dict[str, tuple[object, object]]:
        """Return what both rules say of traces of one batch; each batch is another process's."""
        self._turn += 1
        samples = tuple(Sampled(each.name, 1, "0") for each in self.definitions.evaluators)
        jobs = [Job(one.ref, samples) for one in traces]
        seen = self._of[self._turn % 2].beside({one.id: one for one in traces}, jobs)
        usual, same = (each.rule for each in self.definitions.evaluators)
        assert usual is not None
        assert same is not None
        return {one.id: (usual.check(one), same.check(one)) for one in seen.values()}


@pytest.fixture
def memory(valkey: redis.Redis, config: Config) -> Memory:
    return Memory(valkey, config(rules=RULES, rubrics={}))


def said(memory: Memory, one: Trace) -> str:
    return str(getattr(memory.check(one)[one.id][1], "value", "nothing"))


def test_the_later_of_two_answers_is_told(memory: Memory) -> None:
    first, second = made(1), made(2, after=60, output=NO, input="where is MY order")
    assert said(memory, first) == "nothing"
    assert said(memory, second) == "False"
    assert said(memory, first) == "nothing"  # though the other one is known by now
    assert said(memory, second) == "False"  # and it is never compared with itself
    assert said(memory, made(3, after=90)) == "True"
    assert said(memory, made(4, after=95, input="Another question")) == "nothing"


def test_two_of_one_batch_know_each_other(memory: Memory) -> None:
    found = memory.check(made(2, after=60, output=NO), made(1))
    assert [getattr(found[f"{number:032x}"][1], "value", None) for number in (1, 2)] == [None, False]


def test_what_is_older_than_the_days_is_not_compared(memory: Memory) -> None:
    memory.check(made(1))
    assert said(memory, made(2, after=7 * 86_400 - 1, output=NO)) == "False"
    assert said(memory, made(3, after=14 * 86_400, output=SENT)) == "nothing"


def test_a_usual_time_is_known_when_enough_traces_are(memory: Memory) -> None:
    for number in range(30):
        memory.check(made(number, after=number * 60))
    slow = made(99, after=86_400)
    slow = replace(slow, root=replace(slow.root, start=slow.root.start - timedelta(seconds=5)))
    slow = replace(slow, observations=(slow.root,))
    assert getattr(memory.check(slow)[slow.id][0], "value", None) is False
    assert getattr(memory.check(made(98, after=86_500))[f"{98:032x}"][0], "value", None) is True
    few = memory.check(made(97, after=86_600, name="other"))[f"{97:032x}"][0]
    assert "too few" in few.reason  # type: ignore[attr-defined]


def test_in_whatever_order_and_however_often_the_same_is_kept(valkey: redis.Redis, config: Config) -> None:
    traces = [made(number, after=number) for number in range(300)]
    kept = []
    for order in (traces, traces[::-1], [*traces[50:], *traces, *traces[:9]]):
        valkey.flushall()
        memory = Memory(valkey, config(rules=RULES, rubrics={}))
        memory.check(*order)
        kept.append(everything(valkey))
    assert kept[0] == kept[1] == kept[2]
    sizes = sorted(valkey.zcard(key) for key in valkey.scan_iter("test:earlier:*:*"))
    assert sizes == [8, 128]


def test_of_more_topics_than_a_day_may_have_the_first_are_kept(
    memory: Memory, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "MOST_TOPICS", 3)
    for number in range(9):
        memory.check(made(number, after=number, input=f"question {number}"))
    assert len(list(valkey.scan_iter("test:earlier:*:*"))) == 3
    assert said(memory, made(20, after=60, input="question 1", output=NO)) == "False"
    assert said(memory, made(21, after=60, input="question 8", output=NO)) == "nothing"


def test_no_text_is_kept(memory: Memory, valkey: redis.Redis) -> None:
    memory.check(made(1, name="secret-name", input="my secret question", output="the secret answer, which is long"))
    assert "secret" not in str(everything(valkey))
    assert all(0 < valkey.ttl(key) <= 9 * 86_400 for key in valkey.scan_iter("test:earlier:*"))


@contextmanager
def failing_writes(app: App) -> Iterator[None]:
    """Let the process die behind what it remembers, before a score is written."""
    write = app.langfuse.write
    app.langfuse.write = _dies  # type: ignore[method-assign,assignment]
    yield
    app.langfuse.write = write  # type: ignore[method-assign]


def _dies(_: object) -> None:
    raise KeyboardInterrupt


def test_a_retry_says_what_was_said_first(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    traffic.add(1, ended_ago=300, input="Where is it?", output=SENT)
    (second,) = traffic.add(1, first=1, ended_ago=120, input="Where is it?", output=NO)
    with service(config(rules=RULES, rubrics={})) as app:
        jobs: list[Job] = []
        app.discovery(jobs.extend).since(app.clock.now() - timedelta(hours=1))
        with failing_writes(app), pytest.raises(KeyboardInterrupt):
            app.evaluation.evaluate(jobs)
        # Meanwhile an earlier trace comes late that would have changed the verdict.
        traffic.add(1, first=2, ended_ago=200, input="Where is it?", output=NO)
        late: list[Job] = []
        app.discovery(late.extend).since(app.clock.now() - timedelta(hours=1))
        fresh = [job for job in late if job.ref.id not in {each.ref.id for each in jobs}]
        app.evaluation.evaluate(fresh)
        app.evaluation.evaluate(jobs)
        app.evaluation.evaluate(jobs)
    (score,) = [s for s in sandbox.langfuse.all_scores() if s["name"] == "same" and s["traceId"] == second]
    assert score["value"] is False
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_a_sweep_scores_the_later_trace(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    traffic.add(1, ended_ago=300, input="Where is it?", output=SENT)
    (second,) = traffic.add(1, first=1, ended_ago=120, input="Where is it?", output=NO)
    with service(config(rules=RULES, rubrics={})) as app:
        swept = sweep(app, timedelta(hours=1), drain=True, threads=1).as_json()
    assert swept["evaluations"] == {"sampled": 4, "scored": 1, "skipped": 3}
    assert swept["reasons"]["skipped: not asked before"] == 1
    assert [(s["traceId"], s["value"]) for s in sandbox.langfuse.all_scores()] == [(second, False)]
