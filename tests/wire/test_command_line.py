"""The command line as a person or cron runs it: real processes, exit codes, what is said and where."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from evaluator.cli import _ORDER
from evaluator.demo import Outside, said_of
from sandbox.server import Sandbox
from tests.serving import Config, Run, Traffic

COMMANDS = (
    "demo",
    "run",
    "scheduler",
    "worker",
    "sweep",
    "status",
    "check",
    "schema",
    "init",
    "sandbox",
    "rubric",
    "try",
)


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_check_says_what_will_happen_and_tries_every_service(run: Run, config: Config) -> None:
    done = run("check", folder=config())
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "answered",
        "helpfulness",
        "100%",
        "ok   Redis",
        "ok   Langfuse: 4.60.0",
        "ok   model API",
        "ok   Slack",
    ):
        assert said in done.stdout


def test_check_with_wrong_keys_fails_and_names_them_without_showing_them(run: Run, config: Config) -> None:
    done = run("check", folder=config(), LANGFUSE_SECRET_KEY="sk-lf-planted")
    assert done.returncode == 1
    assert "FAIL Langfuse" in done.stdout
    assert "LANGFUSE_SECRET_KEY" in done.stdout
    assert "planted" not in done.stdout + done.stderr


def test_check_names_what_is_not_set(run: Run, config: Config) -> None:
    done = run("check", folder=config(), LANGFUSE_PUBLIC_KEY="", LANGFUSE_SECRET_KEY="")
    assert done.returncode == 1
    assert "FAIL LANGFUSE_PUBLIC_KEY: is not set" in done.stdout
    assert "FAIL LANGFUSE_SECRET_KEY: is not set" in done.stdout


def test_a_sweep_without_keys_names_them_and_prints_nothing_else(run: Run, config: Config) -> None:
    done = run("sweep", "--json", folder=config(), LANGFUSE_PUBLIC_KEY="", LANGFUSE_SECRET_KEY="")
    assert done.returncode == 2
    assert done.stdout == ""
    public, secret = done.stderr.splitlines()[-2:]
    assert public.startswith("LANGFUSE_PUBLIC_KEY: is not set")
    assert secret.startswith("LANGFUSE_SECRET_KEY: is not set")


def test_check_offline_needs_no_service(run: Run, config: Config) -> None:
    nothing = {
        "LANGFUSE_SECRET_KEY": "",
        "LANGFUSE_PUBLIC_KEY": "",
        "REDIS_URL": "",
        "LANGFUSE_BASE_URL": "http://127.0.0.1:1",
    }
    assert run("check", "--offline", folder=config(), **nothing).returncode == 0


@pytest.mark.parametrize("command", [["check"], ["run"]])
def test_a_broken_file_is_told_with_its_place_and_no_traceback(run: Run, config: Config, command: list[str]) -> None:
    folder = config(service="discovery: {evry: 1s}")
    done = run(*command, folder=folder)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        f"{folder}/evaluator.yaml:1:13: discovery.evry: is not known here; did you mean 'every'?"
    )
    assert "Traceback" not in done.stderr


def test_a_service_that_is_down_is_told_in_one_line(run: Run, config: Config) -> None:
    done = run("sweep", folder=config(), REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("evaluator: Redis does not answer")
    assert "Traceback" not in done.stderr


def test_a_sweep_prints_one_json_object_and_nothing_else(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox
) -> None:
    traffic.add(12)
    done = run("sweep", "--since", "1h", "--drain", "--json", folder=config())
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    summary = json.loads(line)
    assert summary["traces"] == 12
    assert summary["evaluations"] == {"sampled": 36, "scored": 36}
    assert summary["judge"]["calls"] == 12
    assert summary["left_in_queue"] == 0
    assert sandbox.langfuse.counts()["pairs"] == 36


def test_without_redis_an_embedded_server_keeps_what_was_done(
    run: Run, config: Config, traffic: Traffic, tmp_path: Path
) -> None:
    traffic.add(3)
    own = {"REDIS_URL": "", "EVALUATOR_DATA": str(tmp_path / "data")}
    folder = config()
    first = run("sweep", "--since", "1h", "--drain", folder=folder, **own)
    # Without --json it reads well.
    assert "3 traces finished since 1h that were not known before" in first.stdout
    assert "9 scored" in first.stdout
    second = run("sweep", "--since", "1h", "--drain", "--json", folder=folder, **own)
    assert json.loads(second.stdout)["traces"] == 0


def test_a_duration_that_is_none_is_a_usage_error_before_anything_is_opened(run: Run) -> None:
    done = run("sweep", "--since", "yesterday", REDIS_URL="redis://127.0.0.1:1/0", LANGFUSE_SECRET_KEY="")
    assert done.returncode == 2
    assert "--since: expected a duration such as 90s, 15m, 1h or 7d" in done.stderr
    assert "Redis" not in done.stderr


def test_init_writes_a_configuration_that_passes_and_keeps_what_is_there(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "config" / "monitors.yaml"
    own.parent.mkdir()
    own.write_text("[] # mine")
    done = run("init")
    assert done.returncode == 0
    assert "wrote config/rules.yaml" in done.stdout
    assert "kept  config/monitors.yaml" in done.stdout
    assert own.read_text() == "[] # mine"
    assert "kept  config/rules.yaml" in run("init").stdout
    assert run("check", "--offline", folder=own.parent).returncode == 0


def test_schema_writes_one_schema_a_kind_of_file(run: Run, config: Config) -> None:
    folder = config()
    assert run("schema", folder=folder).returncode == 0
    written = sorted(path.name for path in (folder / "schema").iterdir())
    assert written == ["evaluator.schema.json", "monitors.schema.json", "rubric.schema.json", "rules.schema.json"]
    for name in written:
        assert json.loads((folder / "schema" / name).read_text())["type"] in {"object", "array"}


def test_a_recorded_run_is_served_by_the_sandbox_and_swept(
    run: Run, config: Config, free_ports: int, tmp_path: Path
) -> None:
    chat = [
        {"role": "user", "content": "Where is order 7?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Error: no such order"},
        {"role": "assistant", "content": "There is no order 7."},
    ]
    recorded = tmp_path / "runs.json"
    recorded.write_text(json.dumps([{"task_id": task, "traj": chat, "reward": 1.0} for task in range(3)]))
    command = [sys.executable, "-m", "evaluator.cli", "sandbox", "--replay", str(recorded), "--port", str(free_ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())
            assert where["langfuse_url"] == f"http://127.0.0.1:{free_ports}"
            done = run(
                "sweep",
                "--since",
                "24h",
                "--drain",
                "--json",
                folder=config(),
                LANGFUSE_BASE_URL=where["langfuse_url"],
                LANGFUSE_PUBLIC_KEY=where["public_key"],
                LANGFUSE_SECRET_KEY=where["secret_key"],
                OPENAI_BASE_URL=where["model_url"],
            )
            with urllib.request.urlopen(f"{where['langfuse_url']}/_sandbox/scores", timeout=10) as answer:
                scores = json.load(answer)
            process.terminate()
            assert process.wait(20) == 128 + signal.SIGTERM
            with pytest.raises(urllib.error.URLError):
                urllib.request.urlopen(f"{where['langfuse_url']}/_sandbox/scores", timeout=10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["evaluations"] == {"sampled": 9, "scored": 9}
    assert Counter(score["name"] for score in scores) == {
        "answered": 3,
        "no-errors": 3,
        "helpfulness": 3,
        "task-success": 3,
    }
    assert {bool(score["value"]) for score in scores if score["name"] == "no-errors"} == {False}


def test_the_page_that_is_asked_for_by_itself_is_served_or_says_why_not(run: Run, config: Config) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("status", "--serve", "--port", port, folder=config())
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be had (Address already in use); set another one" in done.stderr
    done = run("status", "--serve", folder=config())
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing is served: give --port too" in done.stderr


def test_commands_are_listed_as_people_meet_them(run: Run) -> None:
    listed = re.findall(r"^  ([a-z-]+) ", run("--help").stdout.partition("Commands:")[2], flags=re.MULTILINE)
    assert listed[:4] == ["demo", "sandbox", "init", "check"]
    assert tuple(listed) == _ORDER, "a new command has its place in the list"


def test_people_are_told_what_to_type_to_use_the_stand_ins() -> None:
    said = said_of(Outside("http://l", "http://m/v1", "http://s", "http://api/", "pk", "sk"))
    assert "export LANGFUSE_BASE_URL=http://l\n" in said
    assert "LANGFUSE_PUBLIC_KEY=pk LANGFUSE_SECRET_KEY=sk" in said


@pytest.fixture
def free_ports() -> int:
    """The first of three ports in a row that nobody listens on."""
    for first in range(20000 + os.getpid() % 1000 * 10, 32000, 3):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    pytest.fail("no three ports in a row are free")
