"""What the client makes of servers that answer oddly, and of Langfuse's delays, keys and giants."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from aiohttp import web

from evaluator.clock import SystemClock
from evaluator.errors import ConfigError, Refused, Unavailable
from evaluator.langfuse import Langfuse, Window, scanning
from evaluator.limits import OpenGate
from evaluator.loop import LoopThread
from sandbox.server import Sandbox
from tests.serving import Traffic, trace_id
from traces import DataType, Score, Subject, TraceRef, score_id

LONGEST = timedelta(hours=1)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SCORES = "POST /api/public/scores"
OBSERVATIONS = "GET /api/public/v2/observations"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Make = Callable[..., Langfuse]


class NotingGate(OpenGate):
    """Notes permits and pauses, waits for neither."""

    def __init__(self) -> None:
        self.permits = 0
        self.pauses: list[float] = []

    async def permit(self, tokens: int = 0) -> None:
        self.permits += 1

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def gate() -> NotingGate:
    return NotingGate()


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    with LoopThread() as running:
        yield running


@pytest.fixture
def make(loop: LoopThread, gate: NotingGate) -> Iterator[Make]:
    opened: list[Langfuse] = []

    def make(url: str, **changes: Any) -> Langfuse:
        settings: dict[str, Any] = {"public_key": "pk-lf-sandbox", "secret_key": "sk-lf-sandbox", "timeout": 5.0}
        opened.append(
            Langfuse(
                base_url=url, loop=loop, gate=gate, clock=SystemClock(), random=Random(1), **{**settings, **changes}
            )
        )
        return opened[-1]

    yield make
    for langfuse in opened:
        langfuse.close()


@pytest.fixture
def client(sandbox: Sandbox, make: Make) -> Make:
    return lambda **changes: make(sandbox.langfuse_url, **changes)


@pytest.fixture
def serve(loop: LoopThread) -> Iterator[Callable[[Handler], str]]:
    """Serve every path with one handler; returns the address."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runners.append(web.AppRunner(app, access_log=None, shutdown_timeout=0.1))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runners[-1].addresses[0][1]}"

    yield lambda handler: loop.call(start(handler))
    for runner in runners:
        loop.call(runner.cleanup())


def answering(status: int, text: str = "{}", **headers: str) -> Handler:
    async def handle(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=named)

    return handle


def scripted(*handlers: Handler) -> Handler:
    """Answer with each in turn, the last one for ever."""
    left = list(handlers)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return handle


