"""What people would say of a judge's last seven days: its mean corrected by their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np

from evaluator.calibration.evidence import counts, evidence, is_ours
from evaluator.calibration.labels import LabelStore, Pair
from evaluator.langfuse import Window
from judges.calibration import Agreement, Labelled
from judges.shared_scale import SharedScale
from monitors.correction import FEWEST, Chances, Corrected, Scored, by_few, by_labels, by_rates
from monitors.series import WEEK
from traces import RecordedScore


class Drawn(NamedTuple):
    """Which of the labelled were drawn at random, and how likely a score was to be; all were alike without `chance`."""

    drew: Callable[[RecordedScore], bool]
    chance: Callable[[RecordedScore], float] | None = None


_AHEAD: Final = timedelta(minutes=1)
_ENOUGH: Final = 10
"""Failures, and passes, among this week's labels from which on normal theory holds."""


def corrected(
    langfuse: LabelStore,
    read: Sequence[tuple[Pair, Labelled]],
    found: Agreement,
    scale: SharedScale,
    now: datetime,
    *,
    drawn: Drawn,
) -> Corrected | None:
    """Return the mean of the last seven days as people would have it; None where labels cannot tell.

    Args:
        langfuse: where the scores are.
        read: what the judge and people said of the same subjects.
        found: how far they agree.
        scale: on which both are read.
        now: the end of the week.
        drawn: which labelled subjects were drawn at random from what was scored: only these stand for the week.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    if scale.labels or not read:
        return None
    ruler = evidence(read[0][0].ours, 0.0, None).version
    known = {pair.ours.id: item for pair, item in read}
    week = [
        (score, float(value))
        for page in langfuse.scores(Window(now - WEEK, now + _AHEAD), names=[read[0][0].ours.name])
        for score in page
        if is_ours(score) and counts(score) and (value := scale.ours(score.value)) is not None
        if evidence(score, 0.0, None).version == ruler
    ]
    if not week:
        return None
    labelled = [(score, value) for score, value in week if score.id in known and drawn.drew(score)]
    if len(labelled) >= FEWEST:
        asked = {score.id for score, _ in labelled}
        others = [(score, value) for score, value in week if score.id not in asked]
        said = np.array([_mean(known[score.id]) for score, _ in labelled])
        few = scale.is_binary and min(float(said.sum()), float((1 - said).sum())) < _ENOUGH
        by = by_few if few else by_labels
        made = by(said, _columns(labelled), _columns(others), _chances(labelled, others, drawn))
        if made is not None:
            return made
    return _by_rates(week, found) if scale.is_binary else None


def _by_rates(week: Sequence[tuple[RecordedScore, float]], found: Agreement) -> Corrected | None:
    rates = {level.at: (level.ours.value, level.n) for level in found.levels}
    if len(rates) < 2:
        return None
    (wrongly, of_fails), passes = rates[0.0], rates[1.0]
    return by_rates(_columns(week), (1 - wrongly, of_fails), passes)


def _chances(
    labelled: Sequence[tuple[RecordedScore, float]], rest: Sequence[tuple[RecordedScore, float]], drawn: Drawn
) -> Chances | None:
    chance = drawn.chance
    if chance is None:
        return None
    return Chances(*(np.array([chance(score) for score, _ in part], dtype=float) for part in (labelled, rest)))


def _columns(scores: Sequence[tuple[RecordedScore, float]]) -> Scored:
    known = [evidence(score, value, None) for score, value in scores]
    codes = {name: code for code, name in enumerate(dict.fromkeys(each.session for each in known))}
    return Scored(
        np.array([each.value for each in known], dtype=float),
        np.array([each.weight for each in known], dtype=float),
        np.array([codes[each.session] for each in known], dtype=np.int64),
    )


def _mean(item: Labelled) -> float:
    return sum(map(float, item.labels.values())) / len(item.labels)
