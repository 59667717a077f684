"""`evaluator label`: labels are asked for in a queue of Langfuse, nothing twice, and chance is told from choice."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pytest
import redis

from evaluator.app import App
from evaluator.calibration.agreement import CHOSEN
from evaluator.calibration.label_queue import LabelQueue, place_of, queue_of, read_queue
from evaluator.calibration.labelling import Board, Labelling
from evaluator.calibration.labelling_report import as_json, kappa_line, mean_line, reason
from evaluator.errors import ConfigError, Problem, Refused, Unavailable
from evaluator.langfuse import QueueItem
from judges.teaching import Why, is_drawn
from sandbox.server import Sandbox
from tests.labelling import annotated, load, ours, score
from tests.serving import RUBRIC, Config, OpenService, Run, everything, trace_id

QUEUE: Final = "helpfulness labels"
SALT: Final = "evaluator"
HELD: Final = RUBRIC + "calibrate: {against: quality}\n"


@pytest.fixture
def scored(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Two hundred scores, each of a session of its own; every tenth is doubtful, every twentieth the worst."""
    rng = np.random.default_rng(1)
    given = [
        ours(
            n,
            1.0 if n % 20 == 0 else float(rng.integers(3, 6)),
            ago=1 + n / 100,
            meta={
                "session_id": f"s{n}",
                "confidence": 0.3 if n % 10 == 1 else 1.0,
                **({"opinions": [{"value": 2}, {"value": 5}]} if n % 10 == 1 else {}),
            },
        )
        for n in range(200)
    ]
    load(sandbox, given)
    return given


def labelling(app: App, **more: Any) -> Labelling:
    (rubric,) = app.definitions.rubrics(["helpfulness"])
    said = {"queue": QUEUE, "salt": app.definitions.service.sampling.salt, "now": app.clock.now(), **more}
    return Labelling(app.langfuse, rubric, "quality", **said)


def board(app: App, size: int = 20, share: float = 0.5) -> Board:
    return labelling(app).board(last=timedelta(days=7), size=size, random_share=share)


def queued(sandbox: Sandbox) -> list[str]:
    return [item["objectId"] for item in sandbox.langfuse.reviews.queued(QUEUE)]


@pytest.mark.usefixtures("scored")
def test_the_queue_is_made_with_its_score_filled_once_and_never_twice(
    sandbox: Sandbox, service: OpenService, valkey: redis.Redis
) -> None:
    with service() as app:
        salt = app.definitions.service.sampling.salt
        first = board(app)
        made = labelling(app).ask(first)
        assert made.name == QUEUE
        asked = queued(sandbox)
        labelling(app).ask(first)  # the same once more, as after a lost answer
        assert queued(sandbox) == asked
        second = board(app)
        labelling(app).ask(second)
        queue = read_queue(app.langfuse, QUEUE, salt)
    assert len(asked) == len(set(asked)) == 20
    assert len(set(queued(sandbox))) == len(queued(sandbox)) == 40
    (config,) = sandbox.langfuse.configs.values()
    assert (config.name, config.data_type, config.min_value, config.max_value) == ("quality", "NUMERIC", 1, 5)
    why = Counter(each.proposal.why for each in first.proposals)
    assert why[Why.DRAWN] == 10
    assert why.keys() == set(Why)
    assert {reason(each) for each in first.proposals if each.proposal.why is Why.DOUBT} == {"the opinions differ: 2, 5"}
    assert queue is not None
    assert queue.number_drawn == 20
    assert (second.drawn.asked, second.chosen.asked) == (10, 10)
    assert everything(valkey) == {}  # nothing of it is kept anywhere but in Langfuse


