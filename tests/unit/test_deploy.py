"""The manifests of deploy/, as far as they can be judged without a cluster: they agree with service and image."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from evaluator.cli import cli
from evaluator.definitions import load
from evaluator.sampling.jobs import Lane
from evaluator.settings import variables

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kubernetes" / "base"
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
GRACE = next(float(default) for name, default, _ in variables() if name == "EVALUATOR_GRACE")
KNOWN = {name for name, _, _ in variables()}


def read(path: Path) -> list[dict[str, Any]]:
    return [document for document in YAML(typ="safe").load_all(path) if document]


def resources() -> dict[tuple[str, str], dict[str, Any]]:
    (kustomization,) = read(BASE / "kustomization.yaml")
    found = [document for name in kustomization["resources"] for document in read(BASE / name)]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def generated() -> dict[str, dict[str, Any]]:
    (kustomization,) = read(BASE / "kustomization.yaml")
    return {each["name"]: each for each in kustomization["configMapGenerator"]}


def pod(role: str) -> dict[str, Any]:
    spec: dict[str, Any] = resources()["Deployment", f"evaluator-{role}"]["spec"]["template"]["spec"]
    return spec


def container(role: str) -> dict[str, Any]:
    (only,) = pod(role)["containers"]
    found: dict[str, Any] = only
    return found


ROLES = ["scheduler", "worker"]


def test_every_file_of_the_base_is_part_of_it() -> None:
    (kustomization,) = read(BASE / "kustomization.yaml")
    files = [name for each in generated().values() for name in each.get("files", [])]
    named = {"kustomization.yaml", *kustomization["resources"], *files}
    assert named == {str(path.relative_to(BASE)) for path in BASE.rglob("*") if path.is_file()}


def test_the_base_names_no_namespace() -> None:
    assert not any("namespace" in each["metadata"] for each in resources().values())


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_runs_a_command_that_exists_in_the_image_that_is_built(role: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert container(role)["args"] == [role]
    assert role in typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    assert 'ENTRYPOINT ["evaluator"]' in dockerfile
    context = pod(role)["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in dockerfile
    mounts = {each["name"]: each["mountPath"] for each in container(role)["volumeMounts"]}
    assert mounts["definitions"] == "/app/config"
    assert "COPY config /app/config" in dockerfile


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_is_confined(role: str) -> None:
    found, context = container(role), container(role)["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pod(role)["securityContext"]["runAsNonRoot"] is True
    assert pod(role)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(role)["automountServiceAccountToken"] is False
    assert found["resources"]["limits"]["memory"]
    assert pod(role)["terminationGracePeriodSeconds"] > GRACE


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_a_setting_and_every_secret_a_file(role: str) -> None:
    literals = dict(each.split("=", 1) for each in generated()["evaluator-settings"]["literals"])
    assert set(literals) <= KNOWN
    secrets = {name for name, _, _ in variables() if name.endswith(("_KEY", "_TOKEN", "_SECRET", "REDIS_URL"))}
    assert not secrets & set(literals)
    mounted = next(m["mountPath"] for m in container(role)["volumeMounts"] if m["name"] == "secrets")
    for each in container(role)["env"]:
        assert each["name"].removesuffix("_FILE") in KNOWN
        assert each["name"].endswith("_FILE")
        assert each["value"].startswith(f"{mounted}/")


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_the_port_that_is_served(role: str) -> None:
    (port,) = container(role)["ports"]
    assert f"EVALUATOR_STATUS_PORT={port['containerPort']}" in generated()["evaluator-settings"]["literals"]
    paths = {kind: container(role)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {each["port"] for each in paths.values()} == {port["name"]}
    assert [paths[kind]["path"] for kind in paths] == ["/healthz", "/healthz", "/readyz"]
    policy = resources()["NetworkPolicy", "evaluator"]["spec"]
    assert policy["ingress"] == [{"ports": [{"port": port["containerPort"], "protocol": "TCP"}]}]


def test_workers_are_scaled_by_every_lane_of_the_queue() -> None:
    scaled = resources()["ScaledObject", "evaluator-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "evaluator-worker"
    assert "replicas" not in resources()["Deployment", "evaluator-worker"]["spec"]
    lists = {each["metadata"]["listName"] for each in scaled["triggers"]}
    assert lists == {f"evaluator:queue:{lane}" for lane in Lane}


def test_disruptions_leave_somebody() -> None:
    for role in ROLES:
        budget = resources()["PodDisruptionBudget", f"evaluator-{role}"]["spec"]
        template = resources()["Deployment", f"evaluator-{role}"]["spec"]["template"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_the_definitions_of_the_base_are_valid_and_all_mounted() -> None:
    assert [each.name for each in load(BASE / "definitions").evaluators] == ["answered", "no-errors", "helpfulness"]
    for role in ROLES:
        volume = next(each for each in pod(role)["volumes"] if each["name"] == "definitions")
        rubrics = volume["projected"]["sources"][1]["configMap"]
        files = [Path(name).name for name in generated()["evaluator-rubrics"]["files"]]
        assert [each["path"] for each in rubrics["items"]] == [f"rubrics/{name}" for name in files]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
def test_kustomize_takes_the_base() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for document in YAML(typ="safe").load_all(done.stdout):
        if document["kind"] in {"Deployment", "PodDisruptionBudget"}:
            assert document["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == "evaluator"


def settings(unit: Path) -> Iterator[tuple[str, str]]:
    for line in unit.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z]+=", line):
            name, _, value = line.partition("=")
            yield name, value


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_what_exists_hardened(unit: Path) -> None:
    found = dict(settings(unit))
    assert found["ExecStart"].split()[-1] == re.split(r"[-.@]", unit.name)[1]
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert float(found["TimeoutStopSec"]) > GRACE
    assert found["DynamicUser"] == found["NoNewPrivileges"] == found["PrivateTmp"] == "yes"
    assert found["ProtectSystem"] == "strict"
    assert found["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_sets_what_are_settings_and_loads_every_secret_it_names(unit: Path) -> None:
    pairs = [each.split("=", 1) for name, value in settings(unit) if name == "Environment" for each in value.split()]
    assert {name.removesuffix("_FILE") for name, _ in pairs} <= KNOWN | {"MPLCONFIGDIR"}
    loaded = {value.partition(":")[0] for name, value in settings(unit) if name == "LoadCredential"}
    assert loaded == {value.removeprefix("%d/") for name, value in pairs if name.endswith("_FILE")}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    paths = []
    for unit in UNITS:
        paths.append(tmp_path / unit.name.replace("@.", "@1."))
        paths[-1].write_text(unit.read_text(encoding="utf-8").replace("/opt/evaluator/bin/evaluator", "/bin/true"))
    command = ["systemd-analyze", "verify", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
