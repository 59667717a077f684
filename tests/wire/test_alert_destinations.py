"""Alerts at several destinations at once, each on a real socket."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from evaluator.status.overview import look
from evaluator.status.report import show
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.serving import Config, OpenService
from tests.wire.test_alert_over_the_wire import BAD, MONITORS, scores


@pytest.fixture
def both(sandbox: Sandbox, config: Config) -> dict[str, Any]:
    """A fall in Langfuse; the settings of a Slack webhook and a generic one."""
    config(monitors=MONITORS)
    sandbox.langfuse.load_scores(scores())
    return {"alert_webhook_url": sandbox.receiver_url, "alert_webhook_secret": sandbox.receiver.secret}


def test_a_program_gets_every_number_signed(sandbox: Sandbox, service: OpenService, both: dict[str, Any]) -> None:
    with service(**both) as app:
        (alert,) = app.watch.look()
        assert app.state.outbox() == {}
    (message,) = sandbox.slack.messages
    (got,) = sandbox.receiver.received
    assert sandbox.receiver.ids == [alert.key]
    assert (got["id"], got["event"], got["score"]) == (alert.id, "fell", "faithfulness")
    assert got["headline"] == got["text"] == message["text"]
    assert alert.test is not None
    assert (got["test"]["drop"], got["test"]["p"]) == (alert.test.drop, alert.test.p)
    (segment,) = got["who"]["segments"]
    assert (got["who"]["dimension"], segment["value"], segment["new"]) == ("prompt_version", BAD, True)
    assert got["new"][0]["value"] == BAD
    assert got["worst"][0]["url"].startswith(f"{sandbox.langfuse_url}/project/")
    assert [week["scored"] for week in got["weeks"]][-1] == alert.test.n
    assert "whsec" not in json.dumps(got)


def test_a_receiver_that_is_down_gets_it_later_and_slack_hears_once(
    sandbox: Sandbox, service: OpenService, both: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.messages.delivery._FIRST_WAIT", 0.0)
    sandbox.receiver.faults.change({"errors": 1.0, "error_statuses": [503]})
    with service(**both) as app:
        (alert,) = app.watch.look()
        app.watch.deliver()
        assert app.alerts.deliveries() == {
            ("Slack", alert.key): "",
            ("webhook", alert.key): "the webhook answers 503",
        }
    sandbox.receiver.faults.clear()
    with service(**both) as app:
        app.watch.deliver()
        assert (app.state.outbox(), app.alerts.deliveries()) == ({}, {})
    assert sandbox.receiver.ids == [alert.key]
    assert len(sandbox.slack.messages) == 1


def test_what_is_not_delivered_is_shown_with_its_reason(
    sandbox: Sandbox, service: OpenService, both: dict[str, Any]
) -> None:
    with service(**{**both, "alert_webhook_secret": "another"}) as app:
        (alert,) = app.watch.look()
        seen = look(app, open_queue(app), app.clock.now())
    assert sandbox.receiver.received == []
    why = "the webhook answers 401; check ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET"
    assert seen.as_json()["undelivered_messages"] == [{"to": "webhook", "message": alert.key, "reason": why}]
    printed = Console(record=True, width=200, file=io.StringIO())
    show(seen, printed)
    assert f"webhook: {why} ({alert.key})" in printed.export_text()


def test_a_notice_goes_there_too(sandbox: Sandbox, service: OpenService, both: dict[str, Any]) -> None:
    with service(**both) as app:
        app.watch.digest()
    (got,) = sandbox.receiver.received
    assert got["type"] == "notice"
    assert got["text"].startswith("Quality this week")
