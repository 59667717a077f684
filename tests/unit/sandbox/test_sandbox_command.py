from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sandbox.__main__ import arguments, fill
from sandbox.server import Sandbox


class Empty:
    def app(self) -> web.Application:
        return web.Application()

    def counts(self) -> dict[str, int]:
        return {}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    made: list[tuple[str, Any]] = []
    replay, traffic = types.ModuleType("sandbox.replay"), types.ModuleType("sandbox.traffic")
    vars(replay)["replay"] = lambda _sandbox, path: made.append(("replay", path))
    vars(traffic)["play"] = lambda _sandbox, weeks: made.append(("play", weeks))
    monkeypatch.setitem(sys.modules, "sandbox.replay", replay)
    monkeypatch.setitem(sys.modules, "sandbox.traffic", traffic)
    return made


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


def test_only_what_was_asked_for_is_loaded(calls: list[tuple[str, Any]]) -> None:
    sandbox = Sandbox(model=Empty(), slack=Empty())
    fill(sandbox, replay=None, weeks=0)
    assert calls == []
    fill(sandbox, replay=Path("runs.json"), weeks=13)
    assert calls == [("replay", Path("runs.json")), ("play", 13)]
