"""The annotation queue of a rubric: who was put there by `evaluator label`, and whether chance or a reason chose.

Nothing of it is kept anywhere else. The queue stands in Langfuse, an item's place is a hash of its id (judges/
teaching.py), and the draws follow from when items were put in: whoever wipes Redis loses nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

import structlog

from evaluator.calibration.labels import About
from evaluator.errors import ConfigError, Refused
from evaluator.langfuse import QueueItem, object_of
from evaluator.sampling.sampler import position
from judges import Rubric
from judges.spec import LONGEST_NAME
from judges.teaching import is_drawn
from traces import Subject

_PAUSE: Final = timedelta(minutes=30)
"""Between two items of one draw there is less."""

FRAME: Final = timedelta(days=7)
"""How far back a draw looks, unless it is told otherwise."""

_log = structlog.get_logger(__name__)

Object = tuple[str, str]
"""What a queue calls a subject: the kind of object and its id."""


class QueueStore(Protocol):
    """What is needed of Langfuse."""

    def queue_ids(self) -> dict[str, str]:
        """Return the id of each annotation queue, by its name and by the id itself."""

    def queue_items(self, queue_id: str) -> list[QueueItem]:
        """Return all that stands in an annotation queue, done or not."""


class Draw(NamedTuple):
    """Everything scored in the week before `at` whose place is at most `below` was put into the queue."""

    at: datetime
    below: float


@dataclass(frozen=True, slots=True)
class LabelQueue:
    """A queue as it stands; `items` say since when each is in it."""

    id: str
    name: str
    salt: str
    items: Mapping[Object, datetime]
    draws: tuple[Draw, ...] = field(default=())

    def has(self, about: About) -> bool:
        """Whether the subject is in the queue, done or not."""
        return object_of(subject_of(about)) in self.items

    def drew(self, about: About) -> bool:
        """Whether chance put the subject into the queue."""
        return self.has(about) and is_drawn(place_of(about, self.salt))

    def chose(self, about: About) -> bool:
        """Whether the subject was put into the queue because its label teaches more than others."""
        return self.has(about) and not is_drawn(place_of(about, self.salt))

    def probability(self, at: datetime) -> float:
        """Return how likely a subject that was scored with this time was to be drawn; 0 where nobody drew since."""
        reached = (draw.below for draw in self.draws if at <= draw.at <= at + FRAME)
        return max(reached, default=0.0)

    @property
    def number_drawn(self) -> int:
        """How many of its items chance put there."""
        return sum(is_drawn(_place(id_, self.salt)) for _, id_ in self.items)

    @property
    def began(self) -> datetime | None:
        """Since when there is anything in it."""
        return min(self.items.values(), default=None)


def queue_name(rubric: Rubric) -> str:
    """Return the name of a rubric's queue: as its file says, or after the rubric."""
    said = rubric.spec.calibrate
    if said is not None and said.queue is not None:
        return said.queue
    named = f"{rubric.name} labels"
    return named if len(named) <= LONGEST_NAME else rubric.name


def read_queue(langfuse: QueueStore, name: str, salt: str) -> LabelQueue | None:
    """Return a queue; None when there is none, or when this Langfuse has no queues at all.

    Args:
        langfuse: where it is.
        name: of the queue, or its id.
        salt: key of the hash.

    Raises:
        Unavailable: Langfuse.
    """
    try:
        id_ = langfuse.queue_ids().get(name)
    except (Refused, ConfigError) as error:  # no such endpoint, or not in this plan: then there is no queue either
        _log.info("annotation queues cannot be read", reason=str(error))
        return None
    return None if id_ is None else queue_of(id_, name, salt, langfuse.queue_items(id_))


def queue_of(id_: str, name: str, salt: str, items: Sequence[QueueItem]) -> LabelQueue:
    """Return a queue with these items, and the draws that made it."""
    since: dict[Object, datetime] = {}
    for item in sorted(items, key=lambda each: each.since):
        since.setdefault((item.kind, item.id), item.since)
    return LabelQueue(id_, name, salt, since, _draws(since, salt))


def _draws(since: Mapping[Object, datetime], salt: str) -> tuple[Draw, ...]:
    drawn = sorted((at, place) for (_, id_), at in since.items() if is_drawn(place := _place(id_, salt)))
    if not drawn:
        return ()
    lots = [[drawn[0]]]
    for before, each in pairwise(drawn):
        if each[0] - before[0] > _PAUSE:
            lots.append([])
        lots[-1].append(each)
    return tuple(Draw(lot[0][0], max(place for _, place in lot)) for lot in lots)


def place_of(about: About, salt: str) -> float:
    """Return where a subject stands in the draw for labels: another hash than that of sampling, the same for ever.

    It is one for all rubrics: what is drawn for one is drawn for the others, and whoever reads it can label all.
    """
    return _place(object_of(subject_of(about))[1], salt)


def _place(id_: str, salt: str) -> float:
    return position(f"label/{id_}", salt)


def subject_of(about: About) -> Subject:
    """Return what a score is about, as a subject."""
    trace, observation, session = about
    return Subject(session_id=session) if trace is None else Subject(trace, observation)
