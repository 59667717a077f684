"""Alerts by e-mail: SMTP with TLS, one message to all readers, as text and HTML with the chart in it.

The Message-ID follows from the message's name, so mail programs that get one twice may show it once, and what follows
an alert stands in its thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import structlog

from evaluator.clock import Clock
from evaluator.errors import Refused, Unavailable
from evaluator.messages.delivery import Letter
from evaluator.messages.rendering import as_html, as_text, title_of

_TIMEOUT_SECONDS: Final = 30
_PORTS: Final = {"smtps": 465, "smtp": 587}
_CHECK: Final = "check SMTP_URL"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server: `encrypted` from the first byte, by STARTTLS, or (None) not at all."""

    host: str
    port: int
    user: str
    password: str
    encrypted: str | None

    @classmethod
    def from_url(cls, url: str) -> Server:
        """Read `smtps://user:password@host:465`, `smtp://...:587` (STARTTLS), or the latter with `?tls=no`.

        Raises:
            ValueError: it is no such address.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("is no address such as smtps://user:password@smtp.example.com:465")
        tls = parse_qs(parts.query).get("tls", ["yes"])[-1]
        way = None if tls == "no" else "STARTTLS"
        return cls(
            parts.hostname,
            parts.port or _PORTS[parts.scheme],
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            "TLS" if parts.scheme == "smtps" else way,
        )


class Mail:
    """Sends alerts to a few readers."""

    def __init__(self, server: Server, sender: str, to: Sequence[str], clock: Clock) -> None:
        """Send as `sender`, an address with or without a name, to every one of `to`."""
        self._server = server
        self._sender = sender
        self._to = tuple(to)
        self._clock = clock

    @property
    def name(self) -> str:
        """What people call it."""
        return "mail"

    @property
    def takes_charts(self) -> bool:
        """A chart stands in the message."""
        return True

    def find(self, *_: object) -> None:
        """Nobody can look into the mailboxes of others."""
        return

    def probe(self) -> str:
        """Return who takes mail for whom, after logging in and sending nothing.

        Raises:
            Unavailable: the server does not answer.
            Refused: it does not let us in.
        """
        with _translated(), self._connected() as smtp:
            smtp.noop()
        return f"{self._server.host} takes mail for {', '.join(self._to)}"

    def take(self, letter: Letter) -> None:
        """Send a message.

        Raises:
            Unavailable: the server does not answer, or asks to come again.
            Refused: it takes no such message.
        """
        made = self._message(letter)
        with _translated(), self._connected() as smtp:
            refused = smtp.send_message(made, parseaddr(self._sender)[1], list(self._to))
        if refused:
            # The others have it: to send it again would tell them twice.
            codes = sorted({code for code, _ in refused.values()})
            _log.warning("some readers were refused by the mail server", readers=len(refused), codes=codes)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server, trusted = self._server, ssl.create_default_context()
        smtp = (
            smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_SECONDS, context=trusted)
            if server.encrypted == "TLS"
            else smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_SECONDS)
        )
        with smtp:
            if server.encrypted == "STARTTLS":
                # Raises when the server offers none: a password never travels in the clear.
                smtp.starttls(context=trusted)
            if server.user:
                smtp.login(server.user, server.password)
            yield smtp

    def _message(self, letter: Letter) -> EmailMessage:
        made = EmailMessage()
        made["Subject"] = title_of(letter.content)
        made["From"] = self._sender
        made["To"] = ", ".join(self._to)
        made["Date"] = format_datetime(self._clock.now())
        made["Message-ID"] = self._id(letter.key)
        made["Auto-Submitted"] = "auto-generated"
        if letter.thread is not None:
            made["In-Reply-To"] = made["References"] = self._id(letter.thread)
        made.set_content(as_text(letter.content))
        picture = "chart" if letter.chart is not None else None
        made.add_alternative(as_html(letter.content, f"cid:{picture}" if picture else None), subtype="html")
        if letter.chart is not None:
            page = made.get_payload()[1]  # type: ignore[index] # the HTML of two alternatives
            page.add_related(letter.chart, "image", "png", cid="<chart>", filename="weekly.png")  # type: ignore[union-attr]
        return made

    def _id(self, key: str) -> str:
        domain = parseaddr(self._sender)[1].rpartition("@")[2]
        return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Sort every way to fail by what the caller must do; a server's own words may quote addresses, so only its code."""
    try:
        yield
    except smtplib.SMTPNotSupportedError:
        raise Refused(f"the mail server offers no STARTTLS or no login; {_CHECK}") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise _by_code(min(codes), "takes none of ALERT_EMAIL_TO") from None
    except smtplib.SMTPResponseException as error:
        raise _by_code(error.smtp_code, "refuses") from None
    except ssl.SSLCertVerificationError:
        raise Refused(f"the mail server's certificate cannot be trusted; {_CHECK}, or SSL_CERT_FILE") from None
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(f"the mail server does not answer ({type(error).__name__})") from None


def _by_code(code: int, what: str) -> Unavailable | Refused:
    if 400 <= code < 500:
        return Unavailable(f"the mail server asks to come again ({code})")
    return Refused(f"the mail server {what} ({code}); {_CHECK}, ALERT_EMAIL_FROM and ALERT_EMAIL_TO")
