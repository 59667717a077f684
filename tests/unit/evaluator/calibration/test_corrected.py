"""Only what was drawn corrects a mean, each by how likely it was to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from evaluator.calibration.agreement import Calibration, calibrate
from evaluator.calibration.label_queue import LabelQueue, place_of, queue_of
from evaluator.langfuse import QueueItem, Window
from judges import Rubric, RubricSpec
from judges.teaching import is_drawn
from traces import RecordedScore

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SALT = "evaluator"
RUBRIC = Rubric(
    RubricSpec.model_validate(
        {
            "name": "helpfulness",
            "inputs": {"answer": "$.root.output"},
            "criteria": "Does it help?",
            "score": {"type": "numeric", "min": 1, "max": 5},
        }
    )
)


class Recorded:
    """Langfuse, with these scores."""

    def __init__(self, scores: Sequence[RecordedScore]) -> None:
        self._scores = scores

    def scores(
        self, window: Window, *, names: Sequence[str] = (), trace_ids: Sequence[str] = (), **_more: Any
    ) -> Iterator[list[RecordedScore]]:
        yield [
            score
            for score in self._scores
            if score.name in names and window.start <= score.timestamp < window.end
            if not trace_ids or score.trace_id in trace_ids
        ]


def scored(number: int, value: float, at: datetime) -> RecordedScore:
    meta = {"segments": {}, "inclusion_probability": 1.0, "evaluator_version": "v", "session_id": f"s{number}"}
    return RecordedScore(f"o{number}", "helpfulness", value, "NUMERIC", "API", at, f"{number:032x}", metadata=meta)


def label(number: int, value: float) -> RecordedScore:
    return RecordedScore(f"l{number}", "quality", value, "NUMERIC", "ANNOTATION", NOW, f"{number:032x}", author="ann")


def queue(lots: Sequence[tuple[datetime, Sequence[int]]]) -> LabelQueue:
    items = [QueueItem("TRACE", f"{n:032x}", at, is_done=True) for at, numbers in lots for n in numbers]
    return queue_of("q", "helpfulness labels", SALT, items)


def held(rows: list[RecordedScore], asked: LabelQueue, rng: np.random.Generator | None = None) -> Calibration:
    """Hold the judge against people, now."""
    since, now = NOW - timedelta(days=90), NOW + timedelta(seconds=1)
    rng = np.random.default_rng(0) if rng is None else rng
    return calibrate(Recorded(rows), RUBRIC, "quality", since=since, now=now, rng=rng, queue=asked)


@pytest.fixture
def week() -> tuple[list[RecordedScore], dict[int, float], list[RecordedScore]]:
    """A week in whose second half the judge is one too kind; people's labels of everything."""
    rng = np.random.default_rng(1)
    days = {n: NOW - timedelta(days=6.5 * (n % 100) / 100 + 0.1) for n in range(400)}
    truth = {n: float(rng.uniform(1, 4)) for n in days}
    late = {n for n, at in days.items() if at > NOW - timedelta(days=3.35)}
    scores = [scored(n, truth[n] + (n in late), days[n]) for n in days]
    return scores, truth, [label(n, truth[n]) for n in days]


def test_two_draws_of_different_depth_count_by_how_likely_each_was(
    week: tuple[list[RecordedScore], dict[int, float], list[RecordedScore]],
) -> None:
    scores, truth, labels = week
    places = {n: place_of((f"{n:032x}", None, None), SALT) for n in truth}
    middle = NOW - timedelta(days=3.3)
    early = [n for n in truth if scores[n].timestamp <= middle and places[n] < 0.45]
    late = [n for n in truth if scores[n].timestamp > middle and places[n] < 0.15]
    # The second draw looks a week back as well: what it would take of the early half stands there already.
    asked = queue([(middle, early), (NOW, late)])
    wanted = {f"l{n}" for n in [*early, *late]}
    given = [each for each in labels if each.id in wanted]
    rng = np.random.default_rng(0)
    found = held([*scores, *given], asked, rng).corrected
    assert found is not None
    assert found.labels == len(early) + len(late) > 80
    mean = float(np.mean(list(truth.values())))
    assert found.low < mean < found.high
    assert found.raw == pytest.approx(np.mean([float(each.value) for each in scores]))
    assert found.mean == pytest.approx(mean, abs=0.1)
    flat = np.mean([truth[n] - float(scores[n].value) for n in [*early, *late]])  # as if all were equally likely
    assert abs(found.raw + flat - mean) > abs(found.mean - mean)


def test_what_was_chosen_and_what_nobody_asked_for_correct_nothing(
    week: tuple[list[RecordedScore], dict[int, float], list[RecordedScore]],
) -> None:
    scores, truth, labels = week
    chosen = [n for n in truth if not is_drawn(place_of((f"{n:032x}", None, None), SALT))][:40]
    given = [labels[n] for n in chosen] + [labels[n] for n in sorted(set(truth) - set(chosen))[:30]]
    found = held([*scores, *given], queue([(NOW, chosen)]))
    assert found.corrected is None
    assert found.found is not None
    assert found.found.n == 30


def test_nine_labels_drawn_this_week_are_too_few_and_older_ones_go_on_correcting() -> None:
    at = NOW - timedelta(days=1)
    scores = [scored(n, 5.0 if n % 4 else 1.0, at) for n in range(200)]
    drawn = [n for n in range(200) if is_drawn(place_of((f"{n:032x}", None, None), SALT))]
    given = [replace(label(n, float(n % 3 > 0)), data_type="BOOLEAN") for n in range(200)]

    def by(number: int) -> str:
        told = [each for n, each in enumerate(given) if n not in drawn[number:]]
        found = held([*scores, *told], queue([(NOW, drawn[:number])])).corrected
        return "" if found is None else found.by

    assert "this week" not in by(9)
    assert "this week" in by(10)
