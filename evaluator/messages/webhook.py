"""Alerts for programs: JSON by POST to one address, signed as Standard Webhooks are, so that receivers find a library.

`webhook-id` is the message's name, the same however often it is sent: whoever receives one twice knows. The signature
is HMAC-SHA256 over id, time and body. What a receiver answers is not read, but for its status.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from evaluator.clock import Clock
from evaluator.errors import Refused, Unavailable
from evaluator.messages.delivery import Letter

_TIMEOUT_SECONDS: Final = 15
_PREFIX: Final = "whsec_"


class _NoRedirect(HTTPRedirectHandler):
    """A body that is meant for one receiver goes to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Webhook:
    """Posts alerts to one address."""

    def __init__(self, url: str, secret: str, clock: Clock) -> None:
        """Sign with `secret`: the bytes that `whsec_...` holds in base64, else the text itself; empty signs nothing."""
        self._url = url
        self._secret = _bytes_of(secret)
        self._clock = clock
        self._opener = build_opener(_NoRedirect)

    @property
    def name(self) -> str:
        """What people call it."""
        return "webhook"

    @property
    def takes_charts(self) -> bool:
        """A program draws its own: it has the weekly line."""
        return False

    def find(self, *_: object) -> None:
        """Nobody can ask a receiver what it got."""
        return

    def probe(self) -> str:
        """Return how it is set up; it can only be tried by posting, so it is not."""
        signed = "signed" if self._secret else "not signed: set ALERT_WEBHOOK_SECRET"
        return f"set, {signed}; not tried (that would post)"

    def take(self, letter: Letter) -> None:
        """Post a message.

        Raises:
            Unavailable: the receiver does not answer, or asks to come again.
            Refused: it takes no such message.
        """
        body = json.dumps(_document(letter), ensure_ascii=False).encode()
        request = Request(self._url, data=body, headers=self._headers(letter.key, body), method="POST")  # noqa: S310 - checked in settings
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS):
                pass
        except HTTPError as error:
            error.close()
            raise _refusal(error) from None
        except (URLError, HTTPException, OSError) as error:
            cause = getattr(error, "reason", error)
            raise Unavailable(f"the webhook does not answer ({type(cause).__name__})") from None

    def _headers(self, key: str, body: bytes) -> dict[str, str]:
        stamp = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "evaluator",
            "webhook-id": key,
            "webhook-timestamp": stamp,
        }
        if self._secret:
            headers["webhook-signature"] = f"v1,{signature(self._secret, key, stamp, body)}"
        return headers


def signature(secret: bytes, key: str, stamp: str, body: bytes) -> str:
    """Return what a receiver must compute too: HMAC-SHA256 over `id.time.body`, in base64."""
    mac = hmac.new(secret, f"{key}.{stamp}.".encode() + body, hashlib.sha256)
    return base64.b64encode(mac.digest()).decode()


def _document(letter: Letter) -> dict[str, Any]:
    """Return what is sent: the facts of an alert; of a message that is none, its words."""
    return {**(letter.facts or {"type": "notice"}), "message": letter.key, "text": letter.content["text"]}


def _refusal(error: HTTPError) -> Unavailable | Refused:
    said = f"the webhook answers {error.code}"
    if error.code in {408, 425, 429} or error.code >= 500:
        after = error.headers.get("Retry-After", "")
        return Unavailable(said, float(after) if after.isdigit() else None)
    return Refused(f"{said}; check ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET")


def _bytes_of(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except ValueError:
            return secret.encode()
    return secret.encode()
