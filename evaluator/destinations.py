"""Where alerts go, as the environment says: Slack, a webhook, e-mail, any of them together."""

from __future__ import annotations

from evaluator.clock import Clock
from evaluator.delivery import Destination
from evaluator.settings import Settings
from evaluator.slack import Slack
from evaluator.webhook import Webhook


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
    return tuple(found)


def _slack(settings: Settings) -> Slack | None:
    webhook = settings.slack_webhook_url.get_secret_value()
    token = settings.slack_bot_token.get_secret_value()
    if not webhook and not token:
        return None
    return Slack(
        webhook_url=webhook or None,
        bot_token=token or None,
        channel=settings.slack_channel or None,
        api_url=settings.slack_api_url,
    )
