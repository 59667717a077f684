"""Which labels to ask people for, the queue they are asked in, and how far those there are have come."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np

from evaluator.calibration.agreement import Calibration, calibrate, distance
from evaluator.calibration.evidence import counts, evidence, is_ours
from evaluator.calibration.label_queue import LabelQueue, QueueStore, place_of, queue_of, read_queue, subject_of
from evaluator.calibration.labels import About, LabelStore, about, labels_of, said_in
from evaluator.errors import ConfigError, Problem, Refused
from evaluator.langfuse import Window
from judges import BooleanScale, CategoricalScale, NumericScale, Rubric
from judges.agreement import Value
from judges.calibration import Figure
from judges.opinions import OPINIONS
from judges.shared_scale import SharedScale, shared_scale
from judges.spec import LONGEST_NAME
from judges.teaching import Candidate, Known, Proposal, Stratum, propose
from traces import RecordedScore, Subject

LABELS_SINCE: Final = timedelta(days=90)
_AHEAD: Final = timedelta(minutes=1)
_SEGMENTS: Final = ("prompt_version", "model", "trace_name")
_LEVELS: Final = 5
"""Parts of a scale that is finer than seven levels."""


class Source(LabelStore, QueueStore, Protocol):
    """What is needed of Langfuse."""

    def make_queue(self, name: str, description: str, config: Mapping[str, Any]) -> str:
        """Make an annotation queue for the score of a config; return its id."""

    def enqueue(self, queue_id: str, subject: Subject) -> None:
        """Put a subject into an annotation queue."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One subject whose label is asked for: our score of it, why, and what is known of its kind."""

    score: RecordedScore
    proposal: Proposal
    known: Known
    opinions: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How far one kind of labels has come: how many were asked for, are there, and differ from the judge."""

    asked: int
    done: int
    apart: int


@dataclass(frozen=True, slots=True)
class Board:
    """Where the labelling of a rubric stands.

    Attributes:
        rubric, against: whose scores, and the name of the labels.
        queue: in which labels are asked for; None before anything was.
        drawn, chosen: how far both kinds have come.
        before, now: what was known of the judge when the labelling began, and is known now.
        strata: what is known of each kind of score, those that matter most first.
        scored: how many subjects were scored in the time looked at.
        proposals: whom to ask about next.
    """

    rubric: Rubric
    against: str
    queue: LabelQueue | None
    drawn: Tally
    chosen: Tally
    before: Calibration | None
    now: Calibration
    strata: tuple[tuple[Stratum, Known], ...]
    scored: int
    proposals: tuple[Asked, ...]

    @property
    def figures(self) -> tuple[Figure | None, Figure | None]:
        """The headline figure when the labelling began, and now."""
        return None if self.before is None else self.before.headline, self.now.headline


class Labelling:
    """Asks people for the labels of one rubric."""

    def __init__(self, langfuse: Source, rubric: Rubric, against: str, *, queue: str, salt: str, now: datetime) -> None:
        """Ask in the queue of this name; `salt` is the key of the hash that draws."""
        self._langfuse = langfuse
        self._rubric = rubric
        self._against = against
        self._name = queue
        self._salt = salt
        self._now = now

    def board(
        self,
        *,
        last: timedelta,
        size: int,
        random_share: float,
        pass_at: float | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Board:
        """Look where the labelling stands, and choose whom to ask about next.

        Args:
            last: how far back what was scored is looked at.
            size: how many labels to propose.
            random_share: the part of them that is drawn at random.
            pass_at: from where on a number passes, where one side says yes or no.
            progress: told how many more scores were read.

        Raises:
            Unavailable, Refused: Langfuse.
        """
        queue = read_queue(self._langfuse, self._name, self._salt)
        window = Window(self._now - LABELS_SINCE, self._now + _AHEAD)
        foreign = self._against != self._rubric.name
        labels = labels_of(self._langfuse, self._against, window, lambda score: foreign or not is_ours(score))
        scale = shared_scale(
            self._rubric.spec.score, [said_in(each) for said in labels.values() for each in said.values()], pass_at
        )
        scored = {about(score): score for score in self._scored(last, progress) if scale.ours(score.value) is not None}
        apart = {key: _apart(scored[key], labels[key], scale, pass_at) for key in labels.keys() & scored.keys()}
        distances = {key: far for key, far in apart.items() if far is not None}
        known = _known(scored, distances, queue, scale)
        rest = {key: score for key, score in scored.items() if queue is None or not queue.has(key)}
        candidates = (self._candidate(key, score, scale, labelled=key in labels) for key, score in rest.items())
        by_id = {str(subject_of(key)): score for key, score in rest.items()}
        proposals = propose(candidates, known, size, random_share)
        held = self._held(queue, pass_at)
        return Board(
            *(self._rubric, self._against, queue),
            *_tallies(queue, labels, held[1]),
            *held,
            tuple(sorted(known.items(), key=lambda each: -each[1].gain(0, each[1].scored))),
            len(scored),
            tuple(_asked(by_id[each.candidate.id], each, known) for each in proposals),
        )

    def ask(self, board: Board, progress: Callable[[int], None] = lambda _: None) -> LabelQueue:
        """Put what is proposed into the queue, which is made where it is missing; return the queue.

        What stands there already is left out, so that a second try after a failure asks for nothing twice.

        Raises:
            ConfigError: there is no queue, and none can be made.
            Unavailable, Refused: Langfuse.
        """
        queue = read_queue(self._langfuse, self._name, self._salt) or self._made(board.now)
        for each in board.proposals:
            key = about(each.score)
            if not queue.has(key):
                self._langfuse.enqueue(queue.id, subject_of(key))
            progress(1)
        return queue

    def _made(self, now: Calibration) -> LabelQueue:
        if (config := _config(self._rubric, self._against, now.scale)) is None:
            raise ConfigError([Problem(self._name, _BY_HAND.format(reason=_SEVERAL, against=self._against))])
        said = f"Labels for the judge {self._rubric.name}: evaluator label {self._rubric.name}"
        try:
            id_ = self._langfuse.make_queue(self._name, said, config)
        except (Refused, ConfigError) as error:
            problem = _BY_HAND.format(reason=f"Langfuse does not let it be made ({error})", against=self._against)
            raise ConfigError([Problem(self._name, problem)]) from None
        return queue_of(id_, self._name, self._salt, [])

    def _scored(self, last: timedelta, progress: Callable[[int], None]) -> Iterator[RecordedScore]:
        """Give what the newest ruler scored."""
        window = Window(self._now - last, self._now + _AHEAD)
        found: list[RecordedScore] = []
        for page in self._langfuse.scores(window, names=[self._rubric.name]):
            found += [score for score in page if is_ours(score) and counts(score)]
            progress(len(page))
        newest = max(found, key=lambda score: (score.timestamp, score.id), default=None)
        ruler = "" if newest is None else evidence(newest, 0.0, None).version
        return (score for score in found if evidence(score, 0.0, None).version == ruler)

    def _candidate(self, key: About, score: RecordedScore, scale: SharedScale, *, labelled: bool) -> Candidate:
        known = evidence(score, 0.0, None)
        at = place_of(key, self._salt)
        stratum = stratum_of(score, scale)
        return Candidate(str(subject_of(key)), at, stratum, known.session, doubt_of(score), labelled)

    def _held(self, queue: LabelQueue | None, pass_at: float | None) -> tuple[Calibration | None, Calibration]:
        def until(now: datetime) -> Calibration:
            rng = np.random.default_rng(0)
            since = now - LABELS_SINCE
            more: dict[str, Any] = {"pass_at": pass_at, "queue": queue}
            return calibrate(self._langfuse, self._rubric, self._against, since=since, now=now, rng=rng, **more)

        began = None if queue is None else queue.began
        return None if began is None else until(began - _AHEAD), until(self._now)


_SEVERAL: Final = "a score of several labels is not made by itself"
_BY_HAND: Final = (
    "there is no such annotation queue, and {reason}: make it in Langfuse for the score {against!r}, "
    "or name another with --queue"
)


def doubt_of(score: RecordedScore) -> float:
    """Return how unsure the judge was of a score, from 0 to 1: what its confidence lacks; 0 where it has none."""
    told = score.metadata.get("confidence")
    return 1 - min(max(float(told), 0.0), 1.0) if isinstance(told, int | float) else 0.0


def stratum_of(score: RecordedScore, scale: SharedScale) -> Stratum:
    """Return what the judge gave, as coarse as people would call it, and the first segment that is known."""
    segments = score.metadata.get("segments") or {}
    segment = next((str(segments[name]) for name in _SEGMENTS if segments.get(name)), "")
    value = scale.ours(score.value)
    return Stratum("" if value is None else _level(value, scale), segment)


def _level(value: Value, scale: SharedScale) -> str:
    if isinstance(value, bool) or scale.is_binary:
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    levels = [float(each) for each in scale.levels if not isinstance(each, str)]
    if 0 < len(levels) <= _LEVELS + 2:
        return f"{min(levels, key=lambda level: abs(level - value)):.3g}"
    width = (scale.high - scale.low) / _LEVELS
    part = min(int((value - scale.low) / width), _LEVELS - 1)
    return f"{scale.low + part * width:.3g} to {scale.low + (part + 1) * width:.3g}"


def _apart(
    score: RecordedScore, said: Mapping[str, RecordedScore], scale: SharedScale, pass_at: float | None
) -> float | None:
    """Return how far the judge is from people on average, a share of the scale; None where nobody said a value."""
    ours = scale.ours(score.value)
    values = [value for label in said.values() if (value := scale.theirs(said_in(label), pass_at)) is not None]
    return sum(distance(ours, value, scale) for value in values) / len(values) if values and ours is not None else None


def _known(
    scored: Mapping[About, RecordedScore],
    distances: Mapping[About, float],
    queue: LabelQueue | None,
    scale: SharedScale,
) -> dict[Stratum, Known]:
    strata = {key: stratum_of(score, scale) for key, score in scored.items()}
    number = Counter(strata.values())
    labelled = Counter(strata[key] for key in distances)
    waiting = Counter(strata[key] for key in scored if queue is not None and queue.has(key) and key not in distances)
    apart: dict[Stratum, float] = defaultdict(float)
    for key, far in distances.items():
        apart[strata[key]] += far
    return {each: Known(number[each], labelled[each], apart[each], waiting[each]) for each in number}


def _tallies(
    queue: LabelQueue | None, labels: Mapping[About, Mapping[str, RecordedScore]], now: Calibration
) -> tuple[Tally, Tally]:
    if queue is None:
        return Tally(0, 0, 0), Tally(0, 0, 0)
    drawn = queue.number_drawn
    return (
        Tally(drawn, sum(map(queue.drew, labels)), sum(map(queue.drew, now.differing))),
        Tally(len(queue.items) - drawn, sum(map(queue.chose, labels)), sum(map(queue.chose, now.differing))),
    )


def _asked(score: RecordedScore, proposal: Proposal, known: Mapping[Stratum, Known]) -> Asked:
    opinions = score.metadata.get(OPINIONS)
    given = opinions if isinstance(opinions, Sequence) and not isinstance(opinions, str) else ()
    values = tuple(each["value"] for each in given if isinstance(each, Mapping) and "value" in each)
    return Asked(score, proposal, known[proposal.candidate.stratum], values)


def _config(rubric: Rubric, against: str, scale: SharedScale) -> dict[str, Any] | None:
    """Return the score config by which people label: as they did before, else on the scale of the judge.

    None where no config of Langfuse is like it.

    Raises:
        ConfigError: the name is too long for one.
    """
    if len(against) > LONGEST_NAME:
        raise ConfigError([Problem(against, f"a score that people give has a name of at most {LONGEST_NAME} letters")])
    own = rubric.spec.score
    if isinstance(own, BooleanScale) or scale.is_binary:
        return {"name": against, "dataType": "BOOLEAN"}
    if isinstance(own, CategoricalScale):
        labels = [{"label": label, "value": place} for place, label in enumerate(own.labels)]
        return None if own.several else {"name": against, "dataType": "CATEGORICAL", "categories": labels}
    low, high = (own.min, own.max) if isinstance(own, NumericScale) else (0.0, 1.0)
    return {"name": against, "dataType": "NUMERIC", "minValue": low, "maxValue": high}
