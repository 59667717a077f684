"""The image and the compose file, as far as they can be judged without an engine."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from evaluator.settings import variables

ROOT = Path(__file__).parents[2]
Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Return the Dockerfile as (name, argument): comments dropped, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def last(name: str) -> str:
    return [rest for found, rest in stages()[-1] if found == name][-1]


def service(name: str) -> dict[str, Any]:
    """Return a service as compose sees it: what it extends lies below what it says itself."""
    found: dict[str, Any] = compose()["services"][name]
    base = found.get("extends")
    return found if base is None else {**compose(base["file"])["services"][base["service"]], **found}


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(ROOT / name)
    return loaded


def test_image_has_two_stages_on_one_pinned_base() -> None:
    bases = {stage[0][1].split()[0] for stage in stages()}
    version = dict(rest.split("=", 1) for name, rest in instructions() if name == "ARG")
    assert len(stages()) == 2
    assert bases == {"python:${PYTHON}-slim"}
    assert re.fullmatch(r"3\.\d+", version["PYTHON"])


def test_base_is_a_python_we_declare() -> None:
    version = next(rest.split("=", 1)[1] for name, rest in instructions() if name == "ARG")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    assert f'image.version="{project["version"]}"' in last("LABEL")


def test_every_install_is_locked_or_ours() -> None:
    builder = " && ".join(rest for name, rest in stages()[0] if name == "RUN")
    installs = [part for part in builder.split("&&") if " install " in part]
    assert len(installs) == 3
    for install in installs:
        ours = "--no-deps --no-index dist/*.whl" in install
        assert ours or "--require-hashes --only-binary :all: -r requirements/" in install


@pytest.mark.parametrize("name", ["runtime", "build", "dev"])
def test_lock_has_a_hash_for_every_line(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", "")
    for line in text.splitlines():
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_last_stage_installs_nothing_and_takes_only_the_environment() -> None:
    final = stages()[-1]
    runs = [rest for name, rest in final if name == "RUN"]
    assert not [run for run in runs if re.search(r"\b(pip3? (install|wheel)|apt(-get)? install|curl|wget)\b", run)]
    assert any("pip uninstall" in run for run in runs)
    assert [rest for name, rest in final if name == "COPY"] == [
        "--from=builder /opt/venv /opt/venv",
        "config /app/config",
    ]
    assert "ADD" not in {name for name, _ in final}


def test_runs_as_nobody_in_particular() -> None:
    assert last("USER") == "10001:10001"
    assert "--uid 10001" in last("RUN")


def test_starts_and_checks_itself() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["evaluator"]
    assert json.loads(last("CMD")) == ["run"]
    assert "EVALUATOR_STATUS_PORT=8321" in last("ENV")
    assert "os.environ['EVALUATOR_STATUS_PORT']), timeout=5); to.request('GET', '/healthz')" in last("HEALTHCHECK")
    assert last("WORKDIR") == "/app"


def test_file_system_may_be_read_only() -> None:
    assert last("VOLUME") == "/var/lib/evaluator"
    for setting in (
        "EVALUATOR_DATA=/var/lib/evaluator",
        "MPLCONFIGDIR=/tmp",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYTHONUNBUFFERED=1",
    ):
        assert setting in last("ENV")


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "compose.external-redis.yaml", ".dockerignore"])
def test_names_no_address_of_the_web(name: str) -> None:
    assert not re.search(r"https?://", (ROOT / name).read_text(encoding="utf-8"))


def test_builder_receives_what_the_wheel_is_made_of() -> None:
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert allowed == {
        "pyproject.toml",
        "README.md",
        "requirements",
        *wheel["wheel"]["packages"],
        *wheel["wheel"]["force-include"],
    }


@pytest.mark.parametrize("name", ["redis", "scheduler", "worker"])
def test_every_service_is_confined_and_comes_back(name: str) -> None:
    found = service(name)
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["tmpfs"] == ["/tmp"]
    assert 0 < found["pids_limit"] <= 512
    assert found["restart"] == "unless-stopped"
    assert "ports" not in found
    assert "privileged" not in found
    assert ":" in found["image"]


def test_redis_is_reached_by_the_service_alone() -> None:
    assert compose()["networks"] == {"state": {"internal": True}}
    assert service("redis")["networks"] == ["state"]
    assert service("worker")["networks"] == service("scheduler")["networks"] == ["default", "state"]


def test_definitions_cannot_be_written_from_inside() -> None:
    assert service("worker")["volumes"] == service("scheduler")["volumes"] == ["./config:/app/config:ro"]


def test_compose_has_no_service_untested() -> None:
    assert set(compose()["services"]) == {"redis", "scheduler", "worker"}
    assert set(compose("compose.external-redis.yaml")["services"]) == {"scheduler", "worker"}


def test_without_own_redis_nothing_is_said_of_one() -> None:
    for found in compose("compose.external-redis.yaml")["services"].values():
        assert not {"depends_on", "environment", "networks"} & found.keys()
        assert found["env_file"] == ".env"


def test_scheduler_and_worker_are_one_image_with_two_commands() -> None:
    scheduler, worker = service("scheduler"), service("worker")
    assert scheduler["image"] == worker["image"]
    assert (scheduler["command"], worker["command"]) == (["scheduler"], ["worker"])
    assert worker["deploy"]["replicas"] == 1
    assert "container_name" not in worker


def test_service_waits_for_redis_and_is_given_time_to_stop() -> None:
    grace = next(float(default) for name, default, _ in variables() if name == "EVALUATOR_GRACE")
    for name in ("scheduler", "worker"):
        found = service(name)
        assert found["env_file"] == ".env"
        assert found["environment"]["REDIS_URL"].startswith("redis://redis:")
        assert found["depends_on"]["redis"]["condition"] == "service_healthy"
        assert float(found["stop_grace_period"].removesuffix("s")) > grace


def test_redis_keeps_what_it_is_told() -> None:
    command = service("redis")["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert service("redis")["healthcheck"]["test"] == ["CMD", "valkey-cli", "ping"]
    assert any(str(volume).endswith(":/data") for volume in service("redis")["volumes"])


def test_env_example_names_exactly_the_settings() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    found = [match.groups() for line in lines if (match := re.fullmatch(r"(?:# )?([A-Z_]+)=(.*)", line))]
    assert found == [(name, default) for name, default, _ in variables()]


def test_env_example_tells_what_each_variable_is() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name, _, description in variables():
        assert re.search(rf"^# {re.escape(description)}\n(# )?{name}=", text, re.MULTILINE), name


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec make test")


LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))
PIN = re.compile(
    r"[a-z0-9-]+==[0-9][0-9a-z.!+-]*(?: ; [^\\\n:@]+)? \\\n"
    r"(?:    --hash=sha256:[0-9a-f]{64} \\\n)*    --hash=sha256:[0-9a-f]{64}\n"
)


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_exact_and_hashed_and_from_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert "".join(PIN.findall(text)) == text


@pytest.mark.parametrize("name", ["Dockerfile", "Makefile"])
def test_only_hashed_wheels_and_what_is_here_are_installed(name: str) -> None:
    text = re.sub(r"\\\n\s*", " ", (ROOT / name).read_text(encoding="utf-8"))
    installs = [part for part in re.split(r"&&|\n", text) if re.search(r"pip\b.*\binstall\b(?!ed)", part)]
    unsafe = [
        part
        for part in installs
        if "uninstall" not in part
        and not ("--require-hashes" in part and "--only-binary :all:" in part)
        and not ("--no-deps" in part and re.search(r" (-e \.|dist/\*\.whl)\s*$", part))
    ]
    assert installs
    assert unsafe == []
