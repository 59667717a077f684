"""Every trap of Langfuse's API, met by the client over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson
import pytest

from evaluator.clock import SystemClock
from evaluator.errors import ConfigError, Refused, Unavailable
from evaluator.langfuse import Langfuse, Window
from evaluator.loop import LoopThread
from sandbox.server import Sandbox
from tests.serving import Traffic, trace_id
from traces import DataType, Score, Subject, TraceRef, score_id

LONGEST = timedelta(hours=1)


class RecordingGate:
    """Lets everything through and notes the pauses Langfuse asked for, waiting them out as the fleet would."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._clock = SystemClock()
        self._until = 0.0

    async def permit(self) -> None:
        await asyncio.sleep(max(0.0, self._until - self._clock.monotonic()))

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._until = self._clock.monotonic() + seconds


@pytest.fixture
def gate() -> RecordingGate:
    return RecordingGate()


@pytest.fixture
def client(sandbox: Sandbox, gate: RecordingGate) -> Iterator[Callable[..., Langfuse]]:
    with LoopThread() as loop:
        opened: list[Langfuse] = []

        def make(**changes: Any) -> Langfuse:
            settings: dict[str, Any] = {
                "base_url": sandbox.langfuse_url,
                "public_key": sandbox.public_key,
                "secret_key": sandbox.secret_key,
                "timeout": 5.0,
                **changes,
            }
            made = Langfuse(loop=loop, gate=gate, clock=SystemClock(), random=Random(1), **settings)
            opened.append(made)
            return made

        yield make
        for made in opened:
            made.close()


def last_hour() -> Window:
    now = datetime.now(UTC)
    return Window(now - timedelta(hours=1), now)


def found(langfuse: Langfuse, window: Window | None = None) -> list[str]:
    pages = langfuse.finished_roots(window or last_hour(), longest=LONGEST)
    return [root.ref.id for page in pages for root in page]


def refs(langfuse: Langfuse) -> list[TraceRef]:
    return [root.ref for page in langfuse.finished_roots(last_hour(), longest=LONGEST) for root in page]


def score(number: int, value: float = 1.0, name: str = "answered", **changes: Any) -> Score:
    subject = Subject(trace_id=trace_id(number))
    fields: dict[str, Any] = {
        "id": score_id("sandbox-project", subject, name),
        "subject": subject,
        "name": name,
        "value": value,
        "data_type": DataType.NUMERIC,
        "timestamp": datetime(2026, 11, 20, 12, tzinfo=UTC),
        **changes,
    }
    return Score(**fields)


def test_thousands_of_roots_come_each_once_over_all_pages(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic
) -> None:
    sandbox.langfuse.behaviour.duplicates = 0.3
    ids = traffic.add(2300)
    assert Counter(found(client())) == Counter(ids)


def test_only_roots_that_ended_in_the_window_count(client: Callable[..., Langfuse], traffic: Traffic) -> None:
    now = datetime.now(UTC)
    traffic.add(3, ended_ago=600)
    recent = traffic.add(3, first=10, ended_ago=60)
    assert sorted(found(client(), Window(now - timedelta(minutes=5), now))) == recent


def test_a_window_too_wide_is_halved_and_nothing_comes_twice(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic
) -> None:
    ids = [i for minute in range(40) for i in traffic.add(10, first=minute * 10, ended_ago=60 + minute * 80)]
    sandbox.langfuse.behaviour.most_rows = 900
    assert Counter(found(client(), Window(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)))) == Counter(ids)


def test_a_batch_too_large_is_fetched_in_parts(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic
) -> None:
    langfuse = client()
    ids = [i for hour in range(4) for i in traffic.add(5, first=hour * 5, ended_ago=60 + hour * 800)]
    wanted = refs(langfuse)
    sandbox.langfuse.behaviour.most_rows = 62
    assert sorted(langfuse.fetch(wanted)) == ids


def test_a_trace_nested_beyond_reading_fails_alone_and_by_name(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic
) -> None:
    levels = 5_000
    (deep,) = traffic.add(1, metadata={"deep": orjson.Fragment(b"[" * levels + b"]" * levels)})
    others = traffic.add(6, first=1)
    langfuse = client()
    wanted = refs(langfuse)
    with pytest.raises(Refused, match="nested too deeply"):
        langfuse.fetch(wanted)
    # Who is told so asks for each alone.
    assert sorted(langfuse.fetch([ref for ref in wanted if ref.id != deep])) == others


