"""Verdicts that are used again, over the wire: whole traces twice, in groups too, and what Redis then holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest
import redis

from evaluator.app import App
from evaluator.sampling.jobs import Job
from sandbox.server import Sandbox
from tests.answering import Answering, scores
from tests.serving import SERVICE, Config, OpenService, Run, Traffic, everything
from traces import Usage

CACHED: Final = SERVICE + "cache: {expires: 1d}\n"
WARM: Final = """
name: warm
sample: [{rate: 1}]
inputs: {answer: $.root.output}
criteria: Judge the tone.
score: {type: checklist, criteria: {warm: Is it warm?, clear: Is it clear?}, each: true}
"""
SAME: Final[dict[str, Any]] = {"input": "Where is my parcel, asks planted Ada?", "output": "On its way."}


def judged(app: App) -> Usage:
    """Evaluate what is new, and return what it cost."""
    before = sum(app.state.spending().values(), Usage())
    jobs: list[Job] = []
    app.discovery(jobs.extend).since(app.clock.now() - timedelta(hours=1))
    assert app.evaluation.evaluate(jobs) == []
    after = sum(app.state.spending().values(), Usage())
    return Usage(calls=after.calls - before.calls, usd=after.usd - before.usd, cached=after.cached - before.cached)


def by_trace(sandbox: Sandbox, name: str) -> list[dict[str, Any]]:
    return sorted((s for s in sandbox.langfuse.all_scores() if s["name"] == name), key=lambda s: str(s["traceId"]))


@pytest.mark.parametrize("which", ["off", "all"])
def test_the_same_conversation_is_judged_once_and_every_score_says_how(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, which: str
) -> None:
    folder = config(rules="[]", rubrics={"warm": WARM}, service=CACHED.replace("trace: off", f'trace: "{which}"'))
    with service(folder) as app:
        traffic.add(3, **SAME)
        first = judged(app)
        traffic.add(2, first=3, **SAME)
        second = judged(app)
    assert (first.calls, first.cached) == (1, 2)
    assert second == Usage(cached=2)
    for name in ("warm", "warm.clear"):
        found = by_trace(sandbox, name)
        assert len(found) == 5
        assert len({(s["value"], s["comment"]) for s in found}) == 1
        assert sum("cached" in s["metadata"] for s in found) == 4
        assert len({s["metadata"]["judge_model"] for s in found}) == 1
    linked = [s for s in by_trace(sandbox, "warm") if "judge_trace_id" in s["metadata"]]
    assert len(linked) == (1 if which == "all" else 0)


def test_without_it_nothing_is_kept(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, valkey: redis.Redis
) -> None:
    traffic.add(2, **SAME)
    with service(config(rules="[]", rubrics={"warm": WARM})) as app:
        assert judged(app).calls == 2
    assert not [key for key in everything(valkey) if ":cache:" in key]
    assert all("cached" not in s["metadata"] for s in by_trace(sandbox, "warm"))


def test_nothing_of_a_prompt_is_kept_with_a_verdict(
    service: OpenService, traffic: Traffic, config: Config, valkey: redis.Redis
) -> None:
    traffic.add(2, **SAME)
    with Answering() as model:
        model.always = scores(4, "It says that a parcel is on its way.")
        folder = config(rules="[]", service=CACHED)
        with service(folder, openai_base_url=model.url) as app:
            judged(app)
        assert len(model.requests) == 1
    held = {key: value for key, value in everything(valkey).items() if ":cache:" in key}
    assert len(held) == 1
    assert "parcel is on its way" in str(held)
    assert "planted" not in str(held)


def test_who_tries_a_rubric_is_answered_by_the_judge_and_leaves_nothing(
    service: OpenService, traffic: Traffic, config: Config, run: Run, valkey: redis.Redis
) -> None:
    ids = traffic.add(1, **SAME)
    folder = config(rules="[]", service=CACHED, rubrics={"warm": WARM})
    with service(folder) as app:
        assert judged(app).calls == 1
    kept = {key: valkey.pttl(key) for key in everything(valkey) if ":cache:" in key}
    tried = run("try", ids[0], folder=folder)
    assert (tried.returncode, "1 call" in tried.stdout) == (0, True), tried.stderr
    after = {key: valkey.pttl(key) for key in everything(valkey) if ":cache:" in key}
    assert after.keys() == kept.keys()
    assert all(int(str(after[key])) < int(str(left)) for key, left in kept.items())  # not written anew
