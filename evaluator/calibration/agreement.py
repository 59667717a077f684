"""A judge held against people: which subjects both judged, how far they agree, and where they differ most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from evaluator.calibration.corrected import Drawn, corrected
from evaluator.calibration.evidence import evidence
from evaluator.calibration.label_queue import LabelQueue
from evaluator.calibration.labels import About, LabelStore, Pair, about, labelled, said_in
from judges import Rubric
from judges.agreement import Value
from judges.calibration import Agreement, Figure, Labelled, agreement
from judges.shared_scale import SharedScale, shared_scale
from monitors.correction import Corrected
from traces import RecordedScore

FEWEST: Final = 20
"""Labelled subjects below which nothing is said of a floor: the interval of a kappa would be wider than the scale."""

_FEWEST_SESSIONS: Final = 10
CHOSEN: Final = "were chosen by `evaluator label` for what they teach, and stand for nobody else"
OFF_SCALE: Final = "have only labels that are not on the rubric's scale"
_SHOWN: Final = 20
_PER_SESSION: Final = 2


@dataclass(frozen=True, slots=True)
class Difference:
    """A subject on which the judge and a person differ: `distance` is a share of the scale, `sure` the confidence."""

    pair: Pair
    ours: Value
    said: Mapping[str, Value]
    distance: float
    sure: float

    @property
    def comments(self) -> list[tuple[str, str]]:
        """What people wrote beside their labels, by person."""
        return [(rater, self.pair.labels[rater].comment) for rater in self.said if self.pair.labels[rater].comment]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge held against people.

    Attributes:
        name, version: of the rubric; the version is of the scores, not of the file.
        judge: the model that gave them.
        against: name of the labels.
        since, at: from when labels are, and until when.
        scale: how both are read.
        found: how far they agree; None where nothing was judged by both.
        left_out: labelled subjects that do not count, by reason.
        differences: where they differ, what teaches most first.
        corrected: the mean of the last seven days as people would have it; None where labels cannot tell.
        differing: everything on which they differ.
    """

    name: str
    version: str
    judge: str
    against: str
    since: datetime
    at: datetime
    scale: SharedScale
    found: Agreement | None
    left_out: Mapping[str, int]
    differences: tuple[Difference, ...]
    corrected: Corrected | None = None
    differing: frozenset[About] = frozenset()

    @property
    def headline(self) -> Figure | None:
        """The figure that is compared with a floor: kappa, weighted where the scale has an order."""
        return None if self.found is None else self.found.judge.get(self.found.headline)

    @property
    def is_enough(self) -> bool:
        """Whether there are labels enough to say anything of a floor."""
        return self.found is not None and self.found.n >= FEWEST and self.found.sessions >= _FEWEST_SESSIONS

    def summary(self) -> dict[str, Any]:
        """Return what is kept of it: figures, no text."""
        kept: dict[str, Any] = {"at": self.at.isoformat(), "version": self.version, "judge": self.judge}
        if self.found is None:
            return {**kept, "n": 0}
        headline = self.headline
        return {
            **kept,
            "n": self.found.n,
            "labels": self.found.labels,
            "raters": self.found.raters,
            "measure": self.found.headline,
            "figure": None if headline is None else list(headline),
            "judge_figures": {name: list(figure) for name, figure in self.found.judge.items()},
            "people_figures": {name: list(figure) for name, figure in self.found.people.items()},
            "counts": self.found.counts.tolist(),
            "table": self.found.table.round(6).tolist(),
            "binary": self.scale.is_binary,
            "pass_at": self.scale.pass_at,
            "corrected": None if self.corrected is None else self.corrected._asdict(),
        }


