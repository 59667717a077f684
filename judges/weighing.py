"""A score weighed by the probabilities a model gave to every level, in place of the one level it happened to say.

One call then tells as much as many samples. It needs a scale whose levels are single tokens, and a judge that has not
settled before it says the score: long reasoning leaves one level nearly all the probability.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from judges.answer import BaseScale
from judges.opinions import confidence_of
from judges.scale import BooleanScale, NumericScale
from traces import Failure, Outcome, Verdict

LEAST_INSIDE: Final = 0.9
"""With less of the probability on the scale there is no score."""

_SCORE: Final = re.compile(r"""["'*_]*\bscore["'*_]*\s*[:=]["'*_\s]*""", re.IGNORECASE)
_AROUND: Final = " \t\r\n\"'`*_:=,.}"


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer; `likely` has the natural logarithm of the probability of the likeliest ones there."""

    text: str
    likely: Mapping[str, float] = field(default_factory=dict)


def unweighable(scale: BaseScale) -> str | None:
    """Say why the levels of a scale cannot be weighed; None when they can.

    A level of several digits is one token to some models and several to others, so that "1" may begin "10".
    """
    if isinstance(scale, BooleanScale):
        return None
    if isinstance(scale, NumericScale) and scale.levels and all(level in range(10) for level in scale.levels):
        return None
    return "logprobs need a boolean scale, or one of whole numbers from 0 to 9: {min: 1, max: 5, step: 1}"


def weighed(outcome: Outcome, tokens: Sequence[Token], scale: BaseScale) -> Outcome:
    """Return an outcome with its value weighed by the probabilities of all levels.

    A number becomes the mean of the levels, yes or no the likelier of the two; the confidence follows from the spread.
    The details hold the probability outside the scale and what was said in plain words. A server that tells no
    probabilities leaves the verdict as it was, and that is told too.

    Args:
        outcome: what was read from the reply.
        tokens: those of the whole reply, in order.
        scale: what was answered on; one that is not `unweighable`.
    """
    if not isinstance(outcome, Verdict):
        return outcome
    said = score_token(tokens)
    if said is None or not said.likely or _level(said.text, scale) != outcome.value:
        return replace(outcome, details={**outcome.details, "weighed": False})
    masses = _masses(said.likely, scale)
    inside = min(math.fsum(masses.values()), 1.0)
    if inside < LEAST_INSIDE:
        reason = f"{1 - inside:.0%} of the judge's probability lies outside the scale"
        return Failure("off_scale", reason, usage=outcome.usage)
    told = {**outcome.details, "weighed": True, "outside": round(1 - inside, 4), "said": outcome.value}
    value, confidence = _mean(masses, scale) if isinstance(scale, NumericScale) else _likelier(masses)
    return replace(outcome, value=value, confidence=confidence, details=told)


def score_token(tokens: Sequence[Token]) -> Token | None:
    """Return the token that begins the last score of an answer; None when there is none."""
    found = list(_SCORE.finditer("".join(token.text for token in tokens)))
    if not found:
        return None
    wanted, passed = found[-1].end(), 0
    for token in tokens:
        passed += len(token.text)
        if passed > wanted:
            return token
    return None


def _masses(likely: Mapping[str, float], scale: BaseScale) -> dict[float | bool | str, float]:
    """Add up the probability of each level, however its token is written."""
    masses: dict[float | bool | str, float] = {}
    for text, logarithm in likely.items():
        level = _level(text, scale)
        if level is not None:
            masses[level] = masses.get(level, 0.0) + math.exp(min(logarithm, 0.0))
    return masses


def _mean(masses: Mapping[Any, float], scale: NumericScale) -> tuple[float, float]:
    total = math.fsum(masses.values())
    mean = math.fsum(level * mass for level, mass in masses.items()) / total
    variance = math.fsum(mass * (level - mean) ** 2 for level, mass in masses.items()) / total
    return min(max(mean, scale.min), scale.max), confidence_of(math.sqrt(variance), scale)


def _likelier(masses: Mapping[float | bool | str, float]) -> tuple[float | bool | str, float]:
    value = max(masses, key=lambda level: masses[level])
    return value, masses[value] / math.fsum(masses.values())


def _level(text: str, scale: BaseScale) -> float | bool | str | None:
    """Return the level that a token is; None when it is none, or only part of one."""
    word = text.strip(_AROUND)
    if isinstance(scale, BooleanScale):
        return {"true": True, "false": False}.get(word.casefold())
    return scale.parse(word) if re.fullmatch("[0-9]", word) and scale.has(float(word)) else None
