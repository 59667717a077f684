"""Several opinions on one question become one outcome: the mean of numbers, the majority of labels.

Opinions come from asking one model several times, or several models (a jury). Never the mode of numbers: the mean
agrees better with people everywhere it was measured (docs/scales.md). What failed is no opinion; an abstention is one.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from judges.answer import BaseScale
from judges.checklist import CRITERIA, ChecklistScale, Finding
from judges.scale import CategoricalScale, NumericScale
from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict

OPINIONS: Final = "opinions"
"""Where the details of a verdict hold what each opinion was."""

PANEL: Final = "panel"
"""Where the details of a verdict name the models that may have had a part in it, where that are several.

Which of them answered differs from verdict to verdict; the ruler is the same. (judge_model says who answered.)
"""

FINGERPRINT: Final = "judge_fingerprint"
"""Where the details of a verdict hold what the provider calls the configuration that answered."""

CACHED: Final = "cached"
"""Where the details of a verdict say that nobody was called for it: it was paid for before."""

LONGEST_DISSENT: Final = 400
"""Characters that are kept of the reason of an opinion that differs from the verdict."""

_OWN: Final = frozenset({"judge_model", FINGERPRINT, CRITERIA})


def combined(outcomes: Sequence[Outcome], scale: BaseScale, models: Sequence[str] = ()) -> Outcome:
    """Return what all opinions on one question say together.

    At least half of them must have answered, and of those at least half with a value. Equal votes for two labels are
    no majority: the question stays unscored. A verdict's `confidence` is 1 when all say the same; its details hold
    every opinion, its usage what all of them cost.

    Args:
        outcomes: what was read from each reply, in the order they were asked.
        scale: what all of them answered on.
        models: who was asked for each, so that one who is missing is told by name.

    Raises:
        ValueError: there is none.
    """
    if not outcomes:
        raise ValueError("no opinion was asked for")
    senseless = next((outcome for outcome in outcomes if isinstance(outcome, NotApplicable)), None)
    if len(outcomes) == 1 or senseless is not None:
        return senseless or outcomes[0]
    answers = [outcome for outcome in outcomes if isinstance(outcome, Verdict | Unscored)]
    used = usage_of(outcomes)
    if 2 * len(answers) < len(outcomes):
        return _failed(outcomes, used)
    verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
    if 2 * len(verdicts) < len(answers):
        first = next(answer for answer in answers if isinstance(answer, Unscored))
        silent = len(answers) - len(verdicts)
        return Unscored(f"{silent} of {len(answers)} opinions could not tell: {first.reason}", used)
    together = verdicts[0] if len(answers) == 1 else _together(verdicts, len(answers), scale)
    if isinstance(together, Unscored):
        return replace(together, usage=used)
    # Of all of them: a model without a price may be any of a jury.
    shared = {key: value for verdict in verdicts for key, value in verdict.details.items() if key not in _OWN}
    asked = itertools.zip_longest(outcomes, models)
    opinions = [{**({"model": model} if model else {}), **_noted(each, together.value)} for each, model in asked]
    noted = {OPINIONS: opinions, "judge_model": used.model, **_fingerprints(verdicts)}
    return replace(together, usage=used, details={**shared, **together.details, **noted})


def _fingerprints(verdicts: Sequence[Verdict]) -> dict[str, str]:
    told = {str(verdict.details[FINGERPRINT]) for verdict in verdicts if FINGERPRINT in verdict.details}
    return {FINGERPRINT: " + ".join(sorted(told))} if told else {}


def unsure(outcome: Outcome, below: float) -> bool:
    """Whether a stronger judge should be asked: the confidence is low or unknown, or no value came of it.

    What may succeed later is not unsure: it is to be tried again.
    """
    if isinstance(outcome, Verdict):
        return outcome.confidence is None or outcome.confidence < below
    return isinstance(outcome, Unscored) or (isinstance(outcome, Failure) and not outcome.retryable)


def escalated(first: Outcome, second: Outcome, *, may_wait: bool = True) -> Outcome:
    """Return what the `second`, stronger judge says of a question the `first` was unsure about.

    Should the second have no answer and never get one, the first's stands; so it does when that is not known and may
    last (not `may_wait`), since whoever waits pays the first judge again. Both are paid for, and both are told.
    """
    used = usage_of((first, second))
    waits = isinstance(second, Failure) and second.retryable and may_wait
    if isinstance(second, Failure) and not waits and isinstance(first, Verdict | Unscored):
        kept = replace(first, usage=replace(used, model=first.usage.model))
        return _with_detail(kept, {"escalation_failed": second.kind})
    if isinstance(second, NotApplicable):
        return second
    told = {"escalated_from": _noted(first, None)}
    return _with_detail(replace(second, usage=replace(used, model=second.usage.model)), told)


def usage_of(outcomes: Iterable[Outcome]) -> Usage:
    """Return what all outcomes cost together, under the names of all models that answered."""
    usages = [outcome.usage for outcome in outcomes if not isinstance(outcome, NotApplicable)]
    models = " + ".join(sorted({usage.model for usage in usages if usage.model}))
    return replace(sum(usages, Usage()), model=models)


def confidence_of(spread: float, scale: NumericScale) -> float:
    """Return how sure numbers with this standard deviation are: 1 when all are one, 0 when half lie at each end."""
    return max(0.0, 1 - 2 * spread / (scale.max - scale.min))


def _together(verdicts: Sequence[Verdict], answers: int, scale: BaseScale) -> Verdict | Unscored:
    """Return what the verdicts say, before they are noted; `answers` counts those that could not tell too."""
    if isinstance(scale, ChecklistScale):
        return _findings(verdicts, answers, scale)
    if isinstance(scale, NumericScale):
        return _mean(verdicts, answers, scale)
    if isinstance(scale, CategoricalScale) and scale.several:
        return _common_labels(verdicts, answers, scale)
    return _majority(verdicts, answers)


def _mean(verdicts: Sequence[Verdict], answers: int, scale: NumericScale) -> Verdict:
    values = [float(verdict.value) for verdict in verdicts]
    low, high = min(values), max(values)
    mean = min(max(math.fsum(values) / len(values), low), high)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    nearest = min(verdicts, key=lambda verdict: abs(float(verdict.value) - mean))
    many = len(values)
    said = f"{many} opinions agree" if low == high else f"mean of {many} opinions from {low:g} to {high:g}"
    confidence = confidence_of(spread, scale) * len(values) / answers
    return Verdict(mean, _reason(said, nearest), confidence, details={"spread": spread})


def _majority(verdicts: Sequence[Verdict], answers: int) -> Verdict | Unscored:
    votes = Counter(verdict.value for verdict in verdicts)
    (value, most), *others = votes.most_common()
    if others and others[0][1] == most:
        return Unscored(f"the opinions are split: {_shown(votes)}")
    chosen = next(verdict for verdict in verdicts if verdict.value == value)
    said = f"{answers} opinions agree" if most == answers else f"{most} of {answers} opinions"
    agreement = most / answers
    return Verdict(chosen.value, _reason(said, chosen), agreement, details={"agreement": agreement})


def _common_labels(verdicts: Sequence[Verdict], answers: int, scale: CategoricalScale) -> Verdict | Unscored:
    """Keep each label that more than half name; the agreement is the labels' mean."""
    named = [scale.labels_of(str(verdict.value)) for verdict in verdicts]
    votes = Counter(label for labels in named for label in labels)
    kept = {label for label, count in votes.items() if 2 * count > len(verdicts)}
    if not kept:
        return Unscored(f"the opinions are split: {_shown(votes)}")
    agreeing = [count if label in kept else len(verdicts) - count for label, count in votes.items()]
    agreement = sum(agreeing) / (len(agreeing) * answers)
    nearest = min(verdicts, key=lambda verdict: len(scale.labels_of(str(verdict.value)) ^ kept))
    reason = _reason(f"label by label from {answers} opinions", nearest)
    return Verdict(scale.joined(kept), reason, agreement, details={"agreement": agreement})


