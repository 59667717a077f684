"""The embedded Valkey: started on demand, shared, persistent, and gone when its owner is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from evaluator.errors import ConfigError, Unavailable
from evaluator.state.connection import connect
from evaluator.state.embedded import embedded_redis
from evaluator.state.keeper import to_disk


def eventually(holds: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def answers(url: str) -> bool:
    with connect(url) as client, contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def test_data_survives_and_the_server_goes_with_its_owner(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as url, connect(url) as client:
        client.set("kept", "yes")
    assert not answers(url)
    with embedded_redis(tmp_path) as url, connect(url) as client:
        assert client.get("kept") == b"yes"


def test_a_second_command_uses_the_server_that_runs(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as first:
        with embedded_redis(tmp_path) as second:
            assert second == first
        assert answers(first)


def test_a_path_too_long_for_a_socket_still_works(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    with embedded_redis(deep) as url:
        assert answers(url)
        assert len(url) < 110


def test_a_path_for_which_no_socket_is_short_enough_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    deep.mkdir(parents=True)
    with pytest.raises(ConfigError, match="TMPDIR, are too long for a socket"), embedded_redis(deep / "data"):
        pass


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(Unavailable, match="does not start"), embedded_redis(tmp_path):
        pass


def test_a_server_that_dies_is_started_again_with_its_data(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as url, connect(url) as client:
        client.set("kept", "yes")
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
        assert eventually(lambda: answers(url))
        assert client.get("kept") == b"yes"
    assert not answers(url)


def test_nothing_that_was_taken_is_held_back_from_the_file_however_slow_the_disk_is(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as url, connect(url) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "no"}  # `everysec` waits for a disk that is busy
        for number in range(200):
            client.set("told", f"number {number}")
            assert f"number {number}" in _written(tmp_path)


def test_what_is_written_is_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: brought.append(os.fstat(number).st_ino))
    with embedded_redis(tmp_path) as url, connect(url) as client:
        client.set("kept", "yes")
        to_disk(tmp_path)
        (written,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    assert brought == [written.stat().st_ino]
    to_disk(tmp_path / "nothing")


def _written(folder: Path) -> str:
    return "".join(path.read_text("latin-1") for path in (folder / "appendonlydir").glob("*.incr.aof"))


def test_an_owner_killed_outright_leaves_no_server_behind(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from evaluator.state.embedded import embedded_redis\n"
        "with embedded_redis(pathlib.Path(sys.argv[1])) as url: print(url, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert answers(url)
        owner.send_signal(signal.SIGKILL)
    assert eventually(lambda: not answers(url))


def test_files_and_socket_are_for_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "data"
    with embedded_redis(folder) as url, connect(url) as client:
        client.set("kept", "yes")
        assert client.config_get("port") == {"port": "0"}
        found = [folder, *folder.rglob("*")]
        assert {path.name for path in found} >= {"data", "valkey.sock", "valkey.log", "appendonlydir"}
        assert [path for path in found if path.lstat().st_mode & 0o077] == []


def test_a_socket_in_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    with tempfile.TemporaryDirectory() as temporary:
        # The keeper is another process, and must come to the same place.
        monkeypatch.setenv("TMPDIR", temporary)
        monkeypatch.setattr(tempfile, "tempdir", None)
        with embedded_redis(deep) as url:
            (private,) = Path(temporary).iterdir()
            assert url == f"unix://{private}/valkey.sock"
            assert answers(url)
        private.chmod(0o777)
        with pytest.raises(ConfigError, match="EVALUATOR_DATA: cannot be used"), embedded_redis(deep):
            pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="EVALUATOR_DATA: cannot be used: Not a directory"):  # noqa: SIM117
        with embedded_redis(tmp_path / "file" / "data"):
            pass
