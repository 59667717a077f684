"""`evaluator rubric compare`: two versions of a judge on the same labelled traces, over the wire."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
import redis
from aiohttp import web

from sandbox.server import Sandbox
from tests.answering import Answering, scores
from tests.labelling import annotated, load, ours
from tests.serving import RUBRIC, Config, Run, Traffic, everything

STARS: Final = RUBRIC.replace("max: 5}", "max: 5, step: 1}")
STRICT: Final = STARS.replace("1 is useless", "Be strict. 1 is useless")
PRICES: Final = "models: {prices: {gpt-5.4-mini: {input: 1, output: 1}, big: {input: 10, output: 10}}}\n"


def truth(number: int) -> int:
    return number % 5 + 1


async def by_version(request: web.Request) -> web.StreamResponse:
    """The strict version and the big model say what people say; the other one is too kind to every bad answer."""
    asked = await request.text()
    found = re.search(r"order (\d+)", asked)
    right = truth(int(found[1])) if found else 3
    knows = "Be strict" in asked or '"big"' in asked
    return await scores(right if knows else max(right, 4), model="big" if '"big"' in asked else "gpt-5.4-mini")(request)


@pytest.fixture
def labels(sandbox: Sandbox, traffic: Traffic) -> None:
    traffic.add(40)
    load(sandbox, [annotated(n, truth(n), ago=0.0) for n in range(30)])
    load(sandbox, [ours(n, 3, name="helpfulness", ago=0.0) for n in range(5)])  # what we said is no label


@pytest.mark.usefixtures("labels")
def test_the_version_that_says_what_people_say_is_told_with_its_interval_and_what_it_costs(
    run: Run, config: Config, sandbox: Sandbox, valkey: redis.Redis, tmp_path: Path
) -> None:
    other = tmp_path / "strict.yaml"
    other.write_text(STRICT)
    before = sandbox.langfuse.counts()["scores"]
    with Answering() as model:
        model.always = by_version
        done = run(
            *("rubric", "compare", "helpfulness", str(other), "--against", "quality", "--json"),
            folder=config(rubrics={"helpfulness": STARS}),
            OPENAI_BASE_URL=model.url,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["traces"], found["judged_by_both"], found["measure"]) == (30, 30, "weighted kappa")
    first, second = found["agreement"]
    assert second["weighted kappa"][0] == 1
    assert found["difference"][0] == pytest.approx(1 - first["weighted kappa"][0])
    assert found["difference"][1] > 0
    assert found["better"] == 1
    assert len(found["flips"]) == 18  # those that people gave 1 to 3
    assert (found["flips"][0]["people"], found["flips"][0]["gained"]) == ({"ann": 1.0}, 0.75)
    assert sandbox.langfuse.counts()["scores"] == before
    assert everything(valkey) == {}


@pytest.mark.usefixtures("labels")
def test_a_dearer_model_is_told_with_the_price_of_a_point(run: Run, config: Config) -> None:
    with Answering() as model:
        model.always = by_version
        done = run(
            *("rubric", "compare", "helpfulness", "--model", "big", "--sample", "20"),
            folder=config(rubrics={"helpfulness": f"{STARS}calibrate: {{against: quality}}\n"}, service=PRICES),
            OPENAI_BASE_URL=model.url,
            COLUMNS="140",
        )
    assert done.returncode == 0, done.stderr
    for said in (
        "gpt-5.4-mini and big on 20 labelled traces",
        "weighted kappa: big agrees better with people",
        "big is nearer to people on",
        "USD more for each point of kappa (0.01)",
        "40 judge calls",
    ):
        assert said in done.stdout
    assert "gpt-5.4-mini is nearer" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--against", "quality"], "say what to compare it with"), (["--model", "big"], "say which labels")],
)
def test_what_is_not_told_is_asked_for(run: Run, config: Config, arguments: list[str], said: str) -> None:
    done = run("rubric", "compare", "helpfulness", *arguments, folder=config())
    assert done.returncode == 2
    assert said in done.stderr


def test_nothing_labelled_is_said_with_what_to_do(run: Run, config: Config) -> None:
    done = run("rubric", "compare", "helpfulness", "--model", "big", "--against", "none", folder=config())
    assert done.returncode == 2
    assert "nobody gave a score 'none' to a trace that helpfulness judges in the last 90d" in done.stderr


def test_labels_of_traces_that_are_gone_are_said_to_be_that(run: Run, config: Config, sandbox: Sandbox) -> None:
    load(sandbox, [annotated(number, 4.0) for number in range(3)])
    done = run("rubric", "compare", "helpfulness", "--model", "big", "--against", "quality", folder=config())
    assert done.returncode == 2
    assert "3 labels 'quality' are there, and Langfuse shows nothing that helpfulness judges for any" in done.stderr
    assert "evaluator label helpfulness" in done.stderr
