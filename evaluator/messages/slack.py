"""The only user of Slack's wire: delivery by incoming webhook, or by a bot that can attach a chart.

The SDK's own retries are off; a message is tried a few times here, and what still fails stays in the outbox
(watch.py) until it is through. A webhook's address is a secret: neither it nor what a proxy says of it gets into an
error, and the SDK, which logs both, is not heard.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit

import structlog
from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from evaluator.clock import Clock, SystemClock
from evaluator.errors import ConfigError, Problem, Refused, Unavailable
from evaluator.messages.blocks import Message
from evaluator.messages.delivery import Letter

_TIMEOUT_SECONDS: Final = 15
_ATTEMPTS: Final = 3
_PATIENCE_SECONDS: Final = 20.0
"""A pause longer than this is not waited for: the outbox comes back later."""

_PAGE: Final = 200
_MOST_PAGES: Final = 50
"""A message is looked for among the newest 10,000 of its time."""

_PASSING: Final = frozenset(
    {
        "fatal_error",
        "internal_error",
        "ratelimited",
        "rate_limited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
"""Error codes of the Web API that the same request may get past later."""

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
"""What Slack itself says: no_service, invalid_payload. All else is a proxy's page, which may quote the address."""

_log = structlog.get_logger(__name__)


class Slack:
    """Posts messages. Every method raises `Unavailable` or `Refused` when Slack does not take one."""

    def __init__(
        self,
        *,
        webhook_url: str | None = None,
        bot_token: str | None = None,
        channel: str | None = None,
        api_url: str = "https://slack.com/api/",
        clock: Clock | None = None,
    ) -> None:
        """Use a bot (`bot_token` and `channel`, an id) when there is one, else the webhook.

        Raises:
            ConfigError: there is neither, or the one there is is no address.
        """
        self._sleep = (clock or SystemClock()).sleep
        self._channel = channel or ""
        self._bot: WebClient | None = None
        self._webhook: WebhookClient | None = None
        if bot_token and channel:
            base = _address("SLACK_API_URL", api_url if api_url.endswith("/") else f"{api_url}/")
            self._bot = WebClient(
                bot_token, base_url=base, timeout=_TIMEOUT_SECONDS, retry_handlers=[], logger=_unheard()
            )
        elif webhook_url:
            address = _address("SLACK_WEBHOOK_URL", webhook_url)
            self._webhook = WebhookClient(address, timeout=_TIMEOUT_SECONDS, retry_handlers=[], logger=_unheard())
        else:
            raise ConfigError([Problem("SLACK_CHANNEL" if bot_token else "SLACK_WEBHOOK_URL", "is not set")])

    @property
    def takes_charts(self) -> bool:
        """Whether a chart can go with a message."""
        return self._bot is not None

    @property
    def name(self) -> str:
        """What people call it."""
        return "Slack"

    def take(self, letter: Letter) -> str | None:
        """Send a message, by a bot into the thread of the message it follows; return where it is (its `ts`).

        A bot looks first whether one that may have been sent is there already. A webhook knows no threads and cannot
        look.
        """
        if self._bot is None:
            self.post(letter.content)
            return None
        thread = letter.thread_place
        if thread is None and letter.thread is not None and letter.thread_since is not None:
            thread = self._found(letter.thread, letter.thread_since)
        if letter.since is not None and (there := self._found(letter.key, letter.since, thread)) is not None:
            return there
        return self.post(letter.content, letter.chart, key=letter.key, thread=thread)

    def post(
        self, content: Message, chart: bytes | None = None, *, key: str = "", thread: str | None = None
    ) -> str | None:
        """Send a message, then its chart into the message's thread; return its `ts`, None from a webhook.

        A chart that fails is logged and left out: sending the message again for it would tell people twice.
        """
        if self._webhook is not None:
            self._patiently(self._by_webhook, self._webhook, content)
            return None
        assert self._bot is not None  # noqa: S101 - one of the two exists since __init__
        sent = self._patiently(_by_bot, self._bot, _addressed(content, self._channel, key, thread))
        if chart is not None:
            try:
                place = {"channel": sent["channel"], "thread_ts": thread or sent["ts"]}
                self._patiently(_upload, self._bot, {"chart": chart, **place})
            except (Unavailable, Refused) as error:
                _log.warning("the alert is out, its chart is not", reason=str(error))
        return str(sent["ts"])

    def find(self, key: str, since: datetime) -> str | None:
        """Return the `ts` of a message of ours by its metadata; None when there is none, and always from a webhook.

        Raises:
            Unavailable: Slack does not answer.
            Refused: the bot may not read the channel; it needs channels:history, or groups:history.
        """
        return self._search(key, since, None)

    def _search(self, key: str, since: datetime, thread: str | None) -> str | None:
        if self._bot is None:
            return None
        wanted = {"channel": self._channel, "oldest": f"{since.timestamp():.6f}", "include_all_metadata": True}
        if thread is not None:
            wanted["ts"] = thread
        cursor = ""
        for _ in range(_MOST_PAGES):
            page = self._patiently(_messages, self._bot, {**wanted, "limit": _PAGE, "cursor": cursor})
            for each in page.get("messages") or []:
                if ((each.get("metadata") or {}).get("event_payload") or {}).get("key") == key:
                    return str(each["ts"])
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return None
        return None

    def _found(self, key: str, since: datetime, thread: str | None = None) -> str | None:
        """Return where a message is, None as well when the bot may not read the channel: then it is sent."""
        try:
            return self._search(key, since, thread)
        except Refused as error:
            _log.warning("cannot look whether a message was sent before", message=key, reason=str(error))
            return None

    def probe(self) -> str:
        """Return who we are to Slack; a webhook can only be tried by posting, so it is not."""
        if self._bot is None:
            return "incoming webhook, not tried (that would post)"
        answer = self._patiently(_whoami, self._bot, {})
        return f"bot {answer.get('user', '?')} in {answer.get('team', '?')}, channel {self._channel}"

    def _by_webhook(self, client: WebhookClient, content: Message) -> Mapping[str, Any]:
        answer = client.send_dict(content)
        if answer.status_code == 200:
            return {}
        said = f"Slack's webhook answers {answer.status_code}: {_code(answer.body)}"
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Unavailable(said, _retry_after(answer.headers))
        raise Refused(f"{said}; check SLACK_WEBHOOK_URL")

    def _patiently(self, send: Callable[[Any, Any], Mapping[str, Any]], client: Any, content: Any) -> Mapping[str, Any]:
        attempts = Retrying(
            retry=retry_if_exception_type(Unavailable),
            stop=lambda state: stop_after_attempt(_ATTEMPTS)(state) or _wait(state) > _PATIENCE_SECONDS,
            wait=_wait,
            sleep=self._sleep,
            reraise=True,
        )
        return attempts(_translated, send, client, content)


