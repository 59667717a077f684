"""`evaluator demo`, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short name: with that of a test the address of the demo's socket is too long."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_the_demo_runs_everything_and_tells_what_slack_received(temporary: Path) -> None:
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("LANGFUSE", "OPENAI", "SLACK", "EVALUATOR", "REDIS"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "evaluator.cli", "demo", "--weeks", "11", "--traces-per-week", "220"],
        env={**clean, "COLUMNS": "140", "TMPDIR": str(temporary)},
        cwd=temporary,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the judge is simulated" in done.stdout
    assert "faithfulness fell" in done.stdout
    assert "support-answer:4" in done.stdout
    assert "LANGFUSE_BASE_URL" in done.stdout
    summary = json.loads(done.stdout.splitlines()[-1])
    assert set(summary) >= {"traces", "sampled", "judge_calls", "scores", "duplicates", "lost", "alerts"}
    assert summary["traces"] > 2200
    assert (summary["duplicates"], summary["lost"]) == (0, 0)
    assert summary["judge_calls"] > 1000
    assert summary["alerts"] == 1
    assert summary["scores"] > 10 * summary["traces"]
    assert summary["judge_calls"] >= summary["sampled"] > 0.4 * summary["traces"]
    assert 0.4 < summary["kappa"] < 0.95  # ground truth itself errs, and the simulated judge knows only cues
    assert "is the judge right? faithfulness" in done.stdout
    written = re.search(r"found out later: (\S+\.html)", done.stdout)
    assert written is not None
    assert "faithfulness" in Path(written[1]).read_text()
    assert list(temporary.iterdir()) == [Path(written[1]).parent]  # and nothing else is left behind
