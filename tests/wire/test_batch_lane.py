"""Judge calls through the provider's batches: the same scores, once each, whatever becomes of a batch."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from evaluator.app import App
from evaluator.errors import Unavailable
from evaluator.sampling.jobs import Job, Lane
from evaluator.scoring.batch_lane import TRIES
from evaluator.service import sweep
from evaluator.status.overview import look
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Traffic

RUBRIC: Final = """
name: helpfulness
sample: [{rate: 1}]
inputs: {question: $.root.input, answer: $.root.output}
criteria: Judge whether the answer helps the person who asked.
score: {type: numeric, min: 1, max: 5}
judge: {lane: batch}
"""
SERVICE: Final = """
discovery: {every: 1s, quiet_for: 1s, max_wait: 30s, overlap: 5m, longest_trace: 1h}
judges: {trace: off}
models: {prices: {gpt-5.4-mini: {input: 1, output: 10}}}
batches: {every: 10m}
"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider takes hours and is looked at ever less often; the stand-in takes no time."""
    monkeypatch.setattr("evaluator.service._FIRST_LOOK_SECONDS", 0.1)
    monkeypatch.setattr("evaluator.service._LONGEST_LOOK_SECONDS", 0.3)


@pytest.fixture
def folder(config: Config) -> Path:
    return config(rules="[{name: answered, rule: not_empty}]", rubrics={"helpfulness": RUBRIC}, service=SERVICE)


def swept(app: App) -> dict[str, Any]:
    return sweep(app, timedelta(hours=1), drain=True, threads=2).as_json()


