"""Rules that compare a trace with earlier ones: was it as quick as usual, was the same question answered alike.

A rule is pure: it says what is to be kept of a trace and under which topic, and the service keeps it, finds what was
kept of earlier traces of the topic and gives both with the trace. No text is kept: a number, or a fingerprint.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field

from rules.base import Rule, counted, failed, passed
from rules.steps import first_token_waits, slowest_step
from rules.text import ANSWER, NOT_FOUND, selected_text
from traces import NotApplicable, Path, Trace, Verdict, composed, well_formed

_UNKNOWN: Final = NotApplicable("no earlier traces are known here")
_ONLY_WHOLE: Final = NotApplicable("only whole traces are compared")
_TOO_FEW: Final = NotApplicable("too few earlier traces to compare with")
_NEW: Final = NotApplicable("not asked before")

_LONGEST: Final = 10_000
"""Characters at each end of an answer that its fingerprint is made of."""

_BINS: Final = 128
_PIECE: Final = 5
_EMPTY: Final = 255
_QUESTION: Final = Path.parse("$.root.input")


class Remembering(Rule):
    """A rule that compares a trace with earlier ones of the same topic."""

    keeps: ClassVar[int]
    """Of how many traces of one topic and day something is kept; which ones is chosen by a hash of their ids."""

    days: int = Field(default=7, ge=1, le=30, description="how many days back")

    @abstractmethod
    def topic(self, trace: Trace) -> str | None:
        """Return what traces share that are compared; None when this one is compared with none."""

    @abstractmethod
    def note(self, trace: Trace) -> str | None:
        """Return what is kept of a trace, at most 300 characters and never its text; None when nothing is."""

    @abstractmethod
    def compare(self, note: str, earlier: Sequence[str]) -> Verdict | NotApplicable:
        """Compare what would be kept of a trace with what was kept of earlier ones, the oldest first."""

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Compare the trace with what is known of earlier ones."""
        if trace.whole is not None:
            return _ONLY_WHOLE
        topic, note = self.topic(trace), self.note(trace)
        if topic is None or note is None:
            return NOT_FOUND
        if trace.earlier is None:
            return _UNKNOWN
        return self.compare(note, trace.earlier.get(self.memory(topic), ()))

    def memory(self, topic: str) -> str:
        """Return the name under which the service keeps a topic of this rule."""
        return f"{self.kind}/{hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()}/{topic}"


Measure = Literal["latency", "cost", "tokens", "slowest_step", "time_to_first_token"]


class WithinUsual(Remembering):
    """The trace took no more than is usual for its name: at most `factor` times a percentile of the last days.

    Compared are traces of the same name that ended before it; of each day at most 128, chosen by chance, so that each
    day counts alike. With fewer than 30 (or fewer than it takes to know the percentile) the trace is not scored. With
    `factor: 1` the 95th percentile fails one in twenty traces on a day like any other: to find what is wrong, not what
    is slow, ask for twice the percentile.
    """

    keeps: ClassVar = 128
    example: ClassVar = {"name": "as-quick-as-usual", "rule": "within_usual", "of": "latency", "factor": 2}

    of: Measure = Field(description="what is compared: seconds, US dollars or tokens")
    percentile: float = Field(default=95, ge=50, lt=100, description="of the earlier traces")
    factor: float = Field(default=1, gt=0, allow_inf_nan=False, description="how many times the percentile is allowed")

    def topic(self, trace: Trace) -> str | None:
        """Return the trace's name: only requests of the same kind are alike."""
        return trace.name

    def note(self, trace: Trace) -> str | None:
        """Return the number."""
        value = _MEASURES[self.of](trace)
        return None if value is None or not math.isfinite(value) or value < 0 else f"{value:.6g}"

    def compare(self, note: str, earlier: Sequence[str]) -> Verdict | NotApplicable:
        """Compare with the percentile by nearest rank (the smallest value that so many per cent do not exceed)."""
        # What is kept out of reach by less than one trace is not known: the 99th percentile needs a hundred.
        if len(earlier) < max(30, math.ceil(round(100 / (100 - self.percentile), 6))):
            return _TOO_FEW
        known = sorted(map(float, earlier))
        usual = known[math.ceil(self.percentile / 100 * len(known)) - 1]
        value = float(note)
        verdict = passed if value <= self.factor * usual else failed
        times = "" if self.factor == 1 else f"{self.factor:g} times "
        found = f"{self.of.replace('_', ' ')} {value:.4g}, at most {times}{usual:.4g} allowed"
        of = counted(len(known), "earlier trace")
        return verdict(f"{found}, the {self.percentile:g}th percentile of {of}", value)


