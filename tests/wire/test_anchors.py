"""Was it the app or the judge? Frozen traces are judged again over the wire, and alerts say which of the two it was."""

from __future__ import annotations

import json
import re
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from threading import Event, Thread, current_thread
from typing import Any, Final

import pytest
import redis

from evaluator.app import App, Desk
from evaluator.calibration.anchors import dataset_of
from evaluator.errors import Unavailable
from evaluator.model import Ended
from evaluator.pages.report import gather
from evaluator.pages.report_page import page
from evaluator.sampling.jobs import NOTHING_WAITS
from evaluator.scheduler import Scheduler
from evaluator.scoring.calls import Asked
from evaluator.service import sweep
from evaluator.state.anchor_rounds import Known
from evaluator.status.overview import look as status_of
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.labelling import load, ours
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Run, Traffic, WrongClock, everything

ANCHORED: Final = RUBRIC.replace("max: 5}", "max: 5, step: 0.1}") + "anchors: {size: 30}\n"
MONITOR: Final = "- {score: helpfulness, smallest_drop: 2%}\n"
MODEL: Final = "gpt-5.4-mini"
DATASET: Final = dataset_of("helpfulness")
EVASIVE: Final = "Something went wrong, please try again later."
WEEK: Final = timedelta(days=7)
DAY: Final = 86_400.0


class Weeks:
    """An application whose traffic of two weeks is judged for real, before it eleven weeks like the first of them."""

    def __init__(self, sandbox: Sandbox, traffic: Traffic, app: App, clock: WrongClock) -> None:
        self._sandbox = sandbox
        self._traffic = traffic
        self.app = app
        self._clock = clock

    def first(self, *, history: bool = True) -> None:
        """Judge the traffic of the week before this one, at its end, and ask about anchors."""
        self._clock.wrong = -WEEK
        self._judge(0, days_ago=7)
        rows = [row for row in self._sandbox.langfuse.all_scores() if row["name"] == "helpfulness"]
        for week in range(1, 12 if history else 1):
            self._sandbox.langfuse.load_scores(_earlier(row, week) for row in rows)
        self.app.anchoring.due()

    def second(self, **fields: Any) -> None:
        """Judge the traffic of this week."""
        self._clock.wrong = timedelta()
        self._judge(200, days_ago=0, **fields)

    def at(self, later: timedelta) -> None:
        """Set the clock, against the end of this week."""
        self._clock.wrong = later

    def look(self) -> list[str]:
        """Look at the score, and return all that people were told so far."""
        self.app.watch.look()
        return [json.dumps(message, ensure_ascii=False) for message in self._sandbox.slack.messages]

    def _judge(self, first: int, *, days_ago: float, **fields: Any) -> None:
        for day in range(6):
            self._traffic.add(9, first=first + 9 * day, ended_ago=(days_ago + day + 0.5) * DAY, **fields)
        sweep(self.app, WEEK, drain=True, threads=4)
        self.app.model.accept()  # a process that only sweeps asks nobody afterwards


def _earlier(row: dict[str, Any], week: int) -> dict[str, Any]:
    when = (datetime.fromisoformat(row["timestamp"]) - timedelta(weeks=week)).isoformat()
    kept = {key: row[key] for key in ("name", "value", "dataType", "metadata", "environment", "comment")}
    return {**kept, "id": f"{row['id']}-{week}", "traceId": f"{week:02}{row['traceId'][2:]}", "timestamp": when}


@pytest.fixture
def weeks(sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic) -> Iterator[Weeks]:
    clock = WrongClock()
    folder = config(rules="[]", rubrics={"helpfulness": ANCHORED}, monitors=MONITOR)
    with service(folder, clock=clock) as app:
        yield Weeks(sandbox, traffic, app, clock)


def test_a_judge_that_got_stricter_is_told_and_no_fall_of_the_app_is(weeks: Weeks, sandbox: Sandbox) -> None:
    weeks.first()
    sandbox.model.stricter_of[MODEL] = 0.25
    weeks.second()
    before = len([row for row in sandbox.langfuse.all_scores() if row["name"] == "helpfulness"])
    (said,) = weeks.look()
    assert "Judge helpfulness moved: it is stricter now" in said
    assert "the application is not in it" in said
    assert weeks.look() == [said]
    desk = Desk(**{field.name: getattr(weeks.app, field.name) for field in fields(Desk)})
    shown = page(gather(desk, weeks.app.definitions.monitors, 4, lambda _: None))
    assert "The judge moved on" in shown
    stands = status_of(weeks.app, open_queue(weeks.app), weeks.app.clock.now()).as_json()["anchors"]["helpfulness"]
    assert (stands["moved"], stands["how"].startswith("the judge moved on")) == (True, True)
    assert weeks.app.anchoring.known("helpfulness").state.opened is not None
    assert before == len([row for row in sandbox.langfuse.all_scores() if row["name"] == "helpfulness"])


