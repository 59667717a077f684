"""The shipped rubrics, on or off, tested by the command a person uses, against a judge that answers as expected."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aiohttp import web

from evaluator import starter
from evaluator.definitions import load
from judges import Question, Rubric
from tests.answering import Answering, scores
from tests.judging import as_expected
from tests.serving import Run
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