def test_the_newest_of_two_versions_of_a_row_wins(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic
) -> None:
    sandbox.langfuse.behaviour.duplicates = 1.0
    traffic.add(20)
    langfuse = client()
    traces = langfuse.fetch(refs(langfuse))
    assert len(traces) == 20
    for trace in traces.values():
        assert [o.type for o in trace.observations] == ["SPAN", "RETRIEVER", "GENERATION"]
        assert "can be returned within 30 days" in trace.root.output


def test_rows_become_traces_with_everything_in_them(client: Callable[..., Langfuse], traffic: Traffic) -> None:
    traffic.add(1, tags=["a", "b"], release="2026.1", level="ERROR", statusMessage="boom")
    langfuse = client()
    trace = langfuse.fetch(refs(langfuse))[trace_id(0)]
    assert (trace.name, trace.environment, trace.user_id, trace.session_id) == (
        "answer-user-query",
        "production",
        "user-0",
        "session-0",
    )
    assert trace.root.input == {"question": "How do I return order 0?"}
    assert (trace.tags, trace.release, trace.root.level, trace.root.status_message) == (
        ("a", "b"),
        "2026.1",
        "ERROR",
        "boom",
    )
    assert (trace.model, trace.prompt, trace.tokens) == ("gpt-5.4-mini", ("support", 3), 240)


def test_the_model_is_found_under_its_older_name(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic
) -> None:
    sandbox.langfuse.behaviour.version = "4.16.0"
    traffic.add(1)
    langfuse = client()
    assert langfuse.fetch(refs(langfuse))[trace_id(0)].model == "gpt-5.4-mini"


def test_what_is_not_visible_yet_is_absent(sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic) -> None:
    traffic.add(2)
    langfuse = client()
    wanted = refs(langfuse)
    sandbox.langfuse.delete_traces([trace_id(1)])
    assert list(langfuse.fetch(wanted)) == [trace_id(0)]


def test_a_rate_limit_pauses_the_fleet_for_as_long_as_langfuse_says(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic, gate: RecordingGate
) -> None:
    traffic.add(5)
    langfuse = client()
    langfuse.capabilities()
    sandbox.langfuse.behaviour.requests_per_minute = 3
    sandbox.langfuse.behaviour.window_seconds = 1.0
    for _ in range(5):
        assert len(found(langfuse)) == 5
    assert gate.pauses
    assert all(0 < pause <= 1.5 for pause in gate.pauses)


@pytest.mark.parametrize("fault", ["errors", "resets", "lost_answers"])
def test_passing_failures_are_survived(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic, fault: str
) -> None:
    ids = traffic.add(30)
    langfuse = client()
    langfuse.capabilities()
    sandbox.langfuse.faults.change({fault: 0.3, "seed": 3})
    wanted = refs(langfuse)
    assert sorted(langfuse.fetch(wanted)) == ids
    assert langfuse.write([score(n) for n in range(30)]) == [None] * 30
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_a_langfuse_that_never_answers_is_unavailable(sandbox: Sandbox, client: Callable[..., Langfuse]) -> None:
    sandbox.langfuse.faults.change({"hangs": 1.0, "hang_seconds": 5.0})
    langfuse = client(timeout=0.2, attempts=2)
    with pytest.raises(Unavailable, match="does not answer"):
        langfuse.capabilities()


def test_what_langfuse_would_drop_in_silence_is_refused_here_and_the_others_arrive(
    sandbox: Sandbox, client: Callable[..., Langfuse]
) -> None:
    scores = [
        score(0),
        score(1, float("nan")),
        score(2),
        score(3, name="a,b"),
        score(4, data_type=DataType.BOOLEAN, value=2),
    ]
    answers = client().write(scores)
    assert [type(answer) for answer in answers] == [type(None), Refused, type(None), Refused, Refused]
    assert {s["traceId"] for s in sandbox.langfuse.all_scores()} == {trace_id(0), trace_id(2)}