def test_an_app_that_got_worse_is_told_as_such(weeks: Weeks, sandbox: Sandbox) -> None:
    weeks.first()
    weeks.second(output=EVASIVE)
    (said,) = weeks.look()
    assert "helpfulness fell" in said
    assert "*The app, not the judge:* on 30 frozen traces" in said
    assert len(weeks.app.anchoring.known("helpfulness").judgings) == 2


def test_a_judge_that_changed_within_the_week_is_taken_out_from_the_moment_its_new_name_was_seen(
    weeks: Weeks, sandbox: Sandbox
) -> None:
    """The provider says by a fingerprint that something changed: nobody waits for a week, or for a fall."""
    sandbox.model.fingerprint_of[MODEL] = "fp_old"
    weeks.first()
    weeks.app.anchoring.due()
    assert len(known(weeks).judgings) == 1
    sandbox.model.stricter_of[MODEL] = 0.25
    sandbox.model.fingerprint_of[MODEL] = "fp_new"
    weeks.second()
    weeks.app.anchoring.due()
    (said,) = weeks.look()
    assert "New among those who judge: `gpt-5.4-mini fp_new`." in said
    last = known(weeks).judgings[-1]
    assert last.judges == (f"{MODEL} fp_new",)
    assert last.round.since is not None
    assert last.round.since <= last.round.at
    scores = [row for row in sandbox.langfuse.all_scores() if row["name"] == "helpfulness"]
    assert {row["metadata"].get("judge_fingerprint") for row in scores} == {"fp_old", "fp_new"}


def test_a_judge_that_comes_back_is_told_once(weeks: Weeks, sandbox: Sandbox) -> None:
    weeks.first(history=False)
    anchoring = weeks.app.anchoring
    weeks.at(timedelta())
    sandbox.model.stricter_of[MODEL] = 0.25
    anchoring.due()
    sandbox.model.stricter_of.clear()
    weeks.at(WEEK)
    anchoring.due()
    weeks.at(2 * WEEK)
    anchoring.due()
    weeks.app.watch.deliver()
    moved, back = (json.dumps(message, ensure_ascii=False) for message in sandbox.slack.messages)
    assert "Judge helpfulness moved" in moved
    assert "Judge helpfulness is back where it was" in back


def test_anchors_are_frozen_once_and_judged_the_same_whatever_became_of_their_traces(
    weeks: Weeks, sandbox: Sandbox
) -> None:
    weeks.first(history=False)
    items = sandbox.langfuse.reviews.dataset(DATASET)
    assert len(items) == 30
    sessions = [item["metadata"]["session"] for item in items]
    assert max(map(sessions.count, sessions)) <= 2
    assert weeks.app.anchoring.make("helpfulness").items == 0
    before = [row["id"] for row in sandbox.langfuse.all_scores()]
    sandbox.langfuse.delete_traces([item["sourceTraceId"] for item in items])
    weeks.at(timedelta())
    weeks.app.anchoring.due()
    first, second = known(weeks).judgings
    assert first.round.values == second.round.values
    assert sandbox.langfuse.reviews.dataset(DATASET) == items
    written = [row["id"] for row in sandbox.langfuse.all_scores()]
    assert set(written) <= set(before)  # no score of a round is written, under any name


def test_what_langfuse_refuses_or_loses_on_the_way_makes_no_anchor_twice(weeks: Weeks, sandbox: Sandbox) -> None:
    sandbox.langfuse.faults.change({"paths": "dataset-items", "lost_answers": 0.3})
    weeks.first(history=False)
    sandbox.langfuse.faults.change({"paths": "dataset-items", "lost_answers": 0.0})
    items = sandbox.langfuse.reviews.dataset(DATASET)
    assert len(items) == len({item["sourceTraceId"] for item in items}) == 30


def test_a_wiped_redis_begins_anew_and_tells_nothing(weeks: Weeks, sandbox: Sandbox, valkey: redis.Redis) -> None:
    weeks.first(history=False)
    sandbox.model.stricter_of[MODEL] = 0.25
    valkey.flushall()
    weeks.at(timedelta())
    weeks.app.anchoring.due()
    weeks.app.watch.deliver()
    assert sandbox.slack.messages == []
    (only,) = known(weeks).judgings
    assert len(only.round.values) == 30


def test_without_money_or_a_model_no_round_is_kept_and_a_fall_is_told_all_the_same(
    weeks: Weeks, sandbox: Sandbox
) -> None:
    weeks.first()
    weeks.second(output=EVASIVE)
    sandbox.model.out_of_credit = True
    (closed, fell) = sorted(weeks.look())
    assert ("takes no calls" in closed + fell, "helpfulness fell" in closed + fell) == (True, True)
    assert "The app" not in closed + fell
    with pytest.raises(Unavailable, match="only 0 have an answer"):
        weeks.app.anchoring.due()
    assert len(known(weeks).judgings) == 1
    weeks.app.anchoring.due()  # not before an hour has passed


