"""What people would say of a week's scores: a judge's mean corrected by labels, beside the raw one.

A judge that agrees with people may still be too kind to all of them: kappa says how well it tells good from bad, the
correction by how much its mean is off.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import scipy

from monitors.means import Floats, Ints, hajek

LEVEL: Final = 0.95
FEWEST: Final = 10
"""Labels, and failures among labels of yes and no, below which normal theory does not hold."""

_TELLS: Final = 0.1
"""Youden's index below which a judge's rates carry no correction: it hardly tells good from bad."""


class Corrected(NamedTuple):
    """A mean as the judge gave it, as people would have, and the 95 % interval of that.

    `by` says how; `labels` are those it rests on.
    """

    by: str
    raw: float
    mean: float
    low: float
    high: float
    labels: int


class Scored(NamedTuple):
    """What a judge gave, with weights and the session each is of."""

    values: Floats
    weights: Floats
    sessions: Ints


class Chances(NamedTuple):
    """How likely each of the labelled was to be drawn for labelling, and each of the others."""

    labelled: Floats
    rest: Floats


def by_labels(said: Floats, labelled: Scored, rest: Scored, drawn: Chances | None = None) -> Corrected | None:
    """Correct a mean by labels of a known-probability sample of the same week: PPI++ (Angelopoulos et al. 2023).

    theta = lam mean(rest) + mean(said - lam labelled), with the lam that gives the least variance: 0 where the judge
    tells nothing of people, so that it is never worse than the labels alone. Sessions are clusters.

    Args:
        said: what people said of the labelled subjects, on the judge's scale.
        labelled: what the judge gave those.
        rest: what it gave the others.
        drawn: where not all were equally likely to be drawn: labelled ones stand for all like them, and so do others.

    Returns:
        None with fewer than 10 labels, of fewer than two sessions, or without others.
    """
    if said.size < FEWEST or not rest.values.size or np.unique(labelled.sessions).size < 2:
        return None
    everything = _together(labelled, rest)
    labelled, rest = _counted(labelled, rest, drawn)
    lam = _lam(said, labelled, everything, 1 + _effective(labelled.weights) / _effective(rest.weights))
    others = hajek(rest.values, rest.weights, rest.sessions)
    error = hajek(said - lam * labelled.values, labelled.weights, labelled.sessions)
    mean = lam * others.mean + error.mean
    # One session alone tells nothing of the spread; what carries no weight need not.
    noise = lam**2 * others.variance if lam > 0 else 0.0
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, error.sessions - 1) * np.sqrt(noise + error.variance))
    return Corrected("this week's labels (PPI++)", hajek(*everything).mean, mean, mean - half, mean + half, said.size)


def by_few(said: Floats, labelled: Scored, rest: Scored, drawn: Chances | None = None) -> Corrected | None:
    """Return the pass rate of the labels alone with its exact interval (Clopper and Pearson): for few failures.

    Where hardly any label is a failure, normal theory promises too much (85 % where it says 90, measured). With weights
    the interval is that of as many equally likely labels as tell as much.
    """
    if not said.size:
        return None
    raw = hajek(*_together(labelled, rest)).mean
    labelled, _ = _counted(labelled, rest, drawn)
    share, n = labelled.weights / labelled.weights.sum(), _effective(labelled.weights)
    mean = float(share @ said)
    passed, tail = mean * n, (1 - LEVEL) / 2
    low = float(scipy.stats.beta.ppf(tail, passed, n - passed + 1)) if passed > 0 else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, passed + 1, n - passed)) if passed < n else 1.0
    return Corrected("this week's labels alone (exact interval)", raw, mean, low, high, said.size)


def by_rates(week: Scored, fails: tuple[float, int], passes: tuple[float, int]) -> Corrected | None:
    """Correct a pass rate by how a judge erred in older labels: Rogan and Gladen (1978), interval of Lee et al. (2025).

    Valid as long as the judge's error rates stayed what they were, whatever the pass rate does.

    Args:
        week: what the judge gave: 1 passes, 0 does not.
        fails: of the subjects that people fail: the share the judge fails too (specificity), and how many.
        passes: of those they pass: the share it passes too (sensitivity), and how many.

    Returns:
        None where nobody failed or passed, or where the judge hardly tells one from the other.
    """
    if not week.values.size or not fails[1] or not passes[1]:
        return None
    found = hajek(week.values, week.weights, week.sessions)
    z = float(scipy.stats.norm.ppf((1 + LEVEL) / 2))
    n = _binary_size(found.mean, found.variance, found.effective)
    rate = (n * found.mean + z * z / 2) / (n + z * z)
    (specific, of_fails), (sensitive, of_passes) = fails, passes
    a, b = (of_fails * specific + 1) / (of_fails + 2), (of_passes * sensitive + 1) / (of_passes + 2)
    tells = a + b - 1
    if tells < _TELLS:
        return None
    mean = (rate + a - 1) / tells
    va, vb = a * (1 - a) / (of_fails + 2), b * (1 - b) / (of_passes + 2)
    shift = 2 * z * z * (mean * vb - (1 - mean) * va)
    spread = rate * (1 - rate) / (n + z * z) + (1 - mean) ** 2 * va + mean**2 * vb
    half = z * float(np.sqrt(spread)) / tells
    low, middle, high = (float(np.clip(end, 0, 1)) for end in (mean + shift - half, mean, mean + shift + half))
    return Corrected("older labels (Rogan-Gladen)", found.mean, middle, low, high, of_fails + of_passes)


def _lam(said: Floats, labelled: Scored, everything: Scored, both: float) -> float:
    """Return how much of the judge's mean to use: its covariance with people over its variance, from 0 to 1."""
    share, whole = labelled.weights / labelled.weights.sum(), everything.weights / everything.weights.sum()
    together = float(share @ ((labelled.values - share @ labelled.values) * said))
    spread = float(whole @ (everything.values - whole @ everything.values) ** 2)
    return float(np.clip(together / (both * spread), 0, 1)) if spread > 0 else 0.0


def _counted(labelled: Scored, rest: Scored, drawn: Chances | None) -> tuple[Scored, Scored]:
    """Return both parts as they stand for the whole: by one over how likely each was to be in its part."""
    if drawn is None:
        return labelled, rest
    return (
        labelled._replace(weights=labelled.weights / drawn.labelled),
        rest._replace(weights=rest.weights / (1 - drawn.rest)),
    )


def _together(one: Scored, other: Scored) -> Scored:
    return Scored(
        np.concatenate([one.values, other.values]),
        np.concatenate([one.weights, other.weights]),
        np.concatenate([one.sessions, other.sessions]),
    )


def _effective(weights: Floats) -> float:
    return float(weights.sum() ** 2 / (weights @ weights))


def _binary_size(mean: float, variance: float, effective: float) -> float:
    """Return how many independent traces would give a rate that variance; never more than there are."""
    if not np.isfinite(variance):
        return 1.0
    return min(effective, mean * (1 - mean) / variance) if variance > 0 else effective