def test_what_was_drawn_counts_and_what_was_chosen_is_only_shown(
    sandbox: Sandbox, service: OpenService, scored: list[dict[str, Any]]
) -> None:
    with service() as app:
        salt = app.definitions.service.sampling.salt
        labelling(app).ask(board(app, 60))
        asked = [int(id_, 16) for id_ in queued(sandbox)]
        # The judge is right where chance asked, and off by one wherever it was unsure or the score is rare.
        drawn = [n for n in asked if is_drawn(place_of((trace_id(n), None, None), salt))]
        values = {
            n: float(next(s for s in sandbox.langfuse.all_scores() if s["traceId"] == trace_id(n))["value"])
            for n in asked
        }
        load(sandbox, [annotated(n, values[n] if n in drawn else 6 - values[n] + 0.5, ago=-0.0001) for n in asked])
        now = board(app, 0).now
        later = board(app, 10)
    assert now.found is not None
    assert (now.found.n, now.left_out[CHOSEN]) == (30, 30)
    assert now.headline is not None
    assert now.headline.value == 1
    assert now.differences
    assert (later.drawn.done, later.drawn.apart, later.chosen.done) == (30, 0, 30)
    assert later.chosen.apart > 20
    made = now.corrected
    assert made is not None
    assert (made.labels, made.by) == (30, "this week's labels (PPI++)")
    assert made.low <= made.raw <= made.high


def test_progress_tells_how_far_the_interval_shrank_and_what_a_wished_one_takes(
    sandbox: Sandbox, service: OpenService, scored: list[dict[str, Any]]
) -> None:
    rng = np.random.default_rng(4)

    def told(number: int) -> float:
        return float(np.clip(scored[number]["value"] + rng.integers(-1, 2), 1, 5))

    load(sandbox, [annotated(n, told(n), ago=0.5) for n in range(25)])
    with service() as app:
        labelling(app).ask(board(app, 120, 1.0))
        load(sandbox, [annotated(int(id_, 16), told(int(id_, 16)), by="bob", ago=-0.0001) for id_ in queued(sandbox)])
        found = board(app, 0)
        document = as_json(found, 0.1, str)
    assert found.before is not None
    assert found.before.found is not None
    assert found.before.found.n == 25
    was, now = found.figures
    assert was is not None
    assert now is not None
    assert (now.high or 0) - (now.low or 0) < (was.high or 0) - (was.low or 0)
    assert "when the labelling began" in kappa_line(found, 0.1)
    assert "more drawn at random make it 0.10" in kappa_line(found, 0.1)
    assert kappa_line(found, 1.0).endswith("narrow enough")
    assert "halve it" in mean_line(found)
    assert document["more_labels"] > 0
    assert document["drawn"]["asked"] == document["drawn"]["labelled"] > 80


