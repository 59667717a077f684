"""Alerts by mail, over TLS, at a server that may refuse."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from evaluator.clock import SystemClock
from evaluator.errors import ConfigError, Refused, Unavailable
from evaluator.loop import LoopThread
from evaluator.messages.delivery import Letter
from evaluator.messages.mail import Mail, Server
from sandbox.mail import PASSWORD, MailStandIn
from sandbox.server import Sandbox
from tests.serving import Config, OpenService
from tests.tls import Certificate, certificate
from tests.wire.test_alert_over_the_wire import BAD, MONITORS, scores

LETTER = Letter(
    "id/fell", {"text": "it fell", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "it fell"}}]}
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def office(made: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailStandIn]:
    """A mail server with STARTTLS whose certificate we trust."""
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.file, made.key)
    stand_in = MailStandIn(context)
    with LoopThread("mail") as loop:
        loop.call(stand_in.start())
        yield stand_in
        loop.call(stand_in.stop())


def mail(office: MailStandIn, *, password: str = PASSWORD, encrypted: str | None = "STARTTLS") -> Mail:
    server = Server("localhost", office.port, "evaluator", password, encrypted)
    return Mail(server, "Evaluator <evaluator@example.com>", ["a@example.com", "b@example.com"], SystemClock())


def test_an_alert_arrives_as_text_and_page_with_its_chart(
    sandbox: Sandbox, service: OpenService, config: Config, office: MailStandIn
) -> None:
    config(monitors=MONITORS)
    sandbox.langfuse.load_scores(scores(bad="<b>&:4"))
    settings: dict[str, Any] = {
        "slack_webhook_url": "",
        "smtp_url": f"smtp://evaluator:p%40ss%2Fword@localhost:{office.port}",
        "alert_email_from": "Evaluator <evaluator@example.com>",
        "alert_email_to": "a@example.com, B <b@example.com>",
    }
    with service(**settings) as app:
        (alert,) = app.watch.look()
        assert app.state.outbox() == {}
        (to,) = app.destinations
        assert to.probe() == "localhost takes mail for a@example.com, b@example.com"
    (got,) = office.messages
    assert (office.users, got["X-To"]) == (["evaluator"] * 2, "a@example.com,b@example.com")
    assert got["Subject"].startswith("faithfulness fell 4.")
    text, page = got.get_body(("plain",)), got.get_body(("html",))
    assert text is not None
    assert page is not None
    assert "<b>&:4: new this week" in text.get_content()
    assert "&lt;b&gt;&amp;:4</code>: new this week" in page.get_content()
    assert "<b>&:4" not in page.get_content()
    assert 'src="cid:chart"' in page.get_content()
    (chart,) = [part for part in got.walk() if part.get_content_type() == "image/png"]
    assert (chart["Content-ID"], chart.get_content()[:4]) == ("<chart>", b"\x89PNG")
    assert alert.id not in got["Message-ID"]
    assert BAD not in str(got)


def test_what_follows_is_a_reply_and_a_repeat_has_the_same_name(office: MailStandIn) -> None:
    sender = mail(office)
    for letter in (LETTER, LETTER, Letter("id/resolved", LETTER.content, thread="id/fell")):
        sender.take(letter)
    first, again, reply = office.messages
    assert first["Message-ID"] == again["Message-ID"] == reply["In-Reply-To"] == reply["References"]
    assert reply["Message-ID"] != first["Message-ID"]


@pytest.mark.parametrize(
    ("refusals", "error", "said"),
    [
        ({"MAIL": "451 come again"}, Unavailable, r"asks to come again \(451\)"),
        ({"DATA": "554 no"}, Refused, r"refuses \(554\); check SMTP_URL"),
        ({"RCPT": "550 who"}, Refused, "takes none of ALERT_EMAIL_TO"),
        ({"RCPT": "450 later"}, Unavailable, "come again"),
        ({"AUTH": "535 planted-words"}, Refused, r"refuses \(535\)"),
    ],
)
def test_every_refusal_is_sorted_by_what_to_do(
    office: MailStandIn, refusals: dict[str, str], error: type[Exception], said: str
) -> None:
    office.refusals = refusals
    with pytest.raises(error, match=said) as raised:
        mail(office).take(LETTER)
    assert "planted" not in str(raised.value)
    assert office.messages == []


def test_a_password_never_travels_in_the_clear(office: MailStandIn) -> None:
    office.context = None
    with pytest.raises(Refused, match="STARTTLS"):
        mail(office).take(LETTER)
    assert office.users == []
    mail(office, encrypted=None).take(LETTER)  # said so with ?tls=no: a relay on the same machine
    assert len(office.messages) == 1


def test_a_stranger_s_certificate_is_refused(office: MailStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Refused, match="cannot be trusted"):
        mail(office).probe()
    assert office.users == []


def test_nobody_at_home_is_unavailable() -> None:
    closed = Server("localhost", 1, "", "", None)
    with pytest.raises(Unavailable, match="does not answer"):
        Mail(closed, "e@example.com", ["a@example.com"], SystemClock()).take(LETTER)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://u:p%40@mail.example.com", Server("mail.example.com", 465, "u", "p@", "TLS")),
        ("smtp://mail.example.com:2525", Server("mail.example.com", 2525, "", "", "STARTTLS")),
        ("smtp://localhost:25?tls=no", Server("localhost", 25, "", "", None)),
    ],
)
def test_addresses_of_servers(url: str, server: Server) -> None:
    assert Server.from_url(url) == server


def test_half_a_set_up_is_told_whole(service: OpenService) -> None:
    half = {"smtp_url": "https://mail.example.com/planted", "alert_email_to": "nobody"}
    with pytest.raises(ConfigError) as raised, service(**half):
        pass
    assert [problem.where for problem in raised.value.problems] == ["ALERT_EMAIL_FROM", "ALERT_EMAIL_TO", "SMTP_URL"]
    assert "planted" not in str(raised.value)


def test_tls_from_the_first_byte(made: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.file, made.key)
    stand_in = MailStandIn(context, at_once=True)
    with LoopThread("mail") as loop:
        loop.call(stand_in.start())
        mail(stand_in, encrypted="TLS").take(LETTER)
        loop.call(stand_in.stop())
    assert len(stand_in.messages) == 1