def test_nothing_of_a_frozen_trace_is_in_redis(weeks: Weeks, valkey: redis.Redis) -> None:
    weeks.first(history=False)
    held = everything(valkey)
    assert any(",anchors/helpfulness" in key for key in held)
    assert not any("within 30 days" in value for value in held.values())


def observed(sandbox: Sandbox, environment: str) -> list[dict[str, Any]]:
    key = b64encode(f"pk:{sandbox.secret_key}".encode()).decode()
    url = f"{sandbox.langfuse_url}/api/public/v2/observations?environment={environment}&fields=core,basic&limit=1000"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Basic {key}"})) as answer:
        rows: list[dict[str, Any]] = json.load(answer)["data"]
    return rows


def known(weeks: Weeks) -> Known:
    return weeks.app.anchoring.known("helpfulness")


def test_each_call_is_a_judge_trace_paid_by_the_rubric_and_no_kept_verdict_answers_it(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    file = SERVICE.replace("trace: off", "trace: all") + "cache: {expires: 7d}\n"
    folder = config(rules="[]", rubrics={"helpfulness": ANCHORED}, service=file)
    traffic.add(30)
    with service(folder, langfuse_public_key="pk-lf-anchors") as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
        app.model.accept()
        calls = sandbox.model.calls
        for _ in range(2):
            assert app.anchoring.judge("helpfulness") is not None
        assert sandbox.model.calls == calls + 40  # two of each session, twice
        assert app.state.spending()["helpfulness"].calls == sandbox.model.calls
        values = [each.round.values for each in app.anchoring.known("helpfulness").judgings]
        assert values[0] == values[1]
    judged = observed(sandbox, "llm-as-a-judge")
    assert len([row for row in judged if row["name"] == "judge helpfulness (anchor)"]) == 40
    assert len([row for row in judged if row["name"] == "judge helpfulness"]) == 30


def test_the_command_makes_anchors_asks_and_shows_the_rounds(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic, run: Run
) -> None:
    folder = config(rules="[]", rubrics={"helpfulness": ANCHORED, "plain": RUBRIC.replace("helpfulness", "plain")})
    assert "has no anchors; add `anchors: {}`" in run("anchors", "plain", folder=folder).stderr
    few = run("anchors", "--judge", folder=folder)
    assert (few.returncode, "too few scored traces; 10 of the last 28 days" in few.stdout) == (3, True)
    traffic.add(30)
    with service(folder) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
        app.model.accept()
        assert app.anchoring.judge("helpfulness") is not None
    done = run("anchors", "helpfulness", "--judge", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "the judge did not move: on 20 frozen traces" in done.stdout
    told = json.loads(run("anchors", "--anew", "--json", folder=folder).stdout)["helpfulness"]
    assert (told["dataset"], told["anchors"], len(told["rounds"])) == (DATASET, 20, 1)
    status = [item["status"] for item in sandbox.langfuse.reviews.dataset(DATASET)]
    assert status.count("ACTIVE") == 20


PARTS: Final = """
name: found
target: observation
observe: {type: RETRIEVER}
sample: [{rate: 1}]
inputs: {documents: $.observation.output}
criteria: Are these documents of any use?
score: {type: boolean}
anchors: {size: 20, samples: 2}
"""
TALKS: Final = """
name: talk
target: session
sample: [{rate: 1}]
inputs: {conversation: transcript}
criteria: Does the conversation end well?
score: {type: numeric, min: 0, max: 10}
anchors: {size: 20}
"""


def test_steps_and_sessions_are_anchors_too(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    rubrics = {"found": PARTS, "talk": TALKS}
    traces = traffic.add(45)
    for n, trace in enumerate(traces):
        load(sandbox, [ours(n, n % 2, name="found", kind="BOOLEAN", traceId=trace, observationId=f"retriever-{n}")])
    for n in range(15):
        load(sandbox, [{**ours(100 + n, n % 10, name="talk"), "traceId": None, "sessionId": f"session-{n}"}])
    with service(config(rules="[]", rubrics=rubrics)) as app:
        for name, items in (("found", 20), ("talk", 15)):
            found = app.anchoring.judge(name)
            assert found is not None
            assert (len(found.round.values), found.failed) == (items, {})
        assert sandbox.model.calls == 2 * 20 + 15
    steps = sandbox.langfuse.reviews.dataset(dataset_of("found"))
    assert all(item["sourceObservationId"].startswith("retriever-") for item in steps)
    assert {item["metadata"]["level"] for item in steps} == {0, 4}
    talks = sandbox.langfuse.reviews.dataset(dataset_of("talk"))
    assert all(len(item["input"]["traces"]) == 3 for item in talks)


def test_another_version_of_the_rubric_is_told_with_what_both_make_of_the_same_texts(
    weeks: Weeks, sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    weeks.first()
    weeks.app.watch.look()
    weeks.at(timedelta(days=-1))
    sandbox.model.stricter_of[MODEL] = -0.1
    assert weeks.app.anchoring.judge("helpfulness") is not None
    folder = config(
        rules="[]",
        rubrics={"helpfulness": ANCHORED.replace("1 is useless", "1 helps nobody")},
        monitors=MONITOR,
    )
    sandbox.model.stricter_of[MODEL] = 0.2
    with service(folder) as app:
        weeks.app = app
        weeks.second()
        app.anchoring.due()
        (moved, anew, said) = weeks.look()
    assert "Judge helpfulness moved: it is kinder now" in moved
    assert "Judge helpfulness is compared anew: its rubric changed" in anew
    assert "measured differently now" in said
    assert re.search(r"On 30 frozen traces the new one gives .[01]\.\d\d \(95 % .* against the old one", said)


def test_what_is_missing_of_the_anchors_is_made_with_a_later_round(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    with service(config(rules="[]", rubrics={"helpfulness": ANCHORED})) as app:
        for first, number, items in ((0, 15, 10), (15, 15, 20), (30, 60, 30)):
            traffic.add(number, first=first)
            sweep(app, timedelta(hours=1), drain=True, threads=2)
            app.model.accept()
            found = app.anchoring.judge("helpfulness")
            assert found is not None
            assert len(found.round.values) == items
    sessions = [item["metadata"]["session"] for item in sandbox.langfuse.reviews.dataset(DATASET)]
    assert max(map(sessions.count, sessions)) <= 2


def test_the_scheduler_has_judges_asked_and_a_stop_waits_for_no_round(weeks: Weeks, sandbox: Sandbox) -> None:
    weeks.first(history=False)
    weeks.at(timedelta())
    app = weeks.app
    scheduler = Scheduler(app, app.discovery(lambda _: None), lambda _: NOTHING_WAITS)
    scheduler.ask_anchors()
    assert len(known(weeks).judgings) == 1  # it does not lead
    scheduler.renew()
    app.anchoring.stop()
    scheduler.ask_anchors()
    assert len(known(weeks).judgings) == 1
    app.anchoring.start()
    scheduler.ask_anchors()
    assert len(known(weeks).judgings) == 2


def test_what_a_round_cost_that_was_given_up_is_counted(
    weeks: Weeks, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    weeks.first(history=False)
    anchoring, before = weeks.app.anchoring, sandbox.model.calls
    asks = anchoring._calls.ask

    def stopped_meanwhile(asked: Sequence[Asked], patience: float | None = None) -> Iterator[list[Ended]]:
        anchoring.stop()
        return asks(asked, patience)

    monkeypatch.setattr(anchoring._calls, "ask", stopped_meanwhile)
    with pytest.raises(Unavailable, match="stopping"):
        anchoring.judge("helpfulness")
    assert 0 < sandbox.model.calls - before < 30
    assert weeks.app.state.spending()["helpfulness"].calls == sandbox.model.calls


def test_a_look_and_the_weekly_round_at_the_same_time_ask_a_judge_once(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    weeks.first(history=False)
    weeks.at(timedelta())
    anchoring, others, answers = weeks.app.anchoring, list[Thread](), list[bool]()
    asks, knows, has_looked = anchoring._calls.ask, anchoring.known, Event()

    def known_so_far(name: str) -> Known:
        found = knows(name)
        if current_thread() in others:
            has_looked.set()
        return found

    def look() -> None:
        answers.append(anchoring.again("helpfulness"))

    def looked_meanwhile(asked: Sequence[Asked], patience: float | None = None) -> Iterator[list[Ended]]:
        if not others:
            others.append(Thread(target=look))
            others[0].start()
            assert has_looked.wait(10)
        return asks(asked, patience)

    monkeypatch.setattr(anchoring._calls, "ask", looked_meanwhile)
    monkeypatch.setattr(anchoring, "known", known_so_far)
    anchoring.due()
    others[0].join(30)
    assert len(known(weeks).judgings) == 2
    assert answers == [True]


def test_to_see_what_is_known_of_a_judge_writes_nothing(weeks: Weeks, valkey: redis.Redis) -> None:
    before = everything(valkey)
    assert weeks.app.anchoring.known("helpfulness") == Known()
    assert weeks.app.anchoring.anchored("helpfulness") is not None
    assert everything(valkey) == before