def pairs(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def values(sandbox: Sandbox) -> dict[str, Any]:
    return {s["traceId"]: s["value"] for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness"}


def once(ids: list[str]) -> Counter[tuple[str, str]]:
    return Counter({(i, name): 1 for i in ids for name in ("answered", "helpfulness")})


def test_a_batch_gives_the_scores_of_single_calls_at_half_the_price(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path, config: Config, valkey: Any
) -> None:
    ids = traffic.add(20)
    with service(folder) as app:
        done = swept(app)
    assert done["evaluations"] == {"sampled": 40, "scored": 40}
    counts = sandbox.model.counts()
    assert (counts["calls"], counts["batches"], counts["batched"], counts["files"]) == (0, 1, 20, 0)
    assert pairs(sandbox) == once(ids)
    by_batch = values(sandbox)
    assert {s["metadata"].get("lane") for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness"} == {"batch"}
    valkey.flushall()
    live = config(rubrics={"helpfulness": RUBRIC.replace("lane: batch", "lane: live")}, rules="[]", service=SERVICE)
    with service(live) as app:
        single = swept(app)
    assert values(sandbox) == by_batch
    assert done["judge"]["input_tokens"] == single["judge"]["input_tokens"]
    assert done["judge"]["usd"] == pytest.approx(single["judge"]["usd"] / 2)


@pytest.mark.parametrize(
    "faults", [{"expired": 0.6}, {"line_errors": 0.3, "lost_lines": 0.2}, {"failed": 1.0}, {"unsupported": True}]
)
def test_what_a_batch_does_not_answer_is_sent_again_or_asked_alone(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path, faults: dict[str, Any]
) -> None:
    for name, value in faults.items():
        setattr(sandbox.model.batches.faults, name, value)
    ids = traffic.add(20)
    with service(folder) as app:
        done = swept(app)
    assert done["evaluations"] == {"sampled": 40, "scored": 40}
    assert pairs(sandbox) == once(ids)
    assert sandbox.model.counts()["batches"] <= TRIES
    assert max(Counter(sandbox.model.batches.answers).values(), default=1) == 1


def test_what_a_reasoning_model_does_not_know_is_left_out_of_the_next_batch(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path
) -> None:
    sandbox.model.refuse_temperature = sandbox.model.refuse_json_schema = sandbox.model.refuse_json_object = True
    ids = traffic.add(5)
    with service(folder) as app:
        assert swept(app)["evaluations"] == {"sampled": 10, "scored": 10}
    assert pairs(sandbox) == once(ids)
    counts = sandbox.model.counts()
    # One batch for each thing it does not know: none of them counts as a try, and nothing is asked at full price.
    assert (counts["calls"], counts["batches"], counts["batched"]) == (0, 4, 5)


def test_a_batch_holds_questions_for_one_model(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    other = RUBRIC.replace("name: helpfulness", "name: tone").replace("{lane: batch}", "{lane: batch, model: gpt-5.4}")
    priced = SERVICE.replace("{gpt-5.4-mini:", "{gpt-5.4: {input: 1, output: 10}, gpt-5.4-mini:")
    traffic.add(4)
    with service(config(rules="[]", rubrics={"helpfulness": RUBRIC, "tone": other}, service=priced)) as app:
        assert swept(app)["evaluations"] == {"sampled": 8, "scored": 8}
    counts = sandbox.model.counts()
    assert (counts["calls"], counts["batches"], counts["batched"]) == (0, 2, 8)


def by_hand(app: App, jobs: list[Job]) -> list[tuple[tuple[Job, ...], Lane]]:
    """Evaluate jobs without a queue; return what came back."""
    return [(again.jobs, again.lane) for again in app.evaluation.evaluate(jobs)]


def discovered(app: App) -> list[Job]:
    jobs: list[Job] = []
    app.discovery(jobs.extend).since(app.clock.now() - timedelta(hours=1))
    return jobs


def test_questions_wait_outside_the_queue_for_others(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path
) -> None:
    traffic.add(3)
    with service(folder) as app:
        jobs = discovered(app)
        assert by_hand(app, jobs) == by_hand(app, jobs) == []
        back: list[Job] = []
        assert app.batches.step(back.extend, "me") == 3
        assert sandbox.model.counts()["batches"] == 0
        assert app.batches.step(back.extend, "me", at_once=True) == 3
        assert look(app, open_queue(app), app.clock.now()).as_json()["batches"] == {"waiting": 0, "sent": 3}
        assert by_hand(app, jobs) == []
        assert app.batches.step(back.extend, "me", at_once=True) == 0
        assert len(back) == 3
        assert by_hand(app, back) == []
    assert sandbox.model.counts()["batched"] == 3
    assert len(values(sandbox)) == 3


def test_replies_are_taken_though_their_model_takes_no_calls(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    tone = RUBRIC.replace("helpfulness", "tone").replace("lane: batch", "lane: live")
    folder = config(rules="[]", rubrics={"helpfulness": RUBRIC, "tone": tone}, service=SERVICE)
    traffic.add(3)
    back: list[Job] = []
    with service(folder) as app:
        app.circuits.open("gpt-5.4-mini", "the credit is used up")
        ((_, lane),) = by_hand(app, discovered(app))
        assert lane is Lane.PATIENT
        app.batches.step(back.extend, "me", at_once=True)
        app.batches.step(back.extend, "me")
        assert app.evaluation.evaluate(back, Lane.PATIENT) == []
    assert len(values(sandbox)) == 3
    assert sandbox.model.counts()["calls"] == 0


def test_a_restart_goes_on_where_it_was(sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path) -> None:
    ids = traffic.add(5)
    sandbox.model.batches.faults.seconds = 3600
    back: list[Job] = []
    with service(folder) as app:
        by_hand(app, discovered(app))
        app.batches.step(back.extend, "first", at_once=True)
        assert app.batches.step(back.extend, "first", at_once=True) == 5
    sandbox.model.batches.faults.seconds = 0
    with service(folder) as app:
        assert app.batches.step(back.extend, "second") == 0
        by_hand(app, back)
    assert pairs(sandbox) == once(ids)
    assert sandbox.model.counts()["batched"] == 5


def test_a_batch_whose_answer_was_lost_is_found_by_its_label(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic.add(5)
    back: list[Job] = []
    with service(folder) as app:
        by_hand(app, discovered(app))
        sandbox.model.faults.change({"lost_answers": 1.0, "paths": "batches"})
        with pytest.raises(Unavailable):
            app.batches.step(back.extend, "me", at_once=True)
        sandbox.model.faults.clear()
        assert app.batches.step(back.extend, "me", at_once=True) == 5
        assert sandbox.model.counts()["batches"] == 1
        monkeypatch.setattr("evaluator.scoring.batch_lane._LOST_AFTER", timedelta())
        app.batches.step(back.extend, "me")
        assert app.batches.step(back.extend, "me") == 0
        by_hand(app, back)
    assert (sandbox.model.counts()["batches"], sandbox.model.counts()["batched"]) == (1, 5)
    assert len(values(sandbox)) == 5


def test_a_crash_between_reply_and_queue_repeats_a_step_and_pays_nothing_twice(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path
) -> None:
    ids = traffic.add(5)
    back: list[Job] = []

    def dies(jobs: Any) -> None:
        raise Unavailable("the process dies")

    with service(folder) as app:
        by_hand(app, discovered(app))
        app.batches.step(back.extend, "me", at_once=True)
        with pytest.raises(Unavailable):
            app.batches.step(dies, "me")
        assert app.batches.step(back.extend, "me") == 0
        by_hand(app, back)
        by_hand(app, back)
    assert pairs(sandbox) == once(ids)
    assert sandbox.model.counts()["batched"] == 5


def test_only_one_process_moves_batches(sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path) -> None:
    traffic.add(2)
    with service(folder) as app:
        by_hand(app, discovered(app))
        app.state.lease("batches", "another", timedelta(minutes=1))
        assert app.batches.step(list[Job]().extend, "me", at_once=True) == 2
    assert sandbox.model.counts()["batches"] == 0


def test_no_prompt_is_kept_in_redis(service: OpenService, traffic: Traffic, folder: Path, valkey: Any) -> None:
    traffic.add(2, output="Ada lives at 7 Elm Street.")
    with service(folder) as app:
        by_hand(app, discovered(app))
        app.batches.step(list[Job]().extend, "me", at_once=True)
        held = [valkey.dump(key) for key in valkey.scan_iter("evaluator:batch:*")]
    assert held
    assert not any(b"Elm Street" in data for data in held)


STEPS: Final = """
name: steps
target: observation
observe: {type: [RETRIEVER, GENERATION]}
sample: [{rate: 1}]
inputs: {step: $.observation}
criteria: Is the step fine?
score: {type: boolean}
judge: {lane: batch}
"""


def test_a_pair_of_several_questions_returns_when_all_are_answered_or_asked_alone(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    sandbox.model.batches.faults.expired = 0.6
    traffic.add(10)
    with service(config(rules="[]", rubrics={"steps": STEPS}, service=SERVICE)) as app:
        assert swept(app)["evaluations"] == {"sampled": 10, "scored": 10}
    found = Counter(score["observationId"] for score in sandbox.langfuse.all_scores())
    assert found == Counter({f"{kind}-{n}": 1 for n in range(10) for kind in ("retriever", "generation")})
    assert sandbox.model.counts()["batched"] + sandbox.model.counts()["calls"] == 20
    assert max(Counter(sandbox.model.batches.answers).values()) == 1


def test_a_change_of_the_rubric_while_a_batch_is_away_judges_anew(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, folder: Path, config: Config
) -> None:
    ids = traffic.add(3)
    back: list[Job] = []
    with service(folder) as app:
        by_hand(app, discovered(app))
        app.batches.step(back.extend, "me", at_once=True)
    changed = config(
        rules="[{name: answered, rule: not_empty}]",
        rubrics={"helpfulness": RUBRIC.replace("helps the person", "really helps the person")},
        service=SERVICE,
    )
    with service(changed) as app:
        for _ in range(2):
            while app.batches.step(back.extend, "me", at_once=True):
                pass
            assert by_hand(app, back) == []
        version = next(e.version for e in app.definitions.evaluators if e.name == "helpfulness")
    assert pairs(sandbox) == once(ids)
    assert {
        s["metadata"]["evaluator_version"] for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness"
    } == {version}
