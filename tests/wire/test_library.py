"""The shipped rubrics, on or off, tested by the command a person uses, against a judge that answers as expected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from evaluator import starter
from evaluator.definitions import load
from evaluator.service import sweep
from judges import Question, Rubric
from sandbox import ingest
from sandbox.server import Sandbox
from sandbox.traffic import GROUND_TRUTH, traffic
from tests.answering import Answering, scores
from tests.judging import as_expected
from tests.serving import Config, OpenService, Run
from traces import as_text

DEFINITIONS = load(starter.folder())
LIBRARY = [each.rubric for each in (*DEFINITIONS.evaluators, *DEFINITIONS.off) if each.rubric is not None]
NOWHERE = {
    "LANGFUSE_BASE_URL": "http://127.0.0.1:1",
    "LANGFUSE_PUBLIC_KEY": "",
    "LANGFUSE_SECRET_KEY": "",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def known() -> dict[tuple[str, frozenset[str]], object]:
    """What to answer, by the system prompt and the texts shown."""
    answers: dict[tuple[str, frozenset[str]], object] = {}
    for rubric in LIBRARY:
        for example in rubric.spec.examples:
            answers[system_of(rubric), frozenset(map(as_text, example.inputs.values()))] = as_expected(rubric, example)
    return answers


def system_of(rubric: Rubric) -> str:
    question = rubric.question_from(rubric.spec.examples[0].inputs)
    assert isinstance(question, Question)
    return question.prompt.system


@pytest.fixture
def judge() -> Iterator[Answering]:
    answers = known()

    async def act(request: web.Request) -> web.StreamResponse:
        system, user = (message["content"] for message in (await request.json())["messages"])
        fitting = [
            score
            for (asked, texts), score in answers.items()
            if asked == system and all(text in user for text in texts)
        ]
        assert len(fitting) == 1
        return await scores(fitting[0])(request)

    with Answering() as server:
        server.always = act
        yield server


def test_every_example_of_the_library_passes(run: Run, judge: Answering) -> None:
    names = [rubric.name for rubric in LIBRARY]
    settings = {**NOWHERE, "OPENAI_BASE_URL": judge.url}
    done = run("rubric", "test", *names, "--json", folder=starter.folder(), **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert [each["name"] for each in said["rubrics"]] == names
    assert len(judge.requests) == sum(len(rubric.spec.examples) for rubric in LIBRARY)


def test_without_names_only_those_that_are_on_are_asked(run: Run, judge: Answering) -> None:
    done = run("rubric", "test", folder=starter.folder(), **NOWHERE, OPENAI_BASE_URL=judge.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(judge.requests) == sum(len(rubric.spec.examples) for rubric in DEFINITIONS.rubrics())
    assert "tone" not in done.stdout


def test_all_of_it_switched_on_scores_recorded_traffic(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (starter.folder() / "rubrics").glob("*.yaml")}
    everything = {name: switched_on(text) for name, text in texts.items()}
    plans = list(traffic(1, 40, datetime.now(UTC) - timedelta(minutes=35)))
    ingest.play(plans, base_url=sandbox.langfuse_url, public_key=sandbox.public_key, secret_key=sandbox.secret_key)
    with service(config(rules="[]", rubrics=everything)) as app:
        swept = sweep(app, timedelta(days=8), drain=True, threads=4).as_json()
    assert set(swept["evaluations"]) <= {"sampled", "scored", "skipped", "excluded"}
    people = {"user-feedback", GROUND_TRUTH}
    ours = Counter(score["name"] for score in sandbox.langfuse.all_scores() if score["name"] not in people)
    assert set(ours) == set(texts)
    assert swept["evaluations"]["scored"] == ours.total()
    sessions = {plan.session_id for plan in plans if plan.environment == "production"}
    assert ours["session-resolution"] >= len(sessions)


def switched_on(text: str) -> str:
    """Return a rubric that runs, on everything."""
    given = YAML(typ="safe").load(text)
    return json.dumps({**given, "enabled": True, "sample": [{"rate": 1}]})
