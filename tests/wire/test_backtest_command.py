"""`evaluator backtest` against the stand-in: weeks with a planted fall."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Run

MONITORS = "- {score: quality, scale: [1, 5]}\n- {score: nothing}\n"


def plant(sandbox: Sandbox, weeks: int, fallen: int) -> None:
    now, draw = datetime.now(UTC), random.Random(1)
    sandbox.langfuse.load_scores(
        {
            "id": f"{week}-{i}",
            "name": "quality",
            "value": min(5, max(1, round(draw.gauss(3.2 if week == fallen else 4.2, 0.7)))),
            "dataType": "NUMERIC",
            "traceId": f"{week:016x}{i:016x}",
            "timestamp": (now - timedelta(days=7 * week + 7 * (i + 0.5) / 60)).isoformat(),
            "metadata": {"segments": {"trace_name": "answer"}, "inclusion_probability": 0.1},
        }
        for week in range(weeks)
        for i in range(60)
    )


def test_the_planted_fall_is_told_and_nothing_else(run: Run, config: Config, sandbox: Sandbox) -> None:
    plant(sandbox, 26, fallen=4)
    folder = config(rules="[]", rubrics={}, monitors=MONITORS)
    done = run("backtest", "--weeks", "10", "--want", "3%", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    quality, nothing = json.loads(done.stdout)["monitors"]
    assert [each["event"] for each in quality["told"]] == ["fell", "resolved"]
    told = datetime.fromisoformat(quality["told"][0]["at"])
    assert timedelta(days=28) <= datetime.now(UTC) - told <= timedelta(days=35, hours=1)
    assert quality["sight"]["sampling_rate"] == 0.1
    assert nothing["sight"] is None
    shown = run("backtest", "quality", "--weeks", "10", folder=folder)
    assert "at this rate you will see a fall of" in shown.stdout
    assert "1 alerts in 10 weeks" not in shown.stdout


def test_a_monitor_that_is_none_is_told(run: Run, config: Config) -> None:
    done = run("backtest", "qualty", folder=config(monitors=MONITORS))
    assert done.returncode == 2
    assert "no monitor is named 'qualty'; did you mean 'quality'?" in done.stderr


def test_the_digest_is_printed_and_not_sent_and_check_says_what_a_look_could_see(
    run: Run, config: Config, service: OpenService, sandbox: Sandbox
) -> None:
    plant(sandbox, 13, fallen=0)
    folder = config(rules="[]", rubrics={}, monitors=MONITORS)
    assert "watched quality: not looked at yet" in run("check", folder=folder).stdout
    printed = run("digest", folder=folder)
    assert printed.returncode == 0, printed.stderr
    assert "Moved: quality \N{MINUS SIGN}" in printed.stdout
    assert "nothing no scores this week" in printed.stdout
    assert sandbox.slack.messages == []
    with service() as app:
        app.watch.look()
    checked = run("check", folder=folder).stdout
    assert "watched quality: at this rate you will see a fall of" in checked
    assert "watched nothing: nothing can be compared yet: " in checked
    assert "Low: quality" in run("digest", folder=folder).stdout


def test_a_report_is_written(run: Run, config: Config, sandbox: Sandbox, tmp_path: Path) -> None:
    plant(sandbox, 13, fallen=0)
    folder = config(rules="[]", rubrics={}, monitors=MONITORS)
    done = run("report", "--weeks", "8", "--to", "quality.html", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "wrote quality.html" in done.stdout
    page = (tmp_path / "quality.html").read_text()
    assert "480 scores" in page
    assert f'href="{sandbox.langfuse_url}/project/sandbox-project/traces/{0:016x}' in page