@pytest.mark.usefixtures("scored")
def test_the_command_fills_the_queue_and_tells_progress(run: Run, config: Config, sandbox: Sandbox) -> None:
    folder = config(rubrics={"helpfulness": HELD})
    done = run("label", "helpfulness", "--size", "12", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "nobody was asked yet" in done.stdout
    assert "drawn at random" in done.stdout
    assert "put 12 into the queue: " in done.stderr
    assert "/annotation-queues/" in done.stderr
    load(sandbox, [annotated(int(id_, 16), 3) for id_ in queued(sandbox)[:5]])
    told = json.loads(run("label", "helpfulness", "--size", "7", "--dry-run", "--json", folder=folder).stdout)
    assert (told["queue"], len(told["proposals"])) == (QUEUE, 7)
    assert len(queued(sandbox)) == 12
    assert told["drawn"]["labelled"] + told["chosen"]["labelled"] == 5
    assert told["drawn"]["asked"] + told["chosen"]["asked"] == 12
    ((_, below),) = told["draws"]
    assert 0 < below < 0.5


def test_without_labels_named_or_a_queue_of_its_own_it_says_what_to_do(run: Run, config: Config) -> None:
    low = "[{score: helpfulness, on_low: {at_most: 2, queue: triage}}]"
    nameless = run("label", "helpfulness", folder=config())
    shared = run(
        "label", "helpfulness", "--queue", "triage", folder=config(rubrics={"helpfulness": HELD}, monitors=low)
    )
    assert (nameless.returncode, shared.returncode) == (2, 2)
    assert "say which labels" in nameless.stderr
    assert "no random draw" in shared.stderr


@pytest.mark.usefixtures("scored")
def test_a_langfuse_that_makes_no_queue_is_told_with_what_to_do(sandbox: Sandbox, service: OpenService) -> None:
    sandbox.langfuse.reviews.most_queues = 0
    with service() as app, pytest.raises(ConfigError, match="make it in Langfuse for the score 'quality'"):
        labelling(app).ask(board(app))
    sandbox.langfuse.reviews.add_queue(QUEUE)
    with service() as app:
        labelling(app).ask(board(app))
    assert len(queued(sandbox)) == 20


def test_people_who_say_yes_or_no_are_asked_for_yes_or_no(sandbox: Sandbox, service: OpenService) -> None:
    load(sandbox, [ours(n, n % 5 + 1) for n in range(60)])
    load(sandbox, [score(n, "quality", n % 2, kind="BOOLEAN") for n in range(4)])
    with service() as app:
        labelling(app).ask(board(app, 5))
    (config,) = sandbox.langfuse.configs.values()
    assert config.data_type == "BOOLEAN"


def test_sessions_are_asked_about_as_sessions(sandbox: Sandbox, service: OpenService) -> None:
    about = {"traceId": None}
    load(sandbox, [{**ours(n, n % 5 + 1), **about, "sessionId": f"talk {n}"} for n in range(30)])
    with service() as app:
        labelling(app).ask(board(app, 6))
        asked = {(item["objectType"], item["objectId"]) for item in sandbox.langfuse.reviews.queued(QUEUE)}
        load(sandbox, [{**annotated(n, 3), **about, "sessionId": f"talk {n}"} for n in range(30)])
        found = board(app, 0)
    assert {kind for kind, _ in asked} == {"SESSION"}
    assert asked <= {("SESSION", f"talk {n}") for n in range(30)}
    assert (found.drawn.done, found.chosen.done) == (found.drawn.asked, found.chosen.asked)


def at(minutes: float) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=minutes)


def queue_made(*lots: tuple[float, int]) -> LabelQueue:
    items = [
        QueueItem("TRACE", trace_id(100 * lot + n), at(start + n / 60), is_done=False)
        for lot, (start, number) in enumerate(lots)
        for n in range(number)
    ]
    return queue_of("q", QUEUE, SALT, [*items, *items[:3]])


def test_how_likely_a_subject_was_drawn_follows_from_the_queue_alone() -> None:
    queue = queue_made((0, 30), (60 * 24, 10))
    places = [place_of((trace_id(n), None, None), SALT) for n in range(30)]
    assert [draw.at for draw in queue.draws] == sorted(draw.at for draw in queue.draws)
    assert len(queue.draws) == 2
    assert queue.draws[0].below == max(place for place in places if is_drawn(place))
    both = max(draw.below for draw in queue.draws)
    assert queue.probability(at(-60)) == both
    assert queue.probability(at(60)) == queue.draws[1].below
    assert queue.probability(at(60 * 48)) == 0
    assert queue.probability(at(-60 * 24 * 8)) == 0


class Closed:
    """A Langfuse without queues."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def queue_ids(self) -> dict[str, str]:
        raise self._error

    def queue_items(self, _id: str) -> list[QueueItem]:
        raise self._error


def test_a_langfuse_without_queues_has_none_and_one_that_is_down_is_not_taken_for_it() -> None:
    for closed in (Refused("404"), ConfigError([Problem("LANGFUSE_SECRET_KEY", "403: not in this plan")])):
        assert read_queue(Closed(closed), QUEUE, SALT) is None
    with pytest.raises(Unavailable):
        read_queue(Closed(Unavailable("no answer")), QUEUE, SALT)
