"""Criteria that Langfuse keeps: used, versioned, never waited for, and known through outages and restarts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest
import redis

from evaluator.app import with_managed_prompts
from evaluator.definitions import load
from evaluator.errors import ConfigError
from evaluator.scoring.first_outcomes import PROMPT_MISSING, first_outcome
from evaluator.scoring.prompts import EVERY, Prompts
from evaluator.service import sweep
from evaluator.settings import Settings
from evaluator.state.prompts import KeptPrompts
from judges import ManagedPrompt, PromptSource
from sandbox.server import Sandbox
from tests.answering import Answering
from tests.building import trace
from tests.serving import Config, OpenService, Run, Traffic
from tests.watching import HandClock
from traces import Failure

RUBRIC: Final = """
name: warm
sample: [{rate: 1}]
inputs: {answer: $.root.output}
prompt: {langfuse: judges/warm}
score: {type: numeric, min: 1, max: 5}
"""


@pytest.fixture
def folder(config: Config) -> Any:
    return config(rules="[]", rubrics={"warm": RUBRIC})


def swept(service: OpenService, folder: Any, **changes: Any) -> dict[str, Any]:
    with service(folder, **changes) as app:
        return sweep(app, timedelta(hours=1), drain=True, threads=2).as_json()


def metadata(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [score["metadata"] for score in sandbox.langfuse.all_scores()]


def test_the_judge_reads_the_prompt_and_the_score_says_which(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Any
) -> None:
    sandbox.langfuse.prompts.add("judges/warm", "Is {{answer}} as warm as can be?")
    traffic.add(3)
    with Answering() as model:
        swept(service, folder, openai_base_url=model.url)
        asked = [request["messages"][0]["content"] for request in model.requests]
    assert [text.count('Is "answer" as warm as can be?') for text in asked] == [1, 1, 1]
    assert {told["judge_prompt"] for told in metadata(sandbox)} == {"judges/warm:1"}


def test_another_version_is_another_ruler(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Any, valkey: redis.Redis
) -> None:
    sandbox.langfuse.prompts.add("judges/warm", "Is it warm?")
    traffic.add(1)
    swept(service, folder)
    sandbox.langfuse.prompts.add("judges/warm", "Is it very warm?")
    valkey.delete("evaluator:prompts")
    traffic.add(1, first=1)
    swept(service, folder)
    before, after = sorted(metadata(sandbox), key=lambda told: str(told["judge_prompt"]))
    assert (before["judge_prompt"], after["judge_prompt"]) == ("judges/warm:1", "judges/warm:2")
    assert before["evaluator_version"] != after["evaluator_version"]


@pytest.mark.parametrize("outage", [{"errors": 1.0}, {"hangs": 1.0}])
def test_a_restart_in_an_outage_goes_on_with_the_last_known(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Any, valkey: redis.Redis, outage: dict[str, Any]
) -> None:
    sandbox.langfuse.prompts.add("judges/warm", "Is it warm?")
    with service(folder):
        pass
    kept = KeptPrompts(valkey, "evaluator")
    (old,) = kept.all().values()
    kept.keep("judges/warm@production", type(old)(old.prompt, old.at - 2 * EVERY))
    sandbox.langfuse.faults.change({**outage, "paths": "v2/prompts"})
    traffic.add(2)
    assert swept(service, folder)["evaluations"] == {"sampled": 2, "scored": 2}
    assert {told["judge_prompt"] for told in metadata(sandbox)} == {"judges/warm:1"}


def test_nothing_is_asked_of_langfuse_more_often_than_it_must(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Any
) -> None:
    sandbox.langfuse.prompts.add("judges/warm", "Is it warm?")
    traffic.add(20)
    for _ in range(2):
        swept(service, folder)
    asked = sandbox.langfuse.counts()["requests"]
    assert asked["GET /api/public/v2/prompts/{name}"] == {"200": 1}


class Shelf:
    """A Langfuse with one prompt, that can be taken away."""

    def __init__(self) -> None:
        self.version = 1
        self.gone = False

    def prompt(self, source: PromptSource) -> ManagedPrompt:
        if self.gone:
            raise ConfigError([])
        return ManagedPrompt(text=f"Is it {source.langfuse}?", version=self.version)


def test_a_change_is_seen_within_a_minute_and_a_loss_changes_nothing(folder: Any, valkey: redis.Redis) -> None:
    shelf, clock = Shelf(), HandClock()
    prompts = Prompts(load(folder).evaluators, shelf, KeptPrompts(valkey, "test"), clock)
    waiting = first_outcome(prompts._now["warm"], trace())
    assert waiting == Failure(PROMPT_MISSING, "Langfuse has not given judges/warm@production yet", retryable=True)
    prompts.start()
    first = prompts.evaluators()["warm"].version
    shelf.version, shelf.gone = 2, True
    clock.sleep(61)
    prompts.refresh()
    assert prompts.evaluators()["warm"].version == first
    shelf.gone = False
    prompts.refresh()
    now = prompts.evaluators()["warm"]
    assert now.version != first
    assert now.rubric is not None
    assert str(now.rubric.spec.prompt) == "judges/warm:2"
    prompts.close()


def test_a_rubric_whose_prompt_never_comes_is_counted_by_name(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Any
) -> None:
    traffic.add(1)
    with service(folder) as app:
        jobs: list[Any] = []
        app.discovery(jobs.extend).since(app.clock.now() - timedelta(hours=1))
        for _ in range(9):
            (again,) = app.evaluation.evaluate(jobs) or (None,)
            jobs = list(again.jobs) if again else []
        assert jobs == []
        assert app.state.funnel()["warm", "failed", PROMPT_MISSING] == 1
        assert "judges/warm@production" in app.state.dead_letters()[0].reason
    assert sandbox.model.counts()["calls"] == 0


def test_check_says_what_is_used_and_what_is_missing(sandbox: Sandbox, run: Run, folder: Any) -> None:
    missing = run("check", folder=folder)
    assert missing.returncode == 1
    assert "FAIL prompts" in missing.stdout
    assert "No prompt found with name 'judges/warm'" in missing.stdout.replace("\n", " ")
    sandbox.langfuse.prompts.add("judges/warm", "Is {{output}} warm?")
    found = run("check", folder=folder)
    assert found.returncode == 0, found.stdout
    said = found.stdout.replace("\n", " ")
    assert "ok   prompts: warm has version 1 of judges/warm; {{output}} in it is no input: answer" in said


def test_a_chat_prompt_is_no_criteria(sandbox: Sandbox, folder: Any, environment: dict[str, str]) -> None:
    sandbox.langfuse.prompts.add("judges/warm", [{"role": "user", "content": "Is it warm?"}])
    values: dict[str, Any] = {name.lower(): value for name, value in environment.items()}
    settings = Settings(**values)
    with pytest.raises(ConfigError, match="judges/warm@production is a chat prompt: criteria are a text prompt"):
        with_managed_prompts(settings, load(folder))
