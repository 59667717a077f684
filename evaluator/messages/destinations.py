"""Where alerts go, as the environment says: Slack, a webhook, e-mail, any of them together."""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import TYPE_CHECKING, Final

from evaluator.clock import Clock
from evaluator.errors import ConfigError, Problem
from evaluator.messages.delivery import Destination
from evaluator.messages.mail import Mail, Server
from evaluator.messages.webhook import Webhook
from evaluator.settings import Settings

if TYPE_CHECKING:
    from evaluator.messages.slack import Slack

_ADDRESS: Final = re.compile(r"[^@\s<>,]+@[^@\s<>,]+")


def destinations(settings: Settings, clock: Clock) -> tuple[Destination, ...]:
    """Return every destination that is set up.

    Raises:
        ConfigError: one is set up by half, or its address is none.
    """
    found: list[Destination] = []
    if (slack := _slack(settings)) is not None:
        found.append(slack)
    if url := settings.alert_webhook_url.get_secret_value():
        found.append(Webhook(url, settings.alert_webhook_secret.get_secret_value(), clock))
    if url := settings.smtp_url.get_secret_value():
        found.append(_mail(url, settings, clock))
    return tuple(found)


def _mail(url: str, settings: Settings, clock: Clock) -> Mail:
    readers = [parseaddr(each)[1] for each in settings.alert_email_to.split(",") if each.strip()]
    problems = []
    if not _ADDRESS.fullmatch(parseaddr(settings.alert_email_from)[1]):
        problems.append(Problem("ALERT_EMAIL_FROM", "is no address such as evaluator@example.com; SMTP_URL needs it"))
    if not readers or not all(map(_ADDRESS.fullmatch, readers)):
        problems.append(Problem("ALERT_EMAIL_TO", "is no list of addresses such as a@example.com, b@example.com"))
    try:
        server = Server.from_url(url)
    except ValueError:
        problems.append(Problem("SMTP_URL", "is no address such as smtps://user:password@smtp.example.com:465"))
    if problems:
        raise ConfigError(problems)
    return Mail(server, settings.alert_email_from, readers, clock)


def _slack(settings: Settings) -> Slack | None:
    webhook = settings.slack_webhook_url.get_secret_value()
    token = settings.slack_bot_token.get_secret_value()
    if not webhook and not token:
        return None
    from evaluator.messages.slack import Slack  # noqa: PLC0415 - its SDK, where somebody uses it

    return Slack(
        webhook_url=webhook or None,
        bot_token=token or None,
        channel=settings.slack_channel or None,
        api_url=settings.slack_api_url,
    )