def langfuse_with(handler: Handler, path: str = "scores") -> Handler:
    """Answer as Langfuse does, but with `handler` to what comes to one path."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answers: dict[str, Any] = {"health": {"version": "4.60.0"}, "projects": {"data": [{"id": "p", "name": "P"}]}}
        if request.path.endswith(f"/{path}"):
            return await handler(request)
        return web.json_response(answers.get(request.path.rpartition("/")[2], {"data": [], "meta": {}}))

    return handle


def score(number: int, **changes: Any) -> Score:
    subject = Subject(trace_id=trace_id(number))
    fields: dict[str, Any] = {
        "id": score_id("sandbox-project", subject, "answered"),
        "subject": subject,
        "name": "answered",
        "value": 1.0,
        "data_type": DataType.NUMERIC,
        "timestamp": AT,
        **changes,
    }
    return Score(**fields)


def last_hour() -> Window:
    now = datetime.now(UTC)
    return Window(now - timedelta(hours=1), now)


def found(langfuse: Langfuse, **options: Any) -> list[TraceRef]:
    return [root.ref for page in langfuse.finished_roots(last_hour(), longest=LONGEST, **options) for root in page]


class TestAnswers:
    @pytest.mark.parametrize("text", ["<html>A wiki</html>", "", '{"version": "4.', "[]", '"4.60.0"', "null"])
    def test_a_page_in_place_of_json_is_no_langfuse(
        self, make: Make, serve: Callable[[Handler], str], text: str
    ) -> None:
        with pytest.raises(Unavailable) as caught:
            make(serve(answering(200, text)), attempts=1).capabilities()
        assert str(caught.value) == "Langfuse answered 200 to GET health, but not in its JSON; check LANGFUSE_BASE_URL"

    @pytest.mark.parametrize("text", ["<html>Hello</html>", "", '{"id": "'])
    def test_a_write_is_proved_by_its_answer_only(self, make: Make, serve: Callable[[Handler], str], text: str) -> None:
        url = serve(langfuse_with(answering(200, text)))
        (answer,) = make(url, attempts=1).write([score(0)])
        assert isinstance(answer, Unavailable)
        (answer,) = make(serve(langfuse_with(scripted(answering(200, text), answering(200)))), attempts=2).write(
            [score(0)]
        )
        assert answer is None

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_an_address_that_redirects_is_for_a_person_to_mend(
        self, make: Make, serve: Callable[[Handler], str], status: int
    ) -> None:
        # Followed, a POST becomes a GET, whose answer would pass for a score that was accepted.
        target = serve(langfuse_with(answering(200)))
        url = serve(langfuse_with(answering(status, Location=f"{target}/api/public/scores")))
        (answer,) = make(url).write([score(0)])
        assert isinstance(answer, ConfigError)
        assert str(answer) == f"LANGFUSE_BASE_URL: {url} redirects; set the address it leads to"

    @pytest.mark.parametrize(
        ("status", "kind", "requests"),
        [(400, Refused, 1), (404, Refused, 1), (401, ConfigError, 1), (403, ConfigError, 1), (408, Unavailable, 3)]
        + [(status, Unavailable, 3) for status in (500, 502, 503, 504, 524)],
    )
    def test_a_status_says_whether_to_ask_again(
        self,
        make: Make,
        serve: Callable[[Handler], str],
        gate: NotingGate,
        status: int,
        kind: type[Exception],
        requests: int,
    ) -> None:
        with pytest.raises(kind, match=f"Langfuse answered {status} to GET health: Sorry"):
            make(serve(answering(status, '{"message": "Sorry"}')), attempts=3).capabilities()
        assert gate.permits == requests

    def test_a_server_that_is_too_busy_for_five_minutes_of_traces_is_away(
        self, make: Make, serve: Callable[[Handler], str]
    ) -> None:
        busy = answering(422, '{"message": "Query ran out of resources"}')
        with pytest.raises(Unavailable, match=r"cannot read even five minutes now: .*ran out of resources"):
            make(serve(langfuse_with(busy, "observations"))).capabilities()

    @pytest.mark.parametrize(
        ("header", "pause"),
        [("2", 2.0), ("0", 0.05), ("-3", 0.05), ("99999", 300.0), ("inf", 300.0), ("nan", 1.0), ("soon", 1.0)],
    )
    def test_the_pause_of_a_429_is_everybodys_and_bounded(
        self, make: Make, serve: Callable[[Handler], str], gate: NotingGate, header: str, pause: float
    ) -> None:
        langfuse = make(serve(scripted(answering(429, Retry_After=header), langfuse_with(answering(200)))))
        assert langfuse.capabilities().project_name == "P"
        assert gate.pauses == [pause]

    def test_a_429_that_never_ends_tells_how_long_to_wait(
        self, make: Make, serve: Callable[[Handler], str], gate: NotingGate
    ) -> None:
        with pytest.raises(Unavailable) as caught:
            make(serve(answering(429, Retry_After="7")), attempts=2).capabilities()
        assert str(caught.value) == "Langfuse's rate limit is reached; it asks for 7 s"
        assert caught.value.retry_after == 7.0
        assert gate.pauses == [7.0, 7.0]

    def test_an_error_that_nobody_holds_is_gone_at_once(self, make: Make, serve: Callable[[Handler], str]) -> None:
        """Garbage is looked for seldom: an error in a cycle would hold all that was read on its way for long."""
        client = make(serve(answering(503)), attempts=2)
        gc.collect()
        gc.disable()
        try:
            with contextlib.suppress(Unavailable):
                client.capabilities()
            assert [each for each in gc.get_objects() if isinstance(each, Unavailable)] == []
        finally:
            gc.enable()

    def test_a_page_that_repeats_for_ever_ends_the_scan(self, make: Make, serve: Callable[[Handler], str]) -> None:
        url = serve(answering(200, '{"data": [], "meta": {"cursor": "again"}}'))
        assert list(make(url).finished_roots(last_hour(), longest=LONGEST)) == [[], []]

    def test_a_server_whose_version_nobody_can_read_may_take_arrays(
        self, make: Make, serve: Callable[[Handler], str]
    ) -> None:
        url = serve(scripted(answering(200, '{"version": "nightly"}'), langfuse_with(answering(200))))
        capabilities = make(url).capabilities()
        assert (capabilities.version, capabilities.batch_scores) == ("nightly", True)


class TestKeys:
    def test_an_organisations_keys_are_told_by_name_and_never_shown(self, client: Make) -> None:
        with pytest.raises(ConfigError) as caught:
            client(secret_key="sk-lf-organisation").capabilities()
        assert [problem.where for problem in caught.value.problems] == ["LANGFUSE_SECRET_KEY"]
        assert str(caught.value).endswith("; check LANGFUSE_PUBLIC_KEY, LANGFUSE_BASE_URL")
        assert "sk-lf" not in str(caught.value)

    def test_keys_of_no_project_are_refused(self, make: Make, serve: Callable[[Handler], str]) -> None:
        with pytest.raises(Refused) as caught:
            make(serve(answering(200, '{"data": []}'))).capabilities()
        assert str(caught.value) == "these keys belong to no project: use a project's keys, not an organisation's"

    def test_keys_that_become_wrong_are_told_for_every_score(self, sandbox: Sandbox, client: Make) -> None:
        langfuse = client()
        langfuse.capabilities()
        sandbox.langfuse.secret_key = "another"
        answers = langfuse.write([score(n) for n in range(3)])
        assert [type(answer) for answer in answers] == [ConfigError] * 3


class TestReading:
    def test_a_giant_is_refused_and_costs_its_neighbours_nothing(
        self, sandbox: Sandbox, client: Make, traffic: Traffic
    ) -> None:
        traffic.add(3)
        langfuse = client(group_seconds=0.2)
        others = found(langfuse)
        ended = datetime.now(UTC) - timedelta(hours=10)
        giant = TraceRef("f" * 32, "step-0", "production", ended - timedelta(seconds=2), ended)
        times = {"startTime": giant.started.isoformat(), "endTime": giant.ended.isoformat()}
        sandbox.langfuse.load_observations(
            [{"id": f"step-{n}", "traceId": giant.id, "type": "SPAN", "name": "step", **times} for n in range(100)]
        )
        refs = [giant, *others]
        sandbox.langfuse.behaviour.most_rows = 50
        together = threading.Barrier(len(refs))

        def fetch(ref: TraceRef) -> str:
            together.wait()
            try:
                return ", ".join(langfuse.fetch([ref]))
            except Refused as error:
                return str(error)

        with ThreadPoolExecutor(len(refs)) as pool:
            said, *read = pool.map(fetch, refs)
        assert said.startswith("a trace is more than Langfuse can read: Langfuse answered 422 to GET v2/observations")
        assert read == [ref.id for ref in others]

    def test_a_trace_of_endless_steps_is_refused_and_costs_its_neighbours_nothing(
        self, sandbox: Sandbox, client: Make, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scanning, "MOST_BYTES", 100_000)
        traffic.add(4)
        langfuse = client()
        giant, *others = found(langfuse)
        times = {"startTime": giant.started.isoformat(), "endTime": giant.ended.isoformat()}
        sandbox.langfuse.load_observations(
            [{"id": f"step-{n}", "traceId": giant.id, "type": "SPAN", "name": "x" * 900, **times} for n in range(120)]
        )
        assert sorted(langfuse.fetch(others)) == sorted(ref.id for ref in others)
        with pytest.raises(Refused, match="more than 100,000 bytes in all"):
            langfuse.fetch([giant])

    def test_a_root_is_found_once_it_is_visible(self, client: Make, traffic: Traffic) -> None:
        (late,) = traffic.add(1, visibleAfter=3600)
        (shown,) = traffic.add(1, first=1)
        langfuse = client()
        assert [ref.id for ref in found(langfuse)] == [shown]
        assert langfuse.roots([late], last_hour()) == {}
        traffic.add(1)
        assert sorted(ref.id for ref in found(langfuse)) == [late, shown]

    def test_a_trace_without_a_visible_row_is_absent(self, client: Make) -> None:
        end = datetime.now(UTC)
        assert client().fetch([TraceRef("f" * 32, "root", "production", end - timedelta(minutes=1), end)]) == {}

    def test_environments_are_left_out(self, client: Make, traffic: Traffic) -> None:
        environments = ["production", "llm-as-a-judge", "sdk-experiment", "code-eval", "staging"]
        for number, environment in enumerate(environments):
            traffic.add(1, first=number, environment=environment)
        langfuse = client()
        assert {ref.environment for ref in found(langfuse)} == {"production", "staging"}
        assert {ref.environment for ref in found(langfuse, exclude_environments=["staging"])} == {"production"}

    def test_roots_are_found_by_id_within_their_window(self, sandbox: Sandbox, client: Make, traffic: Traffic) -> None:
        ids = traffic.add(120)
        langfuse = client()
        assert sorted(langfuse.roots(ids, last_hour())) == ids
        assert sandbox.langfuse.counts()["requests"][OBSERVATIONS] == {"200": 3}
        past = Window(AT - timedelta(days=30), AT - timedelta(days=29))
        assert langfuse.roots(ids, past) == {}
        assert langfuse.roots([], last_hour()) == {}

    def test_the_same_trace_asked_for_twice_is_read_once(self, client: Make, traffic: Traffic) -> None:
        traffic.add(1)
        langfuse = client()
        (ref,) = found(langfuse)
        assert list(langfuse.fetch([ref, ref])) == [ref.id]
        assert langfuse.fetch([]) == {}

    def test_nothing_is_read_ahead(self, sandbox: Sandbox, client: Make, traffic: Traffic) -> None:
        traffic.add(1500)
        pages = client().finished_roots(last_hour(), longest=LONGEST)
        assert len(next(pages)) == 1000
        assert sandbox.langfuse.counts()["requests"][OBSERVATIONS] == {"200": 1}
        assert [len(page) for page in pages] == [500]

    def test_a_trace_has_an_address_for_people(self, sandbox: Sandbox, client: Make) -> None:
        assert client().trace_url("t") == f"{sandbox.langfuse_url}/project/sandbox-project/traces/t"
        assert client().trace_url("../../x?y#z").endswith("/traces/..%2F..%2Fx%3Fy%23z")


class TestWriting:
    def test_a_megabyte_of_reasons_arrives_shortened(self, sandbox: Sandbox, client: Make) -> None:
        scores = [score(n, comment='"Why?"\n' * 200_000) for n in range(2)] + [score(2, comment="short")]
        assert client().write(scores) == [None] * 3
        stored = {one["traceId"]: one["comment"] for one in sandbox.langfuse.all_scores()}
        assert stored[trace_id(2)] == "short"
        for number in range(2):
            assert stored[trace_id(number)].endswith(" [... shortened: Langfuse takes scores of at most 1 MB]")

    def test_hundreds_go_out_by_the_hundred(self, sandbox: Sandbox, client: Make) -> None:
        assert client().write([score(n) for n in range(250)]) == [None] * 250
        assert sandbox.langfuse.counts()["requests"][SCORES] == {"202": 3}
        assert sandbox.langfuse.counts()["duplicates"] == 0

    def test_nothing_is_nothing(self, sandbox: Sandbox, client: Make) -> None:
        assert client().write([]) == []
        assert SCORES not in sandbox.langfuse.counts()["requests"]

    @pytest.mark.parametrize("version", ["4.60.0", "4.20.0"])
    def test_an_answer_that_was_lost_doubles_nothing(self, sandbox: Sandbox, client: Make, version: str) -> None:
        sandbox.langfuse.behaviour.version = version
        langfuse = client(attempts=12)
        langfuse.capabilities()
        sandbox.langfuse.faults.change({"lost_answers": 0.4, "seed": 5})
        assert langfuse.write([score(n) for n in range(12)]) == [None] * 12
        stored = Counter(one["traceId"] for one in sandbox.langfuse.all_scores())
        assert stored == Counter(trace_id(n) for n in range(12))

    def test_an_outage_is_told_for_every_score_of_its_request(self, sandbox: Sandbox, client: Make) -> None:
        langfuse = client(attempts=1)
        langfuse.capabilities()
        sandbox.langfuse.faults.change({"errors": 1.0})
        answers = langfuse.write([score(n) for n in range(3)])
        assert [type(answer) for answer in answers] == [Unavailable] * 3

    def test_scores_are_read_once_they_are_visible(self, sandbox: Sandbox, client: Make) -> None:
        langfuse = client()
        window = Window(AT - timedelta(days=1), AT + timedelta(days=1))
        sandbox.langfuse.behaviour.scores_visible_after = 3600.0
        assert langfuse.write([score(0)]) == [None]
        assert [one for page in langfuse.scores(window) for one in page] == []
        sandbox.langfuse.behaviour.scores_visible_after = 0.0
        assert langfuse.write([score(1)]) == [None]
        assert [one.trace_id for page in langfuse.scores(window) for one in page] == [trace_id(1)]


def test_an_interrupted_fetch_leaves_the_others_their_answers(loop: LoopThread, client: Make, traffic: Traffic) -> None:
    traffic.add(2)
    langfuse = client(group_seconds=0.2)
    first, second = found(langfuse)

    async def both() -> list[Any]:
        leaving = asyncio.ensure_future(langfuse._reads.ask([first]))
        staying = asyncio.ensure_future(langfuse._reads.ask([second]))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert [trace.id for trace in loop.call(both())] == [second.id]