class ConsistentAnswer(Remembering):
    """The same question gets the same answer: an answer fails that is unlike every earlier one to the same input.

    Inputs are the same when nothing but case, white space and the sign at the end differs. Answers are compared by how
    they are worded: `similarity` is the share of pieces of five characters that both have, of all that either has,
    known to about four hundredths. Two answers that say the same in other words have about 0.2 to 0.4, two about other
    things hardly ever 0.1. It cannot tell a yes from a no in a long answer: that takes a judge. Of each input and day
    at most 8 answers are remembered, as fingerprints from which no text can be read back. A question that was not asked
    before is not scored.
    """

    keeps: ClassVar = 8
    example: ClassVar = {"name": "same-answer", "rule": "consistent_answer", "similarity": 0.15}

    input: Path = Field(default=_QUESTION, description="what was asked")
    value: Path = Field(default=ANSWER, description="what was answered")
    similarity: float = Field(default=0.15, gt=0, le=1, description="how alike the answers must be, from 0 to 1")

    def topic(self, trace: Trace) -> str | None:
        """Return a hash of the input, whatever its case and white space."""
        asked = selected_text(self.input, trace)
        plain = "" if asked is None else _plain(asked)
        return hashlib.blake2b(plain.encode(), digest_size=16).hexdigest() if plain else None

    def note(self, trace: Trace) -> str | None:
        """Return the fingerprint of the answer."""
        said = selected_text(self.value, trace)
        return None if said is None else fingerprint(said)

    def compare(self, note: str, earlier: Sequence[str]) -> Verdict | NotApplicable:
        """Compare with the earlier answer that is most alike."""
        if not earlier:
            return _NEW
        nearest = max(alike(note, other) for other in earlier)
        verdict = passed if nearest >= self.similarity else failed
        found = f"alike by {nearest:.2f} to the nearest of {counted(len(earlier), 'earlier answer')} to the same input"
        return verdict(f"{found}, at least {self.similarity:g} expected", nearest)


def fingerprint(text: str) -> str:
    """Return 256 hexadecimal digits by which texts can be compared and not read.

    One permutation hashing (Li, Owen and Zhang 2012): each piece falls into one of 128 bins by its hash, and of the
    smallest in each bin eight bits are kept (Li and König 2010). That fits every 256th piece of any text.
    """
    plain = _plain(text)
    if len(plain) > 2 * _LONGEST:
        plain = plain[:_LONGEST] + plain[-_LONGEST:]
    smallest: dict[int, int] = {}
    for start in range(max(len(plain) - _PIECE, 0) + 1 if plain else 0):
        mixed = zlib.crc32(plain[start : start + _PIECE].encode()) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        place, rank = mixed >> 57, mixed >> 16 & 0xFFFFFFFF
        if rank < smallest.get(place, 1 << 32):
            smallest[place] = rank
    return bytes(smallest[place] % _EMPTY if place in smallest else _EMPTY for place in range(_BINS)).hex()


def alike(one: str, other: str) -> float:
    """Return how alike two texts are by their fingerprints, from 0 to 1: an estimate of Jaccard's coefficient.

    Its standard error is at most 0.045, where both texts have many pieces. What agrees by chance (one in 255) is taken
    off.
    """
    try:
        both = zip(bytes.fromhex(one), bytes.fromhex(other), strict=True)
        pairs = [pair for pair in both if pair != (_EMPTY, _EMPTY)]
    except ValueError:
        return 0.0  # kept by another release
    if not pairs:
        return 1.0  # both say nothing
    share = sum(left == right for left, right in pairs) / len(pairs)
    return max(0.0, (share - 1 / _EMPTY) / (1 - 1 / _EMPTY))


def _plain(text: str) -> str:
    return " ".join(composed(well_formed(text)).casefold().split()).strip(" .!?")


def _slowest(trace: Trace) -> float | None:
    slowest = slowest_step(trace)
    return None if slowest is None else slowest[1]


def _longest_wait(trace: Trace) -> float | None:
    return max((wait for _, wait in first_token_waits(trace)), default=None)


def _tokens(trace: Trace) -> float | None:
    return trace.tokens if any(step.usage for step in trace.generations) else None


_MEASURES: Final[Mapping[Measure, Callable[[Trace], float | None]]] = {
    "latency": lambda trace: trace.latency,
    "cost": lambda trace: trace.cost,
    "tokens": _tokens,
    "slowest_step": _slowest,
    "time_to_first_token": _longest_wait,
}
