"""`evaluator plan`: past traffic under the definitions, and under others; compared with what the service then does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from evaluator.service import sweep
from sandbox.server import Sandbox
from tests.serving import RUBRIC, RULES, SERVICE, Config, OpenService, Run, Traffic, everything, trace_id

PRICED = SERVICE + "models: {prices: {gpt-5.4-mini: {input: 1, output: 10}}}\n"
HALF = RUBRIC.replace("rate: 1", "rate: 0.5")
NEEDY = """
name: needy
sample: [{rate: 1}]
inputs: {documents: "$.observations[?@.type == 'TOOL'].output"}
criteria: Is it good?
score: {type: boolean}
"""
ERRORS = HALF.replace("helpfulness", "errors").replace("sample:", "when: {level: ERROR}\nsample:")


def planned(run: Run, folder: Path, *arguments: str, **changes: str) -> dict[str, Any]:
    done = run("plan", "--json", *arguments, folder=folder, **changes)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    document: dict[str, Any] = json.loads(line)
    return document


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in document["evaluators"]}


def test_it_foretells_what_the_service_then_does_and_touches_nothing(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox, service: OpenService, valkey: redis.Redis
) -> None:
    traffic.add(60)
    folder = config(service=PRICED, rubrics={"helpfulness": HALF, "needy": NEEDY, "errors": ERRORS})
    document = planned(run, folder, "--last", "1h")
    assert sandbox.model.calls == 0
    assert sandbox.langfuse.all_scores() == []
    assert {route.split(" ")[0] for route in sandbox.langfuse.counts()["requests"]} == {"GET"}
    assert everything(valkey) == {}
    with service() as app:
        done = sweep(app, timedelta(hours=1), drain=True, threads=2)
    counts = {(name, state): number for (name, state, _), number in done.funnel.items()}
    found = by_name(document)
    assert document["traces"] == 60
    for name, each in found.items():
        assert each["taken"] == counts.get((name, "sampled"), 0)
        assert each["matches"] == each["taken"] + counts.get((name, "sampled_out"), 0)
        assert each["scores"] == counts.get((name, "scored"), 0)
    assert found["needy"]["skipped"] == {"no documents": 60}
    assert found["errors"]["matches"] == 0
    helpfulness = found["helpfulness"]
    assert helpfulness["calls"] == done.used.calls == sandbox.model.calls
    # Prompts are estimated by their length, and so does the stand-in count them; it leaves out the answer's schema.
    assert 1.0 < helpfulness["input_tokens"] / done.used.input_tokens < 1.4
    cost = (helpfulness["input_tokens"] + 10 * helpfulness["output_tokens"]) / 1e6
    assert helpfulness["usd"] == pytest.approx(cost, rel=0.01)


def test_rubrics_of_a_group_share_their_calls_as_they_will(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox, service: OpenService
) -> None:
    traffic.add(12)
    judge = "judge: {group: quality}\n"
    rubrics = {name: RUBRIC.replace("helpfulness", name) + judge for name in ("first", "second", "third")}
    document = planned(run, config(service=PRICED, rubrics=rubrics), "--last", "1h")
    with service() as app:
        done = sweep(app, timedelta(hours=1), drain=True, threads=2)
    found = [each for each in document["evaluators"] if each["kind"] == "rubric"]
    assert sum(each["calls"] for each in found) == done.used.calls == sandbox.model.calls == 12
    # As above; the schema of a group's answer is longer.
    assert 1.0 < sum(each["input_tokens"] for each in found) / done.used.input_tokens < 2.0


def test_rounds_of_anchors_are_in_the_table_alone_though_their_rubric_shares_its_calls(
    run: Run, config: Config, traffic: Traffic
) -> None:
    traffic.add(12)
    judge = "judge: {group: quality}\n"
    rubrics = {name: RUBRIC.replace("helpfulness", name) + judge for name in ("first", "second")}
    rubrics["first"] += "anchors: {size: 30, samples: 2}\n"
    folder = config(service=PRICED, rules="[]", rubrics=rubrics)
    found = by_name(planned(run, folder, "--last", "1h"))
    assert found["second"]["anchors_a_week"] is None
    a_week = found["first"]["anchors_a_week"]
    assert (a_week["calls"], a_week["output_tokens"]) == (60.0, 60 * 150)
    assert a_week["input_tokens"] / 60 > found["first"]["input_tokens"] / 12  # the group's prompt is shared by two
    assert a_week["usd"] == pytest.approx((a_week["input_tokens"] + 10 * a_week["output_tokens"]) / 1e6)
    done = run("plan", "--last", "7d", folder=folder, COLUMNS="100")
    lines = [line.split() for line in done.stdout.splitlines()]
    (own,) = (line for line in lines if line[:5] == ["its", "anchors,", "60", "a", "week"])
    assert own[5] == "60"
    (together,) = (line for line in lines if line[:1] == ["together"])
    assert together[1] == "72"


OF_STEPS = """
name: search
target: observation
observe: {type: [RETRIEVER, GENERATION]}
sample: [{rate: 1}]
inputs: {found: $.observation.output}
criteria: Is it good?
score: {type: boolean}
"""
OF_SESSIONS = """
name: whole
target: session
sample: [{rate: 1}]
inputs: {all: transcript}
criteria: Is it good?
score: {type: boolean}
"""


def test_observations_are_counted_each_and_so_are_sessions(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox
) -> None:
    traffic.add(6, ended_ago=45 * 60)
    folder = config(service=PRICED, rules="[]", rubrics={"search": OF_STEPS, "whole": OF_SESSIONS})
    document = planned(run, folder, "--last", "1h")
    found, whole = document["evaluators"]
    # Each trace has a retriever with an output and a generation without one.
    assert (found["name"], found["taken"], found["scores"], found["calls"]) == ("search", 6, 6.0, 6.0)
    assert found["skipped"] == {"no found": 6}
    assert (whole["target"], whole["taken"], whole["scores"], whole["calls"]) == ("session", 2, 2.0, 2.0)
    assert whole["input_tokens"] > found["input_tokens"] / 6
    assert (document["sessions"], document["session_traces_read"]) == (2, 6)
    tried = json.loads(run("try", trace_id(0), "--json", folder=folder).stdout)["evaluators"]
    assert [(each["name"], each["observation_id"], each["outcome"]["is"]) for each in tried] == [
        ("search", "retriever-0", "verdict"),
        ("search", "generation-0", "not_applicable"),
        ("whole", None, "not_applicable"),
    ]
    assert sandbox.model.calls == 1


def test_only_some_traces_are_read_whole_and_it_says_so(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox
) -> None:
    traffic.add(130)
    folder = config(service=PRICED, rubrics={"helpfulness": HALF, "needy": NEEDY})
    done = run("plan", "--last", "1h", "--content", "20", folder=folder, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "130 traces finished in the last 1h" in text
    assert "20 were read whole, and what is skipped, tokens and cost follow from these" in text
    assert re.search(r"skipped by needy: no documents \((\d+) of the \1 read\)", text)
    assert "assumed: 150 tokens an answer" in text
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert sandbox.model.calls == 0
    assert done.stderr.splitlines()[-1].startswith("traces listed: 130 in ")


def test_without_content_nothing_is_claimed_about_cost(run: Run, config: Config, traffic: Traffic) -> None:
    traffic.add(5)
    found = by_name(planned(run, config(service=PRICED), "--last", "1h", "--content", "0"))
    assert (found["helpfulness"]["taken"], found["helpfulness"]["usd"]) == (5, None)


def test_what_another_configuration_changes(run: Run, config: Config, traffic: Traffic, tmp_path: Path) -> None:
    traffic.add(40)
    old = config(service=PRICED, rules=RULES, rubrics={"helpfulness": RUBRIC, "gone": NEEDY.replace("needy", "gone")})
    before = tmp_path / "before"
    old.rename(before)
    now = config(
        service=PRICED, rules="- {name: answered, rule: not_empty}", rubrics={"helpfulness": HALF, "needy": NEEDY}
    )
    document = planned(run, now, "--last", "1h", "--against", str(before))
    taken = by_name(document)["helpfulness"]["taken"]
    assert document["moved"]["helpfulness"] == {"gained": 0, "lost": 40 - taken}
    assert {each["name"] for each in document["before"]["evaluators"]} == {
        "answered",
        "no-errors",
        "helpfulness",
        "gone",
    }
    text = run("plan", "--last", "1h", "--against", str(before), folder=now, COLUMNS="120").stdout
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert "is new" in lines["needy"]
    assert "is gone" in lines["gone"]
    assert f"another sample; takes 0 traces it did not, leaves {40 - taken} 40 {taken}" in lines["helpfulness"]
    assert "1 evaluators stay as they are" in text


def test_a_limit_that_is_too_small_is_told(run: Run, config: Config, traffic: Traffic) -> None:
    traffic.add(90)
    tight = PRICED + "limits: {model_requests_per_minute: 1, langfuse_requests_per_minute: 1000}\n"
    folder = config(service=tight)
    document = planned(run, folder, "--last", "2h", REDIS_URL="")
    model = next(each for each in document["requests_a_minute"] if each["of"] == "model API")
    assert (model["allowed"], model["fits"]) == (1, False)
    assert model["busiest"] <= 1.5
    done = run("plan", "--last", "2h", folder=folder)
    assert "OVER model API, requests a minute: " in done.stdout
    assert "ok   Langfuse, requests a minute: " in done.stdout


def test_scores_that_came_after_the_service_had_looked_do_not_count(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox
) -> None:
    first, second = traffic.add(2, ended_ago=1800)
    now = datetime.now(UTC)
    sandbox.langfuse.load_scores(
        [
            {"name": "feedback", "value": 1, "dataType": "NUMERIC", "traceId": trace, "timestamp": at.isoformat()}
            for trace, at in ((first, now - timedelta(seconds=1799)), (second, now - timedelta(seconds=60)))
        ]
    )
    asked = RUBRIC.replace("[{rate: 1}]", "[{when: {score: {name: feedback, at_least: 1}}, rate: 1}]")
    document = planned(run, config(rubrics={"helpfulness": asked}), "--last", "1h")
    assert by_name(document)["helpfulness"]["taken"] == 1
    assert document["late_scores"] == {"feedback": {"all": 2, "late": 1}}


def test_a_folder_with_mistakes_is_told_with_their_place(run: Run, config: Config, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "rules.yaml").write_text("- {name: a, rule: not_emty}")
    done = run("plan", "--against", str(tmp_path / "old"), folder=config())
    assert done.returncode == 2
    assert "rules.yaml:1:13: rule: unknown kind 'not_emty'; did you mean 'not_empty'?" in done.stderr
