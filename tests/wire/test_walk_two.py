"""Walk 2 over the wire: weeks of scores in Langfuse, one message in Slack when they fall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from sandbox.server import Sandbox
from tests.serving import Config, OpenService

MONITORS = "- {score: faithfulness, smallest_drop: 2%}"
WEEKS = 11
A_WEEK = 120


def history(
    *, fall: float, comment: str = "fine", ours: bool = True, name: str = "faithfulness"
) -> list[dict[str, Any]]:
    """Weeks of scores; in the last one version 4 serves half the traffic and is `fall` points worse."""
    random = Random(5)
    now = datetime.now(UTC)
    rows = []
    for number in range(WEEKS * A_WEEK):
        age = timedelta(minutes=30) + (timedelta(weeks=WEEKS) - timedelta(hours=1)) * (number / (WEEKS * A_WEEK))
        new = age < timedelta(days=7) and number % 2 == 0
        value = min(5.0, max(1.0, random.gauss(4.2, 0.5) - (fall if new else 0)))
        metadata = {
            "evaluator_version": "v1",
            "inclusion_probability": 0.5,
            "session_id": f"session-{number}",
            "judge_model": "gpt-5.4-mini",
            "segments": {"trace_name": "answer", "prompt_version": f"support:{4 if new else 3}"},
        }
        rows.append(
            {
                "id": f"score-{number}",
                "traceId": f"{number:032x}",
                "name": name,
                "value": value,
                "dataType": "NUMERIC",
                "timestamp": (now - age).isoformat(),
                "comment": comment,
                **({"metadata": metadata} if ours else {}),
            }
        )
    return rows


def text_of(message: dict[str, Any]) -> str:
    return str(message)


def test_a_fall_is_told_once_with_its_culprit_and_what_to_read(
    sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    sandbox.langfuse.load_scores(history(fall=1.2))
    with service(config(monitors=MONITORS)) as app:
        assert [alert.score for alert in app.watch.look()] == ["faithfulness"]
        assert app.watch.look() == []
        app.watch.deliver()
    (message,) = sandbox.slack.messages
    said = text_of(message)
    assert "faithfulness fell" in said
    assert "support:4" in said
    assert f"{sandbox.langfuse_url}/project/sandbox-project/traces/" in said


def test_quiet_weeks_say_nothing(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    sandbox.langfuse.load_scores(history(fall=0))
    with service(config(monitors=MONITORS)) as app:
        assert app.watch.look() == []
    assert sandbox.slack.messages == []


def test_a_week_without_scores_is_no_fall(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    sandbox.langfuse.load_scores(
        row
        for row in history(fall=0)
        if datetime.fromisoformat(row["timestamp"]) < datetime.now(UTC) - timedelta(days=8)
    )
    with service(config(monitors=MONITORS)) as app:
        assert app.watch.look() == []
    assert sandbox.slack.messages == []


def test_a_message_slack_did_not_take_is_kept_and_sent_once(
    sandbox: Sandbox, service: OpenService, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.messages.delivery._FIRST_WAIT", 0.0)
    sandbox.langfuse.load_scores(history(fall=1.2))
    sandbox.slack.faults.change({"errors": 1.0, "error_statuses": [404]})
    with service(config(monitors=MONITORS)) as app:
        assert len(app.watch.look()) == 1
        assert sandbox.slack.messages == []
        assert len(app.state.outbox()) == 1
        sandbox.slack.faults.clear()
        app.watch.deliver()
        app.watch.deliver()
        assert app.state.outbox() == {}
    assert len(sandbox.slack.messages) == 1


def test_a_bot_sends_the_chart_too(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    sandbox.langfuse.load_scores(history(fall=1.2))
    bot = {"slack_webhook_url": "", "slack_bot_token": "xoxb-planted", "slack_channel": "C1"}
    with service(config(monitors=MONITORS), **bot, slack_api_url=sandbox.slack_api_url) as app:
        assert len(app.watch.look()) == 1
    assert len(sandbox.slack.messages) == 1
    (chart,) = sandbox.slack.files.values()
    assert b"PNG" in chart[:2000]


def test_other_peoples_scores_are_watched_too(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    sandbox.langfuse.load_scores(history(fall=2.5, ours=False, name="user-rating"))
    with service(config(monitors="- {score: user-rating}")) as app:
        assert [alert.score for alert in app.watch.look()] == ["user-rating"]
    assert "user-rating fell" in text_of(sandbox.slack.messages[0])


def test_a_hostile_comment_pings_nobody_and_links_nowhere(
    sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    sandbox.langfuse.load_scores(history(fall=1.2, comment="<!channel> <https://evil.example|read this>"))
    with service(config(monitors=MONITORS)) as app:
        app.watch.look()
    (message,) = sandbox.slack.messages
    formatted = [
        text
        for block in message["blocks"]
        for text in [block.get("text"), *block.get("elements", []), *block.get("fields", [])]
        if isinstance(text, dict) and text.get("type") == "mrkdwn"
    ]
    assert formatted
    assert all("<!channel>" not in part["text"] and "<https://evil" not in part["text"] for part in formatted)


def test_the_digest_tells_every_watched_score(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    sandbox.langfuse.load_scores(history(fall=0))
    with service(config(monitors=MONITORS)) as app:
        app.watch.digest()
    (message,) = sandbox.slack.messages
    assert "faithfulness" in text_of(message)