def test_a_207_is_sent_again_one_by_one_so_that_each_gets_its_own_answer(
    sandbox: Sandbox, client: Callable[..., Langfuse], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only a score we would never send is rejected, so our own check is taken out of its way.
    monkeypatch.setattr("evaluator.langfuse.writing._refuse_what_would_be_lost", lambda score: None)
    scores = [score(n) for n in range(6)] + [score(9, data_type=DataType.BOOLEAN, value=7.0)]
    answers = client().write(scores)
    assert answers[:6] == [None] * 6
    assert isinstance(answers[6], Refused)
    assert {s["traceId"] for s in sandbox.langfuse.all_scores()} == {trace_id(n) for n in range(6)}
    assert sandbox.langfuse.counts()["requests"]["POST /api/public/scores"] == {"200": 6, "207": 1, "400": 1}
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_writing_again_replaces(sandbox: Sandbox, client: Callable[..., Langfuse]) -> None:
    langfuse = client()
    assert langfuse.write([score(0, 1.0)]) == [None]
    assert langfuse.write([score(0, 0.5)]) == [None]
    (stored,) = sandbox.langfuse.all_scores()
    assert stored["value"] == 0.5
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_before_4_59_scores_go_one_by_one(sandbox: Sandbox, client: Callable[..., Langfuse]) -> None:
    sandbox.langfuse.behaviour.version = "4.20.0"
    langfuse = client()
    assert not langfuse.capabilities().batch_scores
    assert langfuse.write([score(n) for n in range(7)]) == [None] * 7
    assert sandbox.langfuse.counts()["requests"]["POST /api/public/scores"] == {"200": 7}


def test_an_array_refused_after_all_is_remembered(sandbox: Sandbox, client: Callable[..., Langfuse]) -> None:
    langfuse = client()
    assert langfuse.capabilities().batch_scores
    sandbox.langfuse.behaviour.version = "4.20.0"
    assert langfuse.write([score(n) for n in range(5)]) == [None] * 5
    assert langfuse.write([score(n) for n in range(5, 9)]) == [None] * 4
    assert sandbox.langfuse.counts()["requests"]["POST /api/public/scores"] == {"200": 9, "400": 1}


def test_writes_of_many_threads_go_out_together(sandbox: Sandbox, client: Callable[..., Langfuse]) -> None:
    langfuse = client(group_seconds=0.2)
    langfuse.capabilities()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: langfuse.write([score(n * 4 + k) for k in range(4)]), range(20)))
    assert answers == [[None] * 4] * 20
    assert sum(sandbox.langfuse.counts()["requests"]["POST /api/public/scores"].values()) <= 3
    assert sandbox.langfuse.counts()["scores"] == 80


def test_fetches_of_many_threads_go_out_together(
    sandbox: Sandbox, client: Callable[..., Langfuse], traffic: Traffic
) -> None:
    traffic.add(20)
    langfuse = client(group_seconds=0.2)
    wanted = refs(langfuse)
    before = sum(sandbox.langfuse.counts()["requests"]["GET /api/public/v2/observations"].values())
    with ThreadPoolExecutor(20) as pool:
        traces = list(pool.map(lambda ref: langfuse.fetch([ref]), wanted))
    assert [list(one) for one in traces] == [[ref.id] for ref in wanted]
    after = sum(sandbox.langfuse.counts()["requests"]["GET /api/public/v2/observations"].values())
    assert after - before <= 3


def test_wrong_keys_are_told_by_name_and_never_shown(client: Callable[..., Langfuse]) -> None:
    langfuse = client(secret_key="sk-lf-planted")
    with pytest.raises(ConfigError, match="LANGFUSE_SECRET_KEY") as caught:
        langfuse.capabilities()
    assert "planted" not in str(caught.value)


def test_a_langfuse_without_v4_reads_is_refused_with_what_to_do(
    sandbox: Sandbox, client: Callable[..., Langfuse]
) -> None:
    sandbox.langfuse.behaviour.version = "3.170.0"
    with pytest.raises(Refused, match=r"3\.170\.0 has no v2/observations.*from 4\.0"):
        client().capabilities()


def test_scores_are_read_back_each_once_with_subject_and_metadata(
    sandbox: Sandbox, client: Callable[..., Langfuse]
) -> None:
    langfuse = client()
    langfuse.write([score(n, metadata={"segments": {"model": "m"}, "n": n}, comment="why") for n in range(250)])
    window = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC))
    read = [one for page in langfuse.scores(window, names=["answered"]) for one in page]
    assert Counter(one.trace_id for one in read) == Counter(trace_id(n) for n in range(250))
    assert all(one.comment == "why" and one.metadata["segments"] == {"model": "m"} for one in read)
    assert [one for page in langfuse.scores(window, names=["other"]) for one in page] == []
    some = [one.trace_id for page in langfuse.scores(window, trace_ids=[trace_id(3), trace_id(9)]) for one in page]
    assert sorted(filter(None, some)) == [trace_id(3), trace_id(9)]
