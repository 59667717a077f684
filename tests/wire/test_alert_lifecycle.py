"""The life of an alert on real sockets: its thread in Slack, a Redis that is emptied, people who snooze."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis
from typer.testing import CliRunner, Result

from evaluator.cli import cli
from evaluator.definitions import load
from sandbox.server import Sandbox
from tests.serving import Config, OpenService
from tests.wire.test_alert_over_the_wire import MONITORS, scores


class Ask(Protocol):
    """`evaluator alert WORDS`, and what it prints."""

    def __call__(self, *words: str) -> Result: ...


BOT = {"slack_webhook_url": "", "slack_bot_token": "xoxb-planted", "slack_channel": "C0123"}


@pytest.fixture
def fallen(sandbox: Sandbox, config: Config) -> dict[str, Any]:
    """A fall in Langfuse; the settings of a bot that tells it."""
    config(monitors=MONITORS)
    sandbox.langfuse.load_scores(scores())
    return {**BOT, "slack_api_url": sandbox.slack_api_url}


def test_an_emptied_redis_repeats_nothing_and_what_follows_goes_into_the_thread(
    sandbox: Sandbox, service: OpenService, fallen: dict[str, Any], valkey: redis.Redis
) -> None:
    with service(**fallen) as app:
        (alert,) = app.watch.look()
    valkey.flushall()
    with service(**fallen) as app:
        assert app.watch.look() == []
        state = app.alerts.states(["faithfulness"])["faithfulness"]
        assert state is not None
        assert (state["id"], app.alerts.place(alert.id)) == (alert.id, sandbox.slack.messages[0]["ts"])
        with app.state.monitor("faithfulness") as record:
            record.outbox[f"{alert.id}/resolved"] = {
                "message": {"text": "it is over"},
                "follows": {"alert": alert.id, "message": alert.key, "since": alert.at.isoformat()},
            }
        app.watch.deliver()
    first, reply = sandbox.slack.messages
    assert reply["thread_ts"] == first["ts"]
    assert "thread_ts" not in first
    assert len(sandbox.slack.files) == 1


def test_a_message_whose_confirmation_was_lost_is_found_and_not_sent_again(
    sandbox: Sandbox, service: OpenService, fallen: dict[str, Any], valkey: redis.Redis
) -> None:
    with service(**fallen) as app:
        (alert,) = app.watch.look()
        (message,) = sandbox.slack.messages
        # As after a crash between Slack's answer and the note that it came.
        content = {key: message[key] for key in ("text", "blocks")}
        kept = {"message": content, "opens": alert.id, "at": alert.at.isoformat()}
        with app.state.monitor("faithfulness") as record:
            record.outbox[alert.key] = kept
        app.alerts.delivered("Slack", alert.key, "on its way")
    with service(**fallen) as app:
        app.watch.deliver()
        assert app.state.outbox() == {}
        assert app.alerts.deliveries() == {}
    assert len(sandbox.slack.messages) == 1
    assert valkey.hlen("evaluator:deliveries") == 0


def test_a_reply_whose_confirmation_was_lost_is_found_in_its_thread(
    sandbox: Sandbox, service: OpenService, fallen: dict[str, Any]
) -> None:
    with service(**fallen) as app:
        (alert,) = app.watch.look()
        follows = {"alert": alert.id, "message": alert.key, "since": alert.at.isoformat()}
        reply = {"message": {"text": "it is over"}, "follows": follows, "at": alert.at.isoformat()}
        for _ in range(2):
            with app.state.monitor("faithfulness") as record:
                record.outbox[f"{alert.id}/resolved"] = reply
            app.watch.deliver()
            app.alerts.delivered("Slack", f"{alert.id}/resolved", "on its way")
    assert [message["text"] for message in sandbox.slack.messages[1:]] == ["it is over"]


def test_a_bot_that_may_not_read_its_channel_still_tells(
    sandbox: Sandbox, service: OpenService, fallen: dict[str, Any], valkey: redis.Redis
) -> None:
    sandbox.slack.scopes.discard("channels:history")
    with service(**fallen) as app:
        app.watch.look()
    valkey.flushall()
    with service(**fallen) as app:
        assert len(app.watch.look()) == 1
    assert len(sandbox.slack.messages) == 2
    assert len({message["text"] for message in sandbox.slack.messages}) == 1


@pytest.fixture
def ask(environment: dict[str, str], config: Config, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run `evaluator alert ...` in this process, whose logs stay as they are."""
    monkeypatch.setattr("evaluator.commands.alert.configure_logs", lambda *_, **__: None)
    for name, value in {**environment, "EVALUATOR_CONFIG": str(config(monitors=MONITORS)), "COLUMNS": "160"}.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(cli, ["alert", *words])


def test_people_snooze_and_expect_on_the_command_line(ask: Ask) -> None:
    snoozed = ask("snooze", "faithfulness", "--for", "7d", "--why", "the new index")
    assert snoozed.exit_code == 0, snoozed.output
    assert "snooze: {until: " in snoozed.stdout
    (row,) = json.loads(ask("list", "--json").stdout)
    assert (row["monitor"], row["open"], row["snoozed_why"]) == ("faithfulness", False, "the new index")
    assert "(the new index)" in ask("list").stdout
    assert ask("expect", "faithfulness", "--at", "2026-01-05").exit_code == 0
    assert json.loads(ask("list", "--json").stdout)[0]["expected"] == ["2026-01-05T00:00:00+00:00"]
    assert "2 taken back" in ask("forget", "faithfulness").stdout
    assert json.loads(ask("list", "--json").stdout)[0]["snoozed"] is None
    assert "did you mean 'faithfulness'" in str(ask("snooze", "faithfulnes").exception)
    assert ask("expect", "faithfulness", "--at", "next week").exit_code == 2


def test_the_lines_that_are_printed_for_git_can_be_read(ask: Ask, config: Config) -> None:
    why = 'it\'s "shorter": {a, b} # now'
    lines = [ask(command, "faithfulness", "--why", why).stdout.splitlines()[-1] for command in ("snooze", "expect")]
    (spec,) = load(config(monitors="\n".join(["- score: faithfulness", *lines]))).monitors
    assert spec.snooze is not None
    assert spec.snooze.why == spec.expected[0].why == why
    assert timedelta(days=6) < spec.snooze.until - spec.expected[0].at <= timedelta(days=7, minutes=1)


def test_without_a_redis_what_is_said_waits_for_the_first_start(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("EVALUATOR_DATA", str(tmp_path / "data"))
    assert "not looked at yet" in ask("list").stdout
    assert not (tmp_path / "data").exists()
    assert ask("snooze", "faithfulness").exit_code == 0
    assert "snoozed until" in ask("list").stdout


def test_an_open_alert_is_listed(sandbox: Sandbox, service: OpenService, ask: Ask) -> None:
    sandbox.langfuse.load_scores(scores())
    assert "not looked at yet" in ask("list").stdout
    with service() as app:
        (alert,) = app.watch.look()
    shown = ask("list").stdout
    assert "low since the week to" in shown
    assert alert.id[:8] in shown
