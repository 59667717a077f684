"""What people said of the same subjects that a judge scored: pairs of scores in Langfuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Final, Protocol

from evaluator.calibration.evidence import counts, evidence, is_ours
from evaluator.langfuse import Window
from judges.agreement import Value
from traces import RecordedScore

_BEFORE: Final = timedelta(days=90)
"""How long before its label a subject may have been scored."""

_AHEAD: Final = timedelta(minutes=1)

UNSCORED: Final = "have no score of this rubric"
LATE: Final = "were judged only because of late feedback, and stand for nobody else"
OLDER: Final = "were measured by another version or judge"

About = tuple[str | None, str | None, str | None]
"""What a score is about: trace, observation, session."""


class LabelStore(Protocol):
    """What is needed of Langfuse."""

    def scores(
        self,
        window: Window,
        *,
        names: Sequence[str] = (),
        trace_ids: Sequence[str] = (),
        session_ids: Sequence[str] = (),
        authors: bool = False,
    ) -> Iterator[list[RecordedScore]]:
        """Return the scores of a window in pages, each once."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Our score of a subject, and the last that each person said of it, by person."""

    ours: RecordedScore
    labels: Mapping[str, RecordedScore]


@dataclass(frozen=True, slots=True)
class Pairs:
    """What one ruler scored and people labelled; `left_out` says how many labelled subjects are not in it, and why."""

    pairs: tuple[Pair, ...]
    left_out: Mapping[str, int]


def labelled(langfuse: LabelStore, name: str, against: str, since: datetime, now: datetime) -> Pairs:
    """Return the subjects that have a score of ours and a label.

    Only what the newest ruler measured (version of the rubric and judge) is in it: to mix rulers would say how well
    none of them does.

    Args:
        langfuse: where the scores are.
        name: of our score.
        against: name of the labels; those of programs count as people when they are not ours.
        since: the oldest label.
        now: the end.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    window = Window(since, now + _AHEAD)
    labels = labels_of(langfuse, against, window, lambda score: name != against or not is_ours(score))
    found = _ours(langfuse, name, labels, Window(since - _BEFORE, window.end))
    left_out: Counter[str] = Counter({UNSCORED: len(labels.keys() - found.keys())})
    sample = {about: score for about, score in found.items() if counts(score)}
    left_out[LATE] = len(found) - len(sample)
    rulers = {about: evidence(score, 0.0, None).version for about, score in sample.items()}
    newest = max(sample, key=lambda about: (sample[about].timestamp, sample[about].id), default=None)
    same = [about for about in sample if newest is not None and rulers[about] == rulers[newest]]
    left_out[OLDER] = len(sample) - len(same)
    pairs = tuple(Pair(sample[about], labels[about]) for about in same)
    return Pairs(pairs, {why: number for why, number in left_out.items() if number})


def labels_of(
    langfuse: LabelStore, name: str, window: Window, counted: Callable[[RecordedScore], bool]
) -> dict[About, dict[str, RecordedScore]]:
    """Return the last label that each person gave a subject within a window, of those that are counted.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    found: dict[About, dict[str, RecordedScore]] = {}
    for page in langfuse.scores(window, names=[name], authors=True):
        for score in filter(counted, page):
            if not (score.trace_id or score.session_id):
                continue
            said, rater = found.setdefault(about(score), {}), score.author or score.source
            # Pages come newest first; within one nothing is promised.
            if rater not in said or said[rater].timestamp < score.timestamp:
                said[rater] = score
    return found


def _ours(langfuse: LabelStore, name: str, wanted: Collection[About], window: Window) -> dict[About, RecordedScore]:
    traces = sorted({trace for trace, _, _ in wanted if trace})
    sessions = sorted({session for _, _, session in wanted if session})
    found: dict[About, RecordedScore] = {}
    asked = [langfuse.scores(window, names=[name], trace_ids=traces)] if traces else []
    asked += [langfuse.scores(window, names=[name], session_ids=sessions)] if sessions else []
    for page in chain.from_iterable(asked):
        found.update((about(score), score) for score in page if is_ours(score))
    return {key: score for key, score in found.items() if key in wanted}


def said_in(score: RecordedScore) -> Value:
    """Return what somebody said with a score: yes or no where it is a boolean."""
    return bool(score.value) if score.data_type == "BOOLEAN" else score.value


def about(score: RecordedScore) -> About:
    """Return what a score is about: trace, observation, session."""
    return score.trace_id, score.observation_id, score.session_id
