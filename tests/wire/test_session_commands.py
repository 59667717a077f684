"""`try`, `plan` and `rubric diff` on sessions: what is said of them is what the service would say."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from evaluator.service import sweep
from evaluator.status.story import Story
from evaluator.status.story_facts import desk_of, story_of
from sandbox.server import Sandbox
from tests.labelling import annotated, load
from tests.serving import SERVICE, Config, OpenService, Run, Traffic

WHOLE: Final = """
name: whole
target: session
idle: 10m
sample: [{rate: 1}]
inputs: {all: transcript}
criteria: Did the user get what they came for? 1 is nothing, 5 is all.
score: {type: numeric, min: 1, max: 5}
"""
OF_ONE: Final = WHOLE.replace("name: whole", "name: whole\nwhen: {trace_name: another}")


@pytest.fixture
def folder(config: Config) -> Path:
    return config(rules="[]", rubrics={"whole": WHOLE})


def test_a_session_is_tried_by_its_id_or_its_address_and_nothing_is_written(
    run: Run, folder: Path, traffic: Traffic, sandbox: Sandbox
) -> None:
    traffic.add(6, ended_ago=20 * 60)
    done = run("try", "session-1", "--session", folder=folder, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    for said in (
        "session session-1: production, 3 traces",
        "/sessions/session-1",
        "[TRACE 1 of 3]",
        "Simulated verdict",
    ):
        assert said in done.stdout
    assert sandbox.langfuse.all_scores() == []
    address = f"{sandbox.langfuse_url}/project/sandbox-project/sessions/session-0?view=1"
    document = json.loads(run("try", address, "--prompt", "--json", folder=folder).stdout)
    assert len(document["session"]["traces"]) == 3
    (found,) = document["evaluators"]
    assert (found["taken"], found["rate"], found["outcome"], found["observation_id"]) == (True, 1.0, None, None)


def test_a_session_that_goes_on_or_is_not_there_is_said_so(run: Run, folder: Path, traffic: Traffic) -> None:
    traffic.add(1)
    fresh = run("try", "session-0", "--session", folder=folder)
    assert fresh.returncode == 1
    assert "session session-0 is not idle: its last trace ended" in fresh.stderr
    assert "its rubrics wait for 10m; try again later, or add --unfinished" in fresh.stderr
    gone = run("try", "session-77", "--session", folder=folder)
    assert gone.returncode == 1
    assert "no trace of session 'session-77' in the last 30d" in gone.stderr


def test_why_tells_the_story_of_a_session(
    run: Run, folder: Path, service: OpenService, traffic: Traffic, sandbox: Sandbox
) -> None:
    traffic.add(6, ended_ago=20 * 60)
    address = f"{sandbox.langfuse_url}/project/sandbox-project/sessions/session-0?view=1"
    with service(folder) as app:
        desk = desk_of(app)

        def told(given: str = "session-0") -> tuple[str, Story]:
            story = story_of(desk, given, timedelta(days=30))
            return story.fates[0].state, story

        state, story = told(address)
        assert (state, story.facts.kind, story.facts.steps) == ("unseen", "session", 3)
        assert story.seen.startswith("not seen: discovery has never read anything")
        sweep(app, timedelta(hours=1), drain=True, threads=2)
        state, story = told()
        assert (state, story.fates[0].why) == ("scored", f"Langfuse holds {story.fates[0].score}")
        assert story.seen == "seen: discovery found it and decided who takes it"
        assert story.as_json()["session"]["id"] == "session-0"
        traffic.add(1, first=100, id="root-late", sessionId="session-0")
        state, story = told()
        assert state == "unfinished"
        assert story.seen.startswith("not seen: discovery has never read anything")
        app.state.advance(app.clock.now())
        assert told()[1].seen == "not seen yet: it is looked at when it was idle for 10m"
        assert story.fates[0].why.startswith("judged when it was idle for 10m: not before ")
        assert story.fates[0].why.endswith(f"{story.fates[0].score}, of the session as it was before it went on")
    done = run("why", "session-1", folder=folder, COLUMNS="200")
    assert "session session-1: production, 3 traces" in done.stdout
    gone = run("why", "session-77", folder=folder)
    assert "no trace 'session-77'" in gone.stderr
    assert "nor a session" in gone.stderr


def test_who_judges_no_sessions_is_told_how(run: Run, config: Config, traffic: Traffic) -> None:
    traffic.add(1, ended_ago=3600)
    folder = config(rubrics={"one": WHOLE.replace("whole", "one").replace("target: session\nidle: 10m\n", "")})
    done = run("try", "session-0", "--session", folder=folder)
    assert done.returncode == 2
    assert "no rubric that is on judges sessions" in done.stderr


def test_the_plan_takes_the_sessions_that_the_service_takes(
    run: Run, folder: Path, config: Config, service: OpenService, traffic: Traffic, tmp_path: Path
) -> None:
    traffic.add(30, ended_ago=20 * 60)

    def planned(*more: str) -> dict[str, Any]:
        done = run("plan", "--last", "1h", "--json", *more, folder=folder)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    document = planned()
    (found,) = document["evaluators"]
    assert (document["sessions"], document["session_traces_read"]) == (10, 30)
    with service(folder) as app:
        done = sweep(app, timedelta(hours=1), drain=True, threads=2)
    assert done.as_json()["evaluations"]["scored"] == found["scores"] == found["taken"] == 10
    assert 1.0 < found["input_tokens"] / done.used.input_tokens < 2.0  # the answer's schema is counted too

    old = tmp_path / "old"
    (old / "rubrics").mkdir(parents=True)
    (old / "rubrics" / "whole.yaml").write_text(OF_ONE)
    (old / "evaluator.yaml").write_text(SERVICE)
    assert planned("--against", str(old))["moved"] == {"whole": {"gained": 10, "lost": 0}}


def test_two_versions_judge_the_same_sessions(
    run: Run, folder: Path, traffic: Traffic, sandbox: Sandbox, tmp_path: Path
) -> None:
    traffic.add(12, ended_ago=20 * 60)
    before = tmp_path / "before.yaml"
    before.write_text(WHOLE.replace("Did the user", "Did this user"))
    done = run("rubric", "diff", "whole", "--against", str(before), "--sample", "3", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["sessions"] == 3
    assert {pair["session_id"] for pair in document["pairs"]} < {f"session-{number}" for number in range(4)}
    assert all(pair["url"].endswith(f"/sessions/{pair['session_id']}") for pair in document["pairs"])
    assert sandbox.model.calls == 6
    assert sandbox.langfuse.all_scores() == []


def test_two_models_are_held_against_what_people_said_of_sessions(
    run: Run, folder: Path, traffic: Traffic, sandbox: Sandbox
) -> None:
    traffic.add(12, ended_ago=20 * 60)
    said = [annotated(number, number + 1, ago=0.0, sessionId=f"session-{number}", traceId=None) for number in range(4)]
    load(sandbox, [*said, annotated(5, 3, ago=0.0)])  # the last one is about a trace
    arguments = ("compare", "whole", "--model", "gpt-5.4", "--against", "quality", "--json")
    done = run("rubric", *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["traces"], found["judged_by_both"]) == (4, 4)
    assert {flip["session_id"] for flip in found["flips"]} <= {f"session-{number}" for number in range(4)}
    nobody = run("rubric", *arguments[:-2], "none", folder=folder)
    assert nobody.returncode == 2
    assert "nobody gave a score 'none' to a session that whole judges" in nobody.stderr
