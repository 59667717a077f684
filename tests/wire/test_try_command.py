"""`evaluator try`: one trace, every evaluator, and nothing written anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from evaluator.app import Desk, open_desk
from evaluator.definitions import load
from evaluator.errors import Gone
from evaluator.preview import trying
from evaluator.sampling.sampler import position
from evaluator.settings import Settings
from sandbox.server import Sandbox
from tests.serving import RUBRIC, Config, Run, Traffic, everything, trace_id

RARE = RUBRIC.replace("helpfulness", "rare").replace("rate: 1", "rate: 0")
PICKY = RUBRIC.replace("helpfulness", "picky").replace("sample:", "when: {level: ERROR, tags: [vip, gold]}\nsample:")
LIKED = RUBRIC.replace("helpfulness", "liked").replace(
    "[{rate: 1}]", "[{when: {score: {name: user-feedback, at_least: 1}}, rate: 1}, {rate: 0.00001}]"
)
RUBRICS = {"helpfulness": RUBRIC, "rare": RARE, "picky": PICKY, "liked": LIKED}
OpenDesk = Callable[[Path], AbstractContextManager[Desk]]


@pytest.fixture
def desk(environment: dict[str, str]) -> OpenDesk:
    def opened(folder: Path) -> AbstractContextManager[Desk]:
        values = {name.lower(): value for name, value in environment.items()}
        settings = Settings.model_validate({**values, "evaluator_config": folder})
        return open_desk(settings, load(folder))

    return opened


def test_it_shows_what_the_service_would_say_and_writes_nothing(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox, valkey: redis.Redis
) -> None:
    (trace,) = traffic.add(1)
    done = run("try", trace, folder=config(rubrics=RUBRICS), COLUMNS="120")
    assert done.returncode == 0, done.stderr
    for said in (
        "answer-user-query, production, 2.0 s, 3 steps",
        "answered",
        "You are an exacting, fair evaluator.",
        "How do I return order 0?",
        "Simulated verdict",
        f"sampled out: u = {position(trace, 'evaluator'):.4f} is not below the rate 0",
        "filtered: tags vip or gold is wanted, not none; level ERROR is wanted, not DEFAULT",
        "nothing was written",
    ):
        assert said in done.stdout
    assert sandbox.model.calls == 4
    assert sandbox.langfuse.all_scores() == []
    methods = {route.split(" ")[0] for route in sandbox.langfuse.counts()["requests"]}
    assert methods == {"GET"}
    assert [key for key in everything(valkey) if ":limit" not in key and ":pause" not in key] == []


def test_only_the_prompt_of_one_rubric_and_no_model(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox
) -> None:
    (trace,) = traffic.add(1)
    address = f"{sandbox.langfuse_url}/project/sandbox-project/traces/{trace}?observation=root-0"
    done = run("try", address, "--rubric", "helpfulness", "--prompt", "--json", folder=config(rubrics=RUBRICS))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (found,) = document["evaluators"]
    assert (found["name"], found["taken"], found["rate"], found["outcome"]) == ("helpfulness", True, 1.0, None)
    assert "Order 0 can be returned within 30 days" in found["prompt"]["user"]
    assert document["trace"]["url"].endswith(f"/traces/{trace}")
    assert sandbox.model.calls == 0


def test_a_trace_that_is_not_there_or_not_finished_is_said_so(run: Run, config: Config, traffic: Traffic) -> None:
    folder = config(service="discovery: {quiet_for: 90s}")
    gone = run("try", "ffffffffffffffffffffffffffffffff", folder=folder)
    assert gone.returncode == 1
    assert "no trace 'ffffffffffffffffffffffffffffffff' in the last 30d in project" in gone.stderr
    (trace,) = traffic.add(1, ended_ago=5)
    fresh = run("try", trace, folder=folder)
    assert fresh.returncode == 1
    assert "is not finished (it moved less than 90s ago); try again later, or add --unfinished" in fresh.stderr
    assert run("try", trace, "--unfinished", "--prompt", folder=folder).returncode == 0


def test_an_unknown_rubric_is_told_with_the_nearest(run: Run, config: Config) -> None:
    done = run("try", trace_id(0), "--rubric", "helpfull", folder=config())
    assert done.returncode == 2
    assert "no rubric is named 'helpfull'; did you mean 'helpfulness'?" in done.stderr


def test_a_model_that_is_away_has_the_exit_code_of_rubric_test(run: Run, config: Config, traffic: Traffic) -> None:
    (trace,) = traffic.add(1)
    done = run("try", trace, "--rubric", "helpfulness", folder=config(), OPENAI_BASE_URL="http://127.0.0.1:1/nothing")
    assert done.returncode == 3
    assert "model_unavailable" in done.stdout


def test_a_step_that_is_open_is_named(config: Config, traffic: Traffic, desk: OpenDesk) -> None:
    (trace,) = traffic.add(1, endTime=None)
    with desk(config(service="discovery: {quiet_for: 1s}")) as opened:
        found = trying.find(opened, trace, timedelta(days=30))
        with pytest.raises(trying.Unfinished, match="still open: SPAN 'answer-user-query'"):
            trying.check_finished(opened, found)
        (decided, *_) = trying.attempt(opened, found, opened.definitions.evaluators)
    assert decided.decision.state == "unfinished"


def test_scores_that_filters_ask_for_are_read(
    config: Config, traffic: Traffic, sandbox: Sandbox, desk: OpenDesk
) -> None:
    first, second = traffic.add(2)
    sandbox.langfuse.load_scores([{"name": "user-feedback", "value": 1, "dataType": "NUMERIC", "traceId": first}])
    with desk(config(rules="[]", rubrics={"liked": LIKED})) as opened:
        decisions = [
            trying.attempt(opened, trying.find(opened, trace, timedelta(days=1)), opened.definitions.evaluators)[0]
            for trace in (first, second)
        ]
    assert [each.decision.rate for each in decisions] == [1.0, 0.00001]
    assert [each.decision.takes for each in decisions] == [True, False]


@pytest.mark.parametrize(("ended_days_ago", "since"), [(3, 30), (20, 30), (20, 10)])
def test_an_old_trace_is_found_as_far_back_as_was_asked(
    config: Config, traffic: Traffic, desk: OpenDesk, ended_days_ago: int, since: int
) -> None:
    (trace,) = traffic.add(1, ended_ago=ended_days_ago * 86_400)
    with desk(config()) as opened:
        if ended_days_ago < since:
            assert trying.find(opened, trace, timedelta(days=since)).id == trace
        else:
            with pytest.raises(Gone, match="in the last 10d"):
                trying.find(opened, trace, timedelta(days=since))


def test_what_is_never_evaluated_is_said(config: Config, traffic: Traffic, desk: OpenDesk) -> None:
    (trace,) = traffic.add(1, environment="staging")
    with desk(config(service="discovery: {quiet_for: 1s, exclude_environments: [staging]}")) as opened:
        tried = trying.attempt(opened, trying.find(opened, trace, timedelta(days=1)), opened.definitions.evaluators)
    assert {each.decision.state for each in tried} == {"excluded"}


def test_what_each_juror_said_and_what_could_not_be_read_is_shown(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox
) -> None:
    (trace,) = traffic.add(1)
    folder = config(rubrics={"helpfulness": RUBRIC + "judge: {model: gpt-5.4-mini, jury: [gpt-5.4]}\n"}, rules="[]")
    calls = json.loads(run("try", trace, "--json", folder=folder).stdout)["evaluators"][0]["calls"]
    assert sorted((call["name"], call["failed"]) for call in calls) == [
        ("gpt-5.4, opinion 2", ""),
        ("gpt-5.4-mini, opinion 1", ""),
    ]
    assert all(call["seconds"] >= 0 and json.loads(call["reply"])["score"] for call in calls)
    sandbox.model.answers.malformed = 1.0
    done = run("try", trace, folder=folder)
    assert "[gpt-5.4, opinion 2, repair, " in done.stdout
    assert "it could not be read, and was asked for once more" in done.stdout
    assert done.stdout.count("The score would be about {four} out of") == 4
