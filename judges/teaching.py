"""Which subjects a person should label next: a random share that stands for all, and those that would teach most.

Every subject has a place in [0, 1) by a hash that nobody can foresee from what it is. The random share takes the
smallest places below `DRAWN_BELOW`, the chosen ones are taken from above it: whoever knows the place knows for ever why
a subject is in a queue, and no list of the draws has to be kept.

Figures of how far a judge agrees with people rest on the random share. Chosen ones are there to be read: they show
where and why the judge is wrong (and feed `evaluator rubric tune`), and that would be no fair sample.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, zip_longest
from typing import Final, NamedTuple

import scipy

DRAWN_BELOW: Final = 0.5
"""Places from here on are of those that are chosen; below it, of those that chance draws."""

CONFIDENCE: Final = 0.95
_PER_SESSION: Final = 2
_BEFORE: Final = 0.5
"""What is counted in each direction before anybody labelled anything (Jeffreys)."""


class Why(StrEnum):
    """Why a label is asked for."""

    DRAWN = "drawn at random"
    DOUBT = "the judge was unsure"
    FEW = "few labels of its kind"


class Stratum(NamedTuple):
    """What the judge gave, and of which segment of the traffic."""

    level: str
    segment: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A scored subject that nobody has been asked about.

    Attributes:
        id: what it is.
        at: its place by the hash, in [0, 1).
        stratum: what the judge gave it, and its segment.
        session: what is not independent has the same one.
        doubt: how unsure the judge was, 0 where it was sure or nobody knows, 1 where it might as well have guessed.
        labelled: whether a person has labelled it without being asked.
    """

    id: str
    at: float
    stratum: Stratum
    session: str = ""
    doubt: float = 0.0
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a stratum.

    Attributes:
        scored: how many subjects are of it.
        labelled: how many of them people have labelled.
        apart: how far the judge was from people on those, altogether; 1 is the whole scale.
        waiting: how many wait for a label.
    """

    scored: int
    labelled: int = 0
    apart: float = 0.0
    waiting: int = 0

    @property
    def distance(self) -> float:
        """How far the judge is from people on average, a share of the scale; pulled to the middle where few tell."""
        return (self.apart + _BEFORE) / (self.labelled + 2 * _BEFORE)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of that distance (Jeffreys; a distance counts as that share of a miss)."""
        missed, met = self.apart + _BEFORE, self.labelled - self.apart + _BEFORE
        tail = (1 - CONFIDENCE) / 2
        return float(scipy.stats.beta.ppf(tail, missed, met)), float(scipy.stats.beta.ppf(1 - tail, missed, met))

    def gain(self, more: int, share: float) -> float:
        """Return what the label after `more` others is worth for the mean of everything, of which it is a `share`.

        The priority of Neyman's allocation to whole numbers (Wright 2012, "The equivalence of Neyman optimum allocation
        for sampling and equal proportions"): the weight times the spread, over the root of n (n + 1).
        """
        n = self.labelled + self.waiting + more
        return share * math.sqrt(self.distance * (1 - self.distance) / ((n + 1) * (n + 2)))


class Proposal(NamedTuple):
    """A subject whose label is asked for, and why."""

    candidate: Candidate
    why: Why


def is_drawn(at: float) -> bool:
    """Whether what stands in a queue at this place was drawn at random."""
    return at < DRAWN_BELOW


def propose(
    candidates: Iterable[Candidate], known: Mapping[Stratum, Known], size: int, random_share: float
) -> list[Proposal]:
    """Return whose labels to ask for, in an order in which any beginning holds about the same share of each kind.

    The random share is drawn from all, labelled or not: a draw that leaves out what somebody has labelled already is
    none. The others are the most doubtful and those of the least known strata in turn, at most two of a session.

    Args:
        candidates: those not asked about yet.
        known: what is known of each stratum.
        size: how many at most.
        random_share: the part of them that is drawn, from 0 to 1.
    """
    ordered = sorted(candidates, key=lambda each: (each.at, each.id))
    drawn = [each for each in ordered if is_drawn(each.at)][: round(size * random_share)]
    rest = [each for each in ordered if not is_drawn(each.at) and not each.labelled]
    chosen = _chosen(rest, known, Counter(each.stratum for each in drawn), size - len(drawn))
    proposals = [*(Proposal(each, Why.DRAWN) for each in drawn), *chosen]
    return sorted(proposals, key=lambda each: (each.candidate.at % DRAWN_BELOW, each.candidate.id))


def _chosen(
    rest: Sequence[Candidate], known: Mapping[Stratum, Known], asked: Counter[Stratum], size: int
) -> list[Proposal]:
    doubtful = sorted((each for each in rest if each.doubt > 0), key=lambda each: (-each.doubt, each.at))
    unknown = _least_known(rest, known, asked)
    in_turn = chain.from_iterable(zip_longest(_named(doubtful, Why.DOUBT), _named(unknown, Why.FEW)))
    found: dict[str, Proposal] = {}
    sessions: Counter[str] = Counter()
    for each in in_turn:
        if len(found) == size:
            break
        if each is None or each.candidate.id in found:
            continue
        session = each.candidate.session
        if not session or sessions[session] < _PER_SESSION:
            sessions[session] += 1
            found[each.candidate.id] = each
    return list(found.values())


def _named(candidates: Iterable[Candidate], why: Why) -> Iterator[Proposal]:
    return (Proposal(each, why) for each in candidates)


def _least_known(
    rest: Sequence[Candidate], known: Mapping[Stratum, Known], asked: Counter[Stratum]
) -> Iterator[Candidate]:
    """Give all in the order in which they would tell most, counting those before them as labelled."""
    waiting: dict[Stratum, list[Candidate]] = defaultdict(list)
    for each in reversed(rest):
        waiting[each.stratum].append(each)
    scored = max(sum(each.scored for each in known.values()), 1)
    more = Counter(asked)
    while waiting:
        best = max(waiting, key=lambda each: (_gain(known, each, more[each], scored), each))
        yield waiting[best].pop()
        more[best] += 1
        if not waiting[best]:
            del waiting[best]


def _gain(known: Mapping[Stratum, Known], stratum: Stratum, more: int, scored: int) -> float:
    found = known.get(stratum, Known(1))
    return found.gain(more, found.scored / scored)


def more_labels(labels: int, width: float, wished: float) -> int:
    """Return about how many labels more an interval needs to become as narrow as wished.

    Widths go with one over the root of the labels, as long as those to come are like those there are.

    Args:
        labels: how many there are.
        width: how wide the interval is with them.
        wished: how wide it should be.

    Raises:
        ValueError: nothing is as narrow as that.
    """
    if wished <= 0:
        raise ValueError("an interval is never as narrow as nothing")
    return max(math.ceil(labels * (width / wished) ** 2) - labels, 0)