def _findings(verdicts: Sequence[Verdict], answers: int, scale: ChecklistScale) -> Verdict | Unscored:
    """Decide criterion by criterion; the confidence is the mean of their agreement, by weight."""
    every = [scale.findings_of(verdict) for verdict in verdicts]
    found = {name: _finding([one[name] for one in every if name in one], answers) for name in scale.criteria}
    together = scale.verdict(found, f"criterion by criterion from {answers} opinions")
    if isinstance(together, Unscored):
        return together
    weights = [criterion.weight for criterion in scale.criteria.values()]
    agreed = [(found[name].agreement or 0) * scale.criteria[name].weight for name in scale.criteria]
    return replace(together, confidence=sum(agreed) / sum(weights))


def _finding(found: Sequence[Finding], answers: int) -> Finding:
    """Return what most opinions say of one criterion; nothing when none of yes, no and not knowing leads."""
    votes = Counter(one.answer for one in found)
    leading = votes.most_common()
    if not leading:
        return Finding(None, agreement=0.0)
    answer, most = leading[0]
    if len(leading) > 1 and leading[1][1] == most:
        words = Counter({"cannot judge" if said is None else "yes" if said else "no": n for said, n in votes.items()})
        return Finding(None, f"the opinions are split: {_shown(words)}", most / answers)
    reason = next(one.reason for one in found if one.answer is answer)
    return Finding(answer, reason, most / answers)


def _failed(outcomes: Sequence[Outcome], used: Usage) -> Failure:
    """Return one failure for many: worth another try when that could still make half of the opinions answer."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    final = sum(not failure.retryable for failure in failures)
    retryable = 2 * (len(outcomes) - final) >= len(outcomes)
    kinds = Counter(failure.kind for failure in failures if failure.retryable == retryable)
    kind = kinds.most_common(1)[0][0]
    first = next(failure for failure in failures if failure.kind == kind)
    reason = f"{len(failures)} of {len(outcomes)} opinions failed, most of them so: {first.reason}"
    return Failure(kind, reason, retryable, used)


def _noted(outcome: Outcome, decided: float | bool | str | None) -> dict[str, Any]:
    """Return one opinion as it stands in the details; its reason only when it differs from what was decided."""
    match outcome:
        case Verdict(value, reason, _, usage) if value == decided:
            return {"value": value, "model": usage.model}
        case Verdict(value, reason, _, usage):
            return {"value": value, "model": usage.model, "reason": reason[:LONGEST_DISSENT]}
        case Unscored(reason, usage):
            return {"value": None, "model": usage.model, "reason": reason[:LONGEST_DISSENT]}
        case Failure(kind):
            return {"failed": kind}
    return {"failed": "not_applicable"}


def _with_detail(outcome: Verdict | Unscored | Failure, told: Mapping[str, Any]) -> Verdict | Unscored | Failure:
    return replace(outcome, details={**outcome.details, **told}) if isinstance(outcome, Verdict) else outcome


def _reason(said: str, chosen: Verdict) -> str:
    return f"({said}) {chosen.reason}".rstrip()


def _shown(votes: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {_word(value)}" for value, count in votes.items())


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
