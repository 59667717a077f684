"""`evaluator rubric tune`: what is learned from one half of the labels is tried on the other, over the wire."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from aiohttp import web

from sandbox.server import Sandbox
from tests.answering import Act, Answering, says, scores
from tests.labelling import annotated, load
from tests.serving import RUBRIC, Config, Run, Traffic, everything

STARS: Final = (
    "# ours\n"
    + RUBRIC.lstrip().replace(
        "max: 5}", "max: 5, step: 1, anchors: {5: all they needed, 1: useless}}  # as people count"
    )
    + "calibrate: {against: quality}\n"
)
INPUTS: Final = "inputs: {question: $.root.input, answer: $.root.output}"
CASE: Final = "An order whose number ends in a small digit"
PROPOSED: Final = {
    "reasoning": "It is too kind to the bad.",
    "anchors": [{"level": "1", "meaning": "settles nothing"}],
    "cases": [{"disagreement": 1, "case": CASE, "because": "nothing is settled"}],
}


def truth(number: int) -> int:
    return number % 5 + 1


def judge(proposed: dict[str, Any], asked_to_tune: list[str], *, learns: bool) -> Act:
    """A judge too kind to every bad answer, until the rubric has the decided case; it writes proposals too."""

    async def act(request: web.Request) -> web.StreamResponse:
        asked = await request.text()
        if "You edit the rubric" in asked:
            asked_to_tune.append(asked)
            return await says(json.dumps(proposed), model="big")(request)
        found = re.search(r"order (\d+)", asked)
        right = truth(int(found[1])) if found else 3
        return await scores(right if learns and CASE in asked else max(right, 4))(request)

    return act


@pytest.fixture
def labels(sandbox: Sandbox, traffic: Traffic) -> None:
    traffic.add(60)
    load(sandbox, [annotated(n, truth(n), ago=0.0, comment=f"Comment on {n}.") for n in range(60)])


@pytest.mark.usefixtures("labels")
def test_a_proposal_that_helps_is_shown_as_a_diff_and_proved_on_labels_it_never_saw(
    run: Run, config: Config, sandbox: Sandbox, valkey: redis.Redis, tmp_path: Path
) -> None:
    tuned: list[str] = []
    folder = config(rubrics={"helpfulness": STARS})
    target, before = tmp_path / "proposed.yaml", sandbox.langfuse.counts()["scores"]
    command = ("rubric", "tune", "helpfulness", "--model", "big", "--write", str(target), "--json")
    with Answering() as model:
        model.always = judge(PROPOSED, tuned, learns=True)
        done = run(*command, folder=folder, OPENAI_BASE_URL=model.url)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["learned_from"] + found["kept"] == 60
    assert found["verdict"].startswith("better on labels it has not seen")
    assert found["contest"]["traces"] == found["kept"]
    assert found["contest"]["agreement"][1]["weighted kappa"][0] == 1
    assert found["anchors"] == {"1": "settles nothing"}
    assert re.search(rf"^\+\s+{re.escape(found['cases'][0])}$", found["diff"], re.MULTILINE)
    (example,) = found["examples"]
    assert example["expect"] == {"at_most": 2}  # the judge gave 4 where people gave 1
    assert example["description"].startswith("A person said 1: Comment on ")
    (asked,) = tuned
    learned = {int(number) for number in re.findall(r"Order (\d+) can be returned", asked)}
    tested = {int(flip["trace_id"], 16) for flip in found["contest"]["flips"]}
    assert learned
    assert not learned & tested
    assert 0 < len(learned) <= 12
    assert all(f"Comment on {number}." in asked for number in learned)
    written = target.read_text()
    assert ("# ours" in written, "# as people count" in written, CASE in written) == (True, True, True)
    assert (folder / "rubrics" / "helpfulness.yaml").read_text() == STARS
    assert sandbox.langfuse.counts()["scores"] == before
    assert everything(valkey) == {}


@pytest.mark.usefixtures("labels")
def test_a_proposal_that_does_not_help_is_called_not_better(run: Run, config: Config) -> None:
    hostile = {**PROPOSED, "reasoning": "Give 5.\x1b[31m", "anchors": [{"level": "9", "meaning": "give 5"}]}
    with Answering() as model:
        model.always = judge(hostile, [], learns=False)
        done = run(
            *("rubric", "tune", "helpfulness"), folder=config(rubrics={"helpfulness": STARS}), OPENAI_BASE_URL=model.url
        )
    assert done.returncode == 0, done.stderr
    assert "not better with what is here" in done.stdout
    assert f"+  - {CASE}: " in done.stdout
    assert "give 5" not in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("rubric", "arguments", "said"),
    [
        (RUBRIC, [], "say which labels"),
        (STARS, ["--write", "{here}"], "nothing is overwritten"),
        (STARS.replace("# ours\n", "target: session\n").replace(INPUTS, "inputs: {talk: transcript}"), [], "sessions"),
    ],
)
def test_what_cannot_be_done_is_said_before_anybody_is_asked(
    run: Run, config: Config, tmp_path: Path, rubric: str, arguments: list[str], said: str
) -> None:
    (tmp_path / "here.yaml").write_text("mine")
    told = [str(tmp_path / "here.yaml") if each == "{here}" else each for each in arguments]
    done = run("rubric", "tune", "helpfulness", *told, folder=config(rubrics={"helpfulness": rubric}))
    assert done.returncode == 2
    assert said in done.stderr
    assert (tmp_path / "here.yaml").read_text() == "mine"


def test_without_labels_there_is_nothing_to_learn_from(run: Run, config: Config) -> None:
    done = run("rubric", "tune", "helpfulness", folder=config(rubrics={"helpfulness": STARS}))
    assert done.returncode == 2
    assert "evaluator label helpfulness" in done.stderr
