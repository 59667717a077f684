"""What people are told of a fall, and how often: from scores in Langfuse to the message in Slack, on real sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from evaluator.errors import EvaluatorError
from sandbox.server import Sandbox
from tests.serving import Config, OpenService

WEEKS, A_WEEK = 10, 120
MONITORS = "- {score: faithfulness, smallest_drop: 2%}"
BAD = "support:4"


def scores(*, fall: float = 1.4, bad: str = BAD, comment: str = "because", **fields: Any) -> Iterator[dict[str, Any]]:
    """Ten weeks of scores; in the last seven days every other one is of version 4 and `fall` points lower."""
    random = Random(11)
    now = datetime.now(UTC)
    for number in range(WEEKS * A_WEEK):
        age = timedelta(minutes=30) + timedelta(weeks=WEEKS) * (number / (WEEKS * A_WEEK + 12))
        new = age < timedelta(days=7) and number % 2 == 0
        yield {
            "id": f"score-{number}",
            "traceId": trace(number),
            "name": "faithfulness",
            "value": min(5.0, max(1.0, random.gauss(4.2, 0.5) - (fall if new else 0))),
            "dataType": "NUMERIC",
            "timestamp": (now - age).isoformat(),
            "comment": f"{comment} {number}",
            "metadata": {
                "evaluator_version": "v1",
                "inclusion_probability": 0.5,
                "session_id": f"session-{number}",
                "judge_model": "gpt-5.4-mini",
                "segments": {"trace_name": "answer", "prompt_version": bad if new else "support:3"},
            },
            **fields,
        }


def trace(number: int) -> str:
    return f"{number:032x}"


def age(row: dict[str, Any]) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(row["timestamp"])


def formatted(message: dict[str, Any]) -> list[str]:
    """Return every text of a message that Slack formats, `text` included."""
    parts = [message["text"]]
    for block in message["blocks"]:
        texts = [block.get("text"), *block.get("elements", []), *block.get("fields", [])]
        parts += [text["text"] for text in texts if isinstance(text, dict) and text.get("type") == "mrkdwn"]
    return parts


def links(message: dict[str, Any]) -> list[str]:
    return [url for part in formatted(message) for url in re.findall(r"<([^|>]+)\|", part)]


@pytest.fixture
def folder(config: Config) -> None:
    config(monitors=MONITORS)


@pytest.mark.usefixtures("folder")
def test_the_message_tells_the_fall_who_did_it_and_what_to_read(sandbox: Sandbox, service: OpenService) -> None:
    rows = list(scores())
    sandbox.langfuse.load_scores(rows)
    with service() as app:
        assert len(app.watch.look()) == 1
        assert app.watch.look() == []
        assert app.state.outbox() == {}
    (message,) = sandbox.slack.messages
    header = message["blocks"][0]["text"]
    assert header["type"] == "plain_text"
    assert re.fullmatch(r"faithfulness fell 4\.\d\d → 3\.\d\d \(\N{MINUS SIGN}1\d %\)", header["text"])
    # What a notification shows says the same, with the sample it rests on.
    week = sum(age(row) < timedelta(days=7) for row in rows)
    assert header["text"].split(" (")[0] in message["text"]
    assert f"{week} of about {2 * week} scored this week against" in message["text"]
    said = "\n".join(formatted(message))
    assert "*Who did it:* prompt version" in said
    assert f"`{BAD}`: new this week" in said
    culprits = {trace(int(row["id"].removeprefix("score-"))): row for row in rows if BAD in str(row["metadata"])}
    base = f"{sandbox.langfuse_url}/project/sandbox-project/traces/"
    read = [url.removeprefix(base) for url in links(message)]
    assert len(read) >= 3
    assert set(read) <= set(culprits)
    lowest = sorted(row["value"] for row in culprits.values())[: len(read)]
    assert sorted(culprits[each]["value"] for each in read) == lowest
    assert all(culprits[each]["comment"] in json.dumps(message["blocks"]) for each in read)


@pytest.mark.usefixtures("folder")
def test_two_schedulers_that_look_at_once_tell_once(sandbox: Sandbox, service: OpenService) -> None:
    sandbox.langfuse.load_scores(scores())
    with service() as first, service() as second, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda app: app.watch.look(), (first, second)))
        assert sum(map(len, found)) == 1
        assert first.state.outbox() == {}
    # Both may find the one message in the outbox; the other's delivery is at most a repeat, never another alert.
    assert len({message["text"] for message in sandbox.slack.messages}) == 1


@pytest.mark.usefixtures("folder")
def test_another_process_delivers_what_this_one_could_not(sandbox: Sandbox, service: OpenService) -> None:
    sandbox.langfuse.load_scores(scores())
    sandbox.slack.faults.change({"errors": 1.0, "error_statuses": [403]})
    with service() as app:
        assert len(app.watch.look()) == 1
        assert len(app.state.outbox()) == 1
    assert sandbox.slack.messages == []
    sandbox.slack.faults.clear()
    with service() as app:
        app.watch.deliver()
        app.watch.deliver()
        assert app.watch.look() == []
        assert app.state.outbox() == {}
    assert len(sandbox.slack.messages) == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("fault", "left"), [({"burst": 1, "error_statuses": [503]}, 0), ({"resets": 1.0}, 1)], ids=["once", "for good"]
)
def test_slack_that_is_away_for_a_while_gets_the_message_later(
    sandbox: Sandbox, service: OpenService, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], left: int
) -> None:
    monkeypatch.setattr("evaluator.messages.slack._wait", lambda state: 0.0)
    monkeypatch.setattr("evaluator.messages.delivery._FIRST_WAIT", 0.0)
    sandbox.langfuse.load_scores(scores())
    sandbox.slack.faults.change(fault)
    with service() as app:
        assert len(app.watch.look()) == 1
        # One refusal is got over at once, a Slack that stays away is not.
        assert len(app.state.outbox()) == left
        sandbox.slack.faults.clear()
        app.watch.deliver()
        assert app.state.outbox() == {}
    assert len(sandbox.slack.messages) == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("chart_fails", [False, True])
def test_a_bot_posts_once_and_a_chart_that_fails_repeats_nothing(
    sandbox: Sandbox, service: OpenService, monkeypatch: pytest.MonkeyPatch, *, chart_fails: bool
) -> None:
    monkeypatch.setattr("evaluator.messages.slack._wait", lambda state: 0.0)
    sandbox.langfuse.load_scores(scores())
    if chart_fails:
        sandbox.slack.faults.change({"errors": 1.0, "error_statuses": [500], "paths": "files|upload"})
    bot = {"slack_webhook_url": "", "slack_bot_token": "xoxb-planted", "slack_channel": "C0123"}
    with service(**bot, slack_api_url=sandbox.slack_api_url) as app:
        app.watch.look()
        app.watch.look()
        assert app.state.outbox() == {}
    (message,) = sandbox.slack.messages
    assert message["channel"] == "C0123"
    assert "xoxb-planted" not in json.dumps(message)
    assert [content[:4] for content in map(_png, sandbox.slack.files.values())] == [b"\x89PNG"] * (not chart_fails)


def test_feedback_of_people_is_watched_and_its_traces_tell_who_did_it(
    sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    config(monitors="- {score: user-feedback, smallest_drop: 2%}")
    random = Random(3)
    rows, roots = [], []
    for number, row in enumerate(scores()):
        prompt = row["metadata"]["segments"]["prompt_version"]
        up = random.random() < (0.3 if prompt == BAD else 0.9)
        # Without metadata, minutes to days after the answer.
        rows.append({**row, "name": "user-feedback", "value": float(up), "dataType": "BOOLEAN", "metadata": {}})
        start = datetime.fromisoformat(row["timestamp"]) - timedelta(hours=random.choice((0.2, 3, 40)))
        roots.append(
            {
                "id": f"root-{number}",
                "traceId": row["traceId"],
                "traceName": "answer",
                "type": "GENERATION",
                "name": "answer",
                "startTime": start.isoformat(),
                "endTime": (start + timedelta(seconds=2)).isoformat(),
                "environment": "production",
                "promptName": "support",
                "promptVersion": int(prompt[-1]),
            }
        )
    sandbox.langfuse.load_observations(roots)
    sandbox.langfuse.load_scores(rows)
    with service() as app:
        (alert,) = app.watch.look()
    assert (alert.score, alert.binary) == ("user-feedback", True)
    (message,) = sandbox.slack.messages
    assert re.search(r"user-feedback fell \d\d\.\d % → \d\d\.\d %", message["text"])
    assert f"`{BAD}`" in "\n".join(formatted(message))


@pytest.mark.usefixtures("folder")
def test_days_without_scores_are_not_days_of_zero(sandbox: Sandbox, service: OpenService) -> None:
    steady = list(scores(fall=0))
    # This week has one day of scores, one earlier week has none at all.
    kept = [row for row in steady if not timedelta(days=1) < age(row) < timedelta(days=7)]
    kept = [row for row in kept if not timedelta(days=28) < age(row) < timedelta(days=35)]
    assert len(kept) < len(steady) - 200
    sandbox.langfuse.load_scores(kept)
    with service() as app:
        assert app.watch.look() == []
    assert sandbox.slack.messages == []


@pytest.mark.usefixtures("folder")
def test_no_scores_at_all_page_nobody(sandbox: Sandbox, service: OpenService) -> None:
    with service() as app:
        assert app.watch.look() == []
        app.watch.digest()
    (message,) = sandbox.slack.messages
    assert "no scores this week" in "\n".join(formatted(message))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("fall", [0.0, -0.5])
def test_weeks_that_are_steady_or_better_send_nothing(sandbox: Sandbox, service: OpenService, fall: float) -> None:
    sandbox.langfuse.load_scores(scores(fall=fall))
    with service() as app:
        assert app.watch.look() == []
    assert sandbox.slack.messages == []


@pytest.mark.usefixtures("folder")
def test_strangers_can_neither_ping_nor_link(sandbox: Sandbox, service: OpenService) -> None:
    hostile = "<!channel> <@U012> <https://evil.example|read this> `*bold*` @here\n\u202e"
    sandbox.langfuse.load_scores(scores(comment=hostile, bad=f"{hostile}:4"))
    with service() as app:
        assert len(app.watch.look()) == 1
    (message,) = sandbox.slack.messages
    parts = formatted(message)
    assert "*Who did it:* prompt version" in "\n".join(parts)
    assert "&lt;!channel&gt;" in "\n".join(parts)
    for part in parts:
        assert not re.search(r"<[!@#]", part)
        assert "\u202e" not in part
        # In the sentence of the notification there is no name; elsewhere one stands within a single pair of backticks.
        assert "@here" not in re.sub(r"`[^`]*`", "", part)
    assert all(url.startswith(f"{sandbox.langfuse_url}/project/") for url in links(message))
    assert message["unfurl_links"] is False


@pytest.mark.usefixtures("folder")
def test_a_langfuse_that_is_down_pages_nobody_and_the_next_look_tells(sandbox: Sandbox, service: OpenService) -> None:
    sandbox.langfuse.load_scores(scores())
    with service() as app:
        app.langfuse.capabilities()
        sandbox.langfuse.faults.change({"errors": 1.0, "error_statuses": [400]})
        with pytest.raises(EvaluatorError, match="Langfuse"):
            app.watch.look()
        assert sandbox.slack.messages == []
        sandbox.langfuse.faults.clear()
        assert len(app.watch.look()) == 1
    assert len(sandbox.slack.messages) == 1


def _png(upload: bytes) -> bytes:
    """Return a file out of the form it may have been uploaded in."""
    return upload[max(upload.find(b"\x89PNG"), 0) :]
