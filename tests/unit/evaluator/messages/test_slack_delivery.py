"""Delivery over a real socket, against a server that answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from evaluator.errors import ConfigError, Refused, Unavailable
from evaluator.messages.slack import Slack
from tests.weeks import NOW

MESSAGE = {"text": "hello", "blocks": [{"type": "divider"}], "unfurl_links": False, "unfurl_media": False}


class HandClock:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> Any:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Far(ThreadingHTTPServer):
    """The other side: answers of a path in turn, the last one for ever; None hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[tuple[int, dict[str, str], Any] | None]] = {}
        self.seen: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]


class _Handler(BaseHTTPRequestHandler):
    server: Far

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.path, body))
        answers = self.server.answers[self.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            return
        status, headers, content = answer
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, held in {"Content-Length": str(len(data)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, held)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def far() -> Iterator[Far]:
    with Far() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def webhook(far: Far, clock: HandClock) -> Slack:
    return Slack(webhook_url=f"{far.url}/hook", clock=clock)


def bot(far: Far, clock: HandClock) -> Slack:
    return Slack(bot_token="xoxb-1", channel="C1", api_url=f"{far.url}/api", clock=clock)


OK: tuple[int, dict[str, str], Any] = (200, {}, "ok")
POSTED: tuple[int, dict[str, str], Any] = (200, {}, {"ok": True, "channel": "C1", "ts": "17.1"})


def uploads(far: Far) -> None:
    far.answers["/api/chat.postMessage"] = [POSTED]
    ticket = {"ok": True, "upload_url": f"{far.url}/upload", "file_id": "F1"}
    far.answers["/api/files.getUploadURLExternal"] = [(200, {}, ticket)]
    far.answers["/upload"] = [(200, {}, "OK - 3")]
    far.answers["/api/files.completeUploadExternal"] = [(200, {}, {"ok": True, "files": [{"id": "F1"}]})]


def test_a_webhook_receives_the_message(far: Far, clock: HandClock) -> None:
    far.answers["/hook"] = [OK]
    slack = webhook(far, clock)
    assert not slack.takes_charts
    slack.post(MESSAGE, b"no room for it")
    assert json.loads(far.seen[0][1]) == MESSAGE
    assert "not tried" in slack.probe()
    assert len(far.seen) == 1


@pytest.mark.parametrize("first", [(429, {"Retry-After": "7"}, "slow down"), (500, {}, "oops"), None])
def test_a_busy_webhook_is_tried_again(far: Far, clock: HandClock, first: Any) -> None:
    far.answers["/hook"] = [first, OK]
    webhook(far, clock).post(MESSAGE)
    assert len(far.seen) == 2
    assert clock.slept == [7.0 if first and first[0] == 429 else 1.0]


def test_a_webhook_that_stays_away_is_unavailable(far: Far, clock: HandClock) -> None:
    far.answers["/hook"] = [(503, {}, "down")]
    with pytest.raises(Unavailable, match="503"):
        webhook(far, clock).post(MESSAGE)
    assert clock.slept == [1.0, 2.0]


def test_a_long_pause_is_left_to_the_outbox(far: Far, clock: HandClock) -> None:
    far.answers["/hook"] = [(429, {"Retry-After": "300"}, "slow down")]
    with pytest.raises(Unavailable) as caught:
        webhook(far, clock).post(MESSAGE)
    assert caught.value.retry_after == 300
    assert (clock.slept, len(far.seen)) == ([], 1)


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_webhook_that_refuses_is_not_asked_twice(far: Far, clock: HandClock, status: int) -> None:
    far.answers["/hook"] = [(status, {}, "no_service")]
    with pytest.raises(Refused, match="no_service"):
        webhook(far, clock).post(MESSAGE)
    assert len(far.seen) == 1


def test_nobody_at_home_is_unavailable_and_no_secret_is_told(clock: HandClock) -> None:
    slack = Slack(webhook_url="http://127.0.0.1:9/services/SECRET", clock=clock)
    with pytest.raises(Unavailable) as caught:
        slack.post(MESSAGE)
    assert "SECRET" not in str(caught.value)


def test_a_bot_posts_and_puts_the_chart_into_the_thread(far: Far, clock: HandClock) -> None:
    uploads(far)
    slack = bot(far, clock)
    assert slack.takes_charts
    slack.post(MESSAGE, b"png")
    assert far.paths() == [
        "/api/chat.postMessage",
        "/api/files.getUploadURLExternal",
        "/upload",
        "/api/files.completeUploadExternal",
    ]
    assert b"png" in far.seen[2][1]
    completed = parse_qs(far.seen[3][1].decode())
    assert (completed["channel_id"], completed["thread_ts"]) == (["C1"], ["17.1"])


def test_without_a_chart_nothing_is_uploaded(far: Far, clock: HandClock) -> None:
    uploads(far)
    bot(far, clock).post(MESSAGE)
    assert far.paths() == ["/api/chat.postMessage"]


def test_a_chart_that_fails_does_not_repeat_the_message(far: Far, clock: HandClock) -> None:
    uploads(far)
    far.answers["/upload"] = [(500, {}, "no")]
    bot(far, clock).post(MESSAGE, b"png")
    assert far.paths().count("/api/chat.postMessage") == 1
    far.answers["/api/files.getUploadURLExternal"] = [(200, {}, {"ok": False, "error": "missing_scope"})]
    bot(far, clock).post(MESSAGE, b"png")
    assert far.paths().count("/api/chat.postMessage") == 2


@pytest.mark.parametrize(
    "first",
    [
        (429, {"Retry-After": "3"}, {"ok": False, "error": "ratelimited"}),
        (200, {}, {"ok": False, "error": "fatal_error"}),
    ],
)
def test_a_busy_api_is_tried_again(far: Far, clock: HandClock, first: Any) -> None:
    far.answers["/api/chat.postMessage"] = [first, POSTED]
    bot(far, clock).post(MESSAGE)
    assert clock.slept == [3.0 if first[0] == 429 else 1.0]


@pytest.mark.parametrize("code", ["channel_not_found", "invalid_auth", "invalid_blocks", "not_in_channel"])
def test_an_api_that_refuses_is_not_asked_twice(far: Far, clock: HandClock, code: str) -> None:
    far.answers["/api/chat.postMessage"] = [(200, {}, {"ok": False, "error": code})]
    with pytest.raises(Refused, match=code):
        bot(far, clock).post(MESSAGE)
    assert len(far.seen) == 1


def test_an_answer_that_is_no_json_is_an_error_of_ours_too(far: Far, clock: HandClock) -> None:
    far.answers["/api/chat.postMessage"] = [(502, {"Content-Type": "text/html"}, "<html>bad gateway</html>")]
    with pytest.raises(Unavailable):
        bot(far, clock).post(MESSAGE)


def test_the_probe_says_who_we_are(far: Far, clock: HandClock) -> None:
    far.answers["/api/auth.test"] = [(200, {}, {"ok": True, "user": "evaluator", "team": "Acme"})]
    assert bot(far, clock).probe() == "bot evaluator in Acme, channel C1"
    far.answers["/api/auth.test"] = [(200, {}, {"ok": False, "error": "invalid_auth"})]
    with pytest.raises(Refused, match="invalid_auth"):
        bot(far, clock).probe()


def test_half_a_set_up_is_told() -> None:
    with pytest.raises(ConfigError, match="SLACK_CHANNEL"):
        Slack(bot_token="xoxb-1")
    with pytest.raises(ConfigError, match="SLACK_WEBHOOK_URL"):
        Slack()


@pytest.mark.parametrize(
    "address",
    [
        "hooks.slack.com/services/T0/B0/planted",
        "https://hooks.slack.com/services/T0/B0/pla nted",
        "https://hooks.slack.com/services/T0/B0/planted\n",
        "ftp://hooks.slack.com/planted",
        "https://[::1/planted",
        "https:///services/planted",
        "https://hooks.slack.com:planted/",
    ],
)
def test_an_address_that_is_none_is_told_without_being_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="SLACK_WEBHOOK_URL: is no address") as caught:
        Slack(webhook_url=address)
    assert "planted" not in str(caught.value)
    with pytest.raises(ConfigError, match="SLACK_API_URL: is no address") as caught:
        Slack(bot_token="xoxb-planted", channel="C0", api_url=address)
    assert "planted" not in str(caught.value)


def test_the_words_of_a_proxy_stay_out_of_errors_and_logs(
    far: Far, clock: HandClock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    page = "<html>cannot reach /services/T0/B0/planted</html>"
    slacks = (
        Slack(webhook_url=f"{far.url}/planted", clock=clock),
        Slack(bot_token="xoxb-planted", channel="C0", api_url=far.url, clock=clock),
        Slack(webhook_url="http://127.0.0.1:1/planted", clock=clock),
    )
    for status in (403, 502):
        far.answers["/planted"] = far.answers["/chat.postMessage"] = [(status, {"Content-Type": "text/html"}, page)]
        for slack in slacks:
            with pytest.raises((Refused, Unavailable)) as caught:
                slack.post(MESSAGE)
            assert "planted" not in str(caught.value)
            # A traceback shows nothing else.
            assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert "planted" not in caplog.text + "".join(capfd.readouterr())