def calibrate(
    langfuse: LabelStore,
    rubric: Rubric,
    against: str,
    *,
    since: datetime,
    now: datetime,
    rng: np.random.Generator,
    pass_at: float | None = None,
    random: bool = False,
    queue: LabelQueue | None = None,
) -> Calibration:
    """Hold a judge against the labels of a score.

    Args:
        langfuse: where the scores are.
        rubric: whose scores.
        against: name of the labels.
        since: the oldest label.
        now: the end.
        rng: draws the resamples of the intervals.
        pass_at: from where on a number passes, where one side says yes or no.
        random: whether the labelled subjects were drawn at random from what was scored.
        queue: in which `evaluator label` asked for labels: what it chose is among the differences and in no figure.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    known = labelled(langfuse, rubric.name, against, since, now)
    said = [said_in(label) for pair in known.pairs for label in pair.labels.values()]
    scale = shared_scale(rubric.spec.score, said, pass_at)
    read = [(pair, item) for pair in known.pairs if (item := _item(pair, scale, pass_at)) is not None]
    left_out = Counter(known.left_out)
    left_out[OFF_SCALE] += len(known.pairs) - len(read)
    last = max((pair.ours for pair, _ in read), key=lambda score: score.timestamp, default=None)
    fair = read if queue is None else [(pair, item) for pair, item in read if not queue.chose(about(pair.ours))]
    left_out[CHOSEN] += len(read) - len(fair)
    found = agreement([item for _, item in fair], scale, rng) if fair else None
    differences, drawn = _differences(read, scale), _drawn(queue, random=random)
    return Calibration(
        name=rubric.name,
        version=str(last.metadata.get("evaluator_version", "")) if last else rubric.version,
        judge=_judge(last),
        against=against,
        since=since,
        at=now,
        scale=scale,
        found=found,
        left_out=+left_out,
        differences=_told(differences),
        differing=frozenset(about(each.pair.ours) for each, _ in differences),
        corrected=None if found is None else corrected(langfuse, fair, found, scale, now, drawn=drawn),
    )


def _drawn(queue: LabelQueue | None, *, random: bool) -> Drawn:
    """Return which labelled subjects were drawn: all where people draw themselves, else those of the queue."""
    if random:
        return Drawn(lambda _: True)
    if queue is None:
        return Drawn(lambda _: False)

    def chance(score: RecordedScore) -> float:
        return queue.probability(score.timestamp)

    return Drawn(lambda score: queue.drew(about(score)) and chance(score) > 0, chance)


def _judge(score: RecordedScore | None) -> str:
    return "" if score is None else str(score.metadata.get("judge_model") or "")


def _item(pair: Pair, scale: SharedScale, pass_at: float | None) -> Labelled | None:
    ours = scale.ours(pair.ours.value)
    said = {rater: scale.theirs(said_in(label), pass_at) for rater, label in pair.labels.items()}
    labels = {rater: value for rater, value in said.items() if value is not None}
    if ours is None or not labels:
        return None
    known = evidence(pair.ours, 0.0, None)
    return Labelled(ours, labels, known.weight, known.session)


def _differences(read: Sequence[tuple[Pair, Labelled]], scale: SharedScale) -> list[tuple[Difference, str]]:
    """Return where they differ, with the session: far apart first, then where the judge was sure, or people say why."""
    found = []
    for pair, item in read:
        apart = sum(distance(item.ours, said, scale) for said in item.labels.values()) / len(item.labels)
        if apart > 0:
            confidence = pair.ours.metadata.get("confidence")
            sure = float(confidence) if isinstance(confidence, int | float) else 0.0
            found.append((Difference(pair, item.ours, item.labels, apart, sure), item.session))
    found.sort(key=lambda each: (-each[0].distance, -each[0].sure, not each[0].comments, each[0].pair.ours.id))
    return found


def _told(found: Sequence[tuple[Difference, str]]) -> tuple[Difference, ...]:
    sessions: Counter[str] = Counter()
    chosen = []
    for difference, session in found:
        sessions[session] += 1
        if sessions[session] <= _PER_SESSION:
            chosen.append(difference)
    return tuple(chosen[:_SHOWN])


def distance(one: Value, other: Value, scale: SharedScale) -> float:
    """Return how far two values are apart, as a share of the scale; labels without an order by all of it."""
    if scale.labels:
        places = [scale.levels.index(value) for value in (one, other)] if scale.ordered else []
        return abs(places[0] - places[1]) / scale.high if places else float(one != other)
    return abs(float(one) - float(other)) / (scale.high - scale.low)
