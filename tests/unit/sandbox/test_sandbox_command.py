from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.__main__ import arguments, fill
from sandbox.server import Sandbox


def test_by_default_ports_are_free_ones_and_nothing_is_loaded() -> None:
    options = arguments([])
    assert (options.langfuse_port, options.model_port, options.slack_port) == (0, 0, 0)
    assert (options.replay, options.traffic, options.requests_per_minute) == (None, 0, None)
    assert options.langfuse_version == "4.60.0"
    assert options.host == "127.0.0.1"


def test_options_of_the_command() -> None:
    options = arguments(["--langfuse-port", "8100", "--replay", "runs.json", "--traffic", "13"])
    assert (options.langfuse_port, options.replay, options.traffic) == (8100, Path("runs.json"), 13)


def test_unknown_options_end_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--weather", "sunny"])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_only_what_was_asked_for_is_loaded(tmp_path: Path) -> None:
    recording = tmp_path / "runs.json"
    chat = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
    recording.write_text(json.dumps([{"task_id": 1, "traj": chat, "reward": 1.0}]))
    with Sandbox() as sandbox:
        fill(sandbox, replay=None, weeks=0)
        assert sandbox.langfuse.counts()["traces"] == 0
        fill(sandbox, replay=recording, weeks=0)
        assert sandbox.langfuse.counts()["traces"] == 1
        assert [score["name"] for score in sandbox.langfuse.all_scores()] == ["task-success"]
        fill(sandbox, replay=None, weeks=1)
        assert sandbox.langfuse.counts()["traces"] > 200
