"""On two hundred recorded runs of an agent `reward` is the label: what calibrate says of a rule and of a judge there.

The figures are worked out a second time from the file itself, by scikit-learn and SciPy.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from evaluator.calibration.agreement import Calibration, calibrate
from evaluator.service import sweep
from judges import Rubric, RubricSpec
from sandbox import ingest
from sandbox.replay import REWARD, runs
from sandbox.server import Sandbox
from tests.serving import Config, OpenService

RECORDED: Final = "data/tau_bench_airline/gpt-4o-airline.json.gz"
RULES: Final = "[{name: few-steps, rule: max_steps, steps: 15}]"
RUBRIC: Final = """
name: effort
sample: [{rate: 1}]
inputs: {transcript: transcript}
criteria: Did the agent do what it was asked without detours?
score: {type: numeric, min: 1, max: 5, step: 1}
"""


@pytest.fixture
def recorded(shared: Path) -> list[dict[str, Any]]:
    return list(json.loads(gzip.decompress((shared / RECORDED).read_bytes())))


def held(app: Any, name: str, scale: str, **more: Any) -> Calibration:
    spec = {"name": name, "inputs": {"transcript": "transcript"}, "criteria": "x", "score": json.loads(scale)}
    now = app.clock.now()
    rng = np.random.default_rng(0)
    rubric = Rubric(RubricSpec.model_validate(spec))
    return calibrate(app.langfuse, rubric, REWARD, since=now - timedelta(days=2), now=now, rng=rng, **more)


def test_a_rule_and_a_judge_agree_with_reward_as_far_as_libraries_say(
    sandbox: Sandbox, service: OpenService, config: Config, shared: Path, recorded: list[dict[str, Any]]
) -> None:
    plans = list(runs(shared / RECORDED, datetime.now(UTC) - timedelta(minutes=35)))
    ingest.play(plans, base_url=sandbox.langfuse_url, public_key=sandbox.public_key, secret_key=sandbox.secret_key)
    with service(config(rules=RULES, rubrics={"effort": RUBRIC})) as app:
        sweep(app, timedelta(hours=12), drain=True, threads=8)
        rule = held(app, "few-steps", '{"type": "boolean"}')
        judge = held(app, "effort", '{"type": "numeric", "min": 1, "max": 5, "step": 1}', pass_at=3)
    stored = {(s["traceId"], s["name"]): float(s["value"]) for s in sandbox.langfuse.all_scores()}
    truth = [run["reward"] == 1 for run in recorded]
    for found, name, passes in ((rule, "few-steps", 1), (judge, "effort", 3)):
        ours = [stored[plan.id, name] >= passes for plan in plans]
        assert found.found is not None
        assert found.found.n == 200
        figures = found.found.judge
        assert figures["kappa"].value == pytest.approx(cohen_kappa_score(truth, ours), abs=1e-9)
        assert figures["agreement"].value == pytest.approx(np.mean(np.array(ours) == np.array(truth)))
        assert found.found.counts.tolist() == confusion_matrix(ours, truth).tolist()
        tau, rho = stats.kendalltau(ours, truth).statistic, stats.spearmanr(ours, truth).statistic
        assert figures["kendall"].value == pytest.approx(tau, abs=1e-9)
        assert figures["spearman"].value == pytest.approx(rho, abs=1e-9)
        low, high = figures["kappa"].low, figures["kappa"].high
        assert low is not None
        assert high is not None
        assert low < figures["kappa"].value < high
    assert 20 < sum(stored[plan.id, "few-steps"] == 1 for plan in plans) < 180
