"""Which traces an evaluator sees: a keyed hash, so the answer never depends on order, process or other evaluators.

One salt for all evaluators makes the samples nested: whatever a lower rate takes, a higher one takes too, and adding
or changing one evaluator leaves every other sample as it was.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from traces import SampleRule, TraceRoot, When

_DOMAIN: Final = b"evaluator:sampling:1"


class NotTaken(StrEnum):
    """Why an evaluator does not see a trace."""

    FILTERED = "filtered"
    SAMPLED_OUT = "sampled_out"
    SHED = "shed"
    """Taken at the configured rate, but not while workers cannot keep up."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """An evaluator takes a trace: with which probability it did, and through which line of its `sample`."""

    evaluator: str
    probability: float
    stratum: str


def position(trace_id: str, salt: str) -> float:
    """Return where a trace lies in [0, 1): uniform, and the same for ever for one salt."""
    keyed = _keyed(salt).copy()
    keyed.update(trace_id.encode())
    return (int.from_bytes(keyed.digest()) >> 11) / 2**53


@functools.lru_cache(maxsize=8)
def _keyed(salt: str) -> hashlib.blake2b:
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    return hashlib.blake2b(key=key, digest_size=8, person=_DOMAIN[:16])


def decide(
    root: TraceRoot, evaluator: str, when: When, sample: Sequence[SampleRule], salt: str, share: float = 1.0
) -> Sampled | NotTaken:
    """Decide whether an evaluator takes a trace.

    Of all lines of `sample` that match the highest rate counts, under the same hash: the inclusion probability is
    then exactly that rate, not a mixture. Under overload only a `share` of it counts.
    """
    if not when.matches(root):
        return NotTaken.FILTERED
    matching = [(line.rate, -index) for index, line in enumerate(sample) if line.when.matches(root)]
    if not matching:
        return NotTaken.FILTERED
    rate, index = max(matching)
    at = position(root.ref.id, salt)
    if at >= rate:
        return NotTaken.SAMPLED_OUT
    return Sampled(evaluator, rate * share, str(-index)) if at < rate * share else NotTaken.SHED