def _translated(send: Callable[[Any, Any], Mapping[str, Any]], client: Any, content: Any) -> Mapping[str, Any]:
    """Send, with every way to fail sorted by what the caller must do."""
    try:
        return send(client, content)
    except SlackApiError as error:
        raise _sorted(error) from None
    except SlackClientError:
        raise Unavailable("Slack's file server did not take the chart") from None
    except HTTPError as error:
        error.close()  # the SDK leaves a refused upload's connection open
        raise Unavailable(f"Slack's file server answers {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise Unavailable(f"Slack does not answer ({type(error).__name__})") from None


def _sorted(error: SlackApiError) -> Unavailable | Refused:
    answer = error.response
    code = _code(answer.get("error"))
    status = getattr(answer, "status_code", 200)
    if code in _PASSING or status == 429 or status >= 500:
        return Unavailable(f"Slack is busy: {code}", _retry_after(getattr(answer, "headers", {})))
    return Refused(
        f"Slack refuses: {code}; check SLACK_BOT_TOKEN, its scopes (chat:write, files:write, channels:history) "
        "and SLACK_CHANNEL"
    )


def _code(said: object) -> str:
    found = _CODE.fullmatch(str(said).strip())
    return found[0] if found else "no reason given"


def _address(variable: str, url: str) -> str:
    """Return `url`, which must be an address the SDK takes: it shows a wrong one whole."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[^!-~]", url) is not None:
        raise ConfigError([Problem(variable, "is no address that begins with https:// and has no blanks")])
    return url


def _unheard() -> logging.Logger:
    """Return a logger that says nothing: ours tell every failure, without addresses and tokens."""
    logger = logging.Logger("slack")  # noqa: LOG001 - outside the tree on purpose: nobody's handlers, no level to change
    logger.disabled = True
    return logger


def _addressed(content: Message, channel: str, key: str, thread: str | None) -> Message:
    """Return a message with where it goes; its metadata nobody sees, and by it the message is found again."""
    addressed = {**content, "channel": channel}
    if key:
        addressed["metadata"] = {"event_type": "evaluator_message", "event_payload": {"key": key}}
    if thread is not None:
        addressed["thread_ts"] = thread
    return addressed


def _by_bot(client: WebClient, content: Message) -> Mapping[str, Any]:
    answer = client.chat_postMessage(**content)
    return {"channel": answer["channel"], "ts": answer["ts"]}


def _messages(client: WebClient, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a page of the channel, or of the thread that `ts` names."""
    read = client.conversations_replies if "ts" in wanted else client.conversations_history
    data = read(**wanted).data
    return data if isinstance(data, dict) else {}


def _upload(client: WebClient, content: Mapping[str, Any]) -> Mapping[str, Any]:
    client.files_upload_v2(
        filename="weekly.png",
        title="Weekly means with 95 % intervals",
        alt_txt="Line chart of weekly means; the last week is marked",
        content=content["chart"],
        channel=content["channel"],
        thread_ts=content["thread_ts"],
    )
    return {}


def _whoami(client: WebClient, _: object) -> Mapping[str, Any]:
    data = client.auth_test().data
    return data if isinstance(data, dict) else {}


def _wait(state: RetryCallState) -> float:
    """Return seconds until the next attempt: what Slack asks for, else 1, 2, 4."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, Unavailable) else None
    return asked if asked is not None else float(2 ** (state.attempt_number - 1))


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    for name, held in headers.items():
        if name.lower() == "retry-after":
            first = held[0] if isinstance(held, list) else held
            return float(first) if str(first).isdigit() else None
    return None
