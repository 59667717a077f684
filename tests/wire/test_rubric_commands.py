"""`evaluator rubric ...` as a person or CI runs it, against the model API stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import redis

from evaluator.status.overview import look
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Run, Traffic, everything

EXAMPLES = """
examples:
  - name: says how
    inputs:
      question: How long do I have to return a pair of shoes?
      answer: You have 30 days to return a pair of shoes. Print the label and hand the box in at any post office.
    expect: {at_least: 4}
  - name: evades
    inputs:
      question: How long do I have to return a pair of shoes?
      answer: Something went wrong, please try again later. Is there anything else I can help you with today?
    expect: {at_most: 2}
"""
WRONG = EXAMPLES.replace("{at_most: 2}", "{at_least: 5}")
NOWHERE = {
    "LANGFUSE_BASE_URL": "http://127.0.0.1:1",
    "LANGFUSE_PUBLIC_KEY": "",
    "LANGFUSE_SECRET_KEY": "",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


@pytest.fixture
def folder(config: Config) -> Path:
    return config(rubrics={"helpfulness": RUBRIC + EXAMPLES})


def test_examples_as_expected_end_well_with_neither_langfuse_nor_redis(
    run: Run, folder: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    before = sandbox.langfuse.counts()
    done = run("rubric", "test", folder=folder, COLUMNS="80", **NOWHERE)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 examples as expected; 2 judge calls" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    first, last, note = done.stderr.splitlines()[-3:]
    assert first == "answers: 2 to come"
    assert last.startswith("answers: 2 of 2 in ")
    assert note.startswith("note: the status page will not show this: Redis does not answer")
    assert sandbox.langfuse.counts() == before
    assert not (tmp_path / ".evaluator").exists()


def test_what_they_came_to_is_shown_where_the_service_runs(
    run: Run, config: Config, service: OpenService, sandbox: Sandbox
) -> None:
    folder = config(rubrics={"helpfulness": RUBRIC + WRONG})
    assert run("rubric", "test", folder=folder).returncode == 1
    with service(folder) as app:
        (kept,) = app.tests.all().values()
        assert (kept.passed, kept.failed, kept.version) == (1, 1, app.definitions.rubrics()[0].version)
        assert run("rubric", "test", folder=folder, OPENAI_BASE_URL=f"{sandbox.model_url}/v2").returncode == 3
        assert list(app.tests.all().values()) == [kept], "who could not be asked says nothing"
        trust = look(app, open_queue(app), app.clock.now()).as_json()["judges"]["helpfulness"]
    assert trust["golden_tests"]["failed"] == 1
    assert trust["agreement"] is None
    assert "1 of 2 as expected" in run("status", folder=folder).stdout


def test_an_example_that_is_not_as_expected_fails_the_build(run: Run, config: Config, tmp_path: Path) -> None:
    folder = config(rubrics={"helpfulness": RUBRIC + WRONG})
    report = tmp_path / "reports" / "rubrics.xml"
    done = run("rubric", "test", "--repeat", "3", "--json", "--junit", str(report), folder=folder)
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    document = json.loads(line)
    assert (document["passed"], document["failed"], document["flaky"]) == (1, 1, 0)
    assert document["judge"]["calls"] == 6
    root = ET.fromstring(report.read_bytes())
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "1", "0")
    failure = root.find(".//testcase[@name='evades']/failure")
    assert failure is not None
    assert str(failure.get("message")).startswith("expected ≥ 5, got 3x ")


def test_one_that_could_not_be_asked_has_an_exit_code_of_its_own(
    run: Run, folder: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    report = tmp_path / "rubrics.xml"
    done = run("rubric", "test", "--junit", str(report), folder=folder, OPENAI_BASE_URL=f"{sandbox.model_url}/v2")
    assert done.returncode == 3
    assert "2 could not be asked" in done.stdout
    assert done.stdout.count("check the rubric's model and OPENAI_BASE_URL") == 1
    assert [error.get("type") for error in ET.fromstring(report.read_bytes()).iter("error")] == ["model_refused"] * 2


@pytest.mark.parametrize(
    ("rubrics", "arguments", "said"),
    [
        ({"helpfulness": RUBRIC + EXAMPLES}, ["helpfullness"], "'helpfullness'; did you mean 'helpfulness'?"),
        ({"helpfulness": RUBRIC}, [], "there is nothing to test"),
    ],
)
def test_what_cannot_be_tested_is_a_usage_error(
    run: Run, config: Config, rubrics: dict[str, str], arguments: list[str], said: str
) -> None:
    done = run("rubric", "test", *arguments, folder=config(rubrics=rubrics))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


STRICT = RUBRIC.replace("1 is useless", "Be strict. 1 is useless")
OTHER_SCALE = STRICT.replace("max: 5", "max: 9")
NEEDY = RUBRIC.replace(
    "{question: $.root.input, answer: $.root.output}", "{tools: \"$.observations[?@.type=='TOOL'].name\"}"
)


def test_two_versions_judge_the_same_traces_and_no_score_is_written(
    run: Run, config: Config, traffic: Traffic, sandbox: Sandbox, valkey: redis.Redis, tmp_path: Path
) -> None:
    traffic.add(40)
    before = tmp_path / "before.yaml"
    before.write_text(RUBRIC)
    done = run(
        *("rubric", "diff", "helpfulness", "--against", str(before), "--sample", "12", "--last", "1h", "--noise"),
        folder=config(rubrics={"helpfulness": OTHER_SCALE}),
        COLUMNS="80",
    )
    assert done.returncode == 0, done.stderr
    for said in ("helpfulness: 12 traces", "12 of 12 differ: 100%", "on a scale of 0 to 1", "differ (0% to 26%)"):
        assert said in done.stdout
    assert sandbox.model.calls == 36
    assert sandbox.langfuse.all_scores() == []
    assert {route.split(" ")[0] for route in sandbox.langfuse.counts()["requests"]} == {"GET"}
    assert everything(valkey) == {}


def test_the_same_traffic_gives_the_same_sample(run: Run, config: Config, traffic: Traffic, tmp_path: Path) -> None:
    traffic.add(30)
    folder = config()
    folder.rename(tmp_path / "before")
    command = ("rubric", "diff", "helpfulness", "--against", str(tmp_path / "before"), "--sample", "5", "--json")
    folder = config(rubrics={"helpfulness": f"{STRICT}enabled: false\n"})  # one that does not run yet
    first, second = (json.loads(run(*command, folder=folder).stdout) for _ in range(2))
    assert [pair["trace_id"] for pair in first["pairs"]] == [pair["trace_id"] for pair in second["pairs"]]
    assert (first["traces"], first["after"]["calls"], first["differ"]["value"]) == (5, 5, 0.0)
    assert first["before"]["version"] != first["after"]["version"]


def test_traces_that_neither_version_can_judge_are_counted_and_replaced(
    run: Run, config: Config, traffic: Traffic, tmp_path: Path
) -> None:
    traffic.add(12)
    before = tmp_path / "before.yaml"
    before.write_text(NEEDY)
    same = run(
        *("rubric", "diff", "helpfulness", "--against", str(before), "--sample", "4", "--last", "1h", "--json"),
        folder=config(rubrics={"helpfulness": NEEDY.replace("helps", "really helps")}),
    )
    document = json.loads(same.stdout)
    assert (document["traces"], document["skipped_by_both"], document["differ"]) == (0, 12, None)


@pytest.mark.parametrize(
    ("old", "code", "said"),
    [
        (RUBRIC.replace("Does the answer help?", "Other words."), 0, "nothing that could change a verdict"),
        (RUBRIC.replace("criteria:", "critera:"), 2, "before.yaml:6:1: critera: is not known here; did you mean"),
    ],
)
def test_an_old_version_that_is_the_same_or_broken(
    run: Run, config: Config, sandbox: Sandbox, tmp_path: Path, old: str, code: int, said: str
) -> None:
    before = tmp_path / "before.yaml"
    before.write_text(old)
    done = run("rubric", "diff", "helpfulness", "--against", str(before), folder=config())
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert sandbox.model.calls == 0


def test_a_model_that_only_the_old_folder_has_a_price_for_is_not_free(
    run: Run, config: Config, traffic: Traffic, tmp_path: Path
) -> None:
    traffic.add(4)
    prices = "models: {prices: {judge-of-old: {input: 100, output: 400}}}\n"
    config(rubrics={"helpfulness": f"{RUBRIC}judge: {{model: judge-of-old}}\n"}, service=SERVICE + prices).rename(
        tmp_path / "before"
    )
    command = ("rubric", "diff", "helpfulness", "--against", str(tmp_path / "before"), "--sample", "2", "--json")
    done = run(*command, folder=config(rubrics={"helpfulness": RUBRIC}))
    assert done.returncode == 0, done.stderr
    before = json.loads(done.stdout)["before"]
    paid = (100 * before["input_tokens"] + 400 * before["output_tokens"]) / 1e6
    assert before["usd"] == pytest.approx(paid)
    assert paid > 0
