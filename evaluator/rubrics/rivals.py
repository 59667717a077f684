"""`evaluator rubric compare`: which of two versions of a judge agrees better with people, on the same traces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from evaluator.app import Desk
from evaluator.calibration.agreement import distance
from evaluator.calibration.labels import About, labels_of, said_in
from evaluator.definitions import Evaluator
from evaluator.errors import ConfigError, Problem
from evaluator.langfuse import Window
from evaluator.messages.words import is_priced
from evaluator.preview.intervals import CONFIDENCE
from evaluator.preview.parts import parts
from evaluator.preview.past_sessions import Visit, whole
from evaluator.rubrics.comparing import Comparison, Pair, compare
from evaluator.rubrics.golden import Asks
from judges import Rubric
from judges.agreement import Value
from judges.calibration import Agreement, Figure, Labelled, agreement
from judges.shared_scale import SharedScale, shared_scale
from traces import Outcome, RecordedScore, Session, Trace, Usage, Verdict, duration_text

_BEFORE: Final = timedelta(days=90)
"""How long before its label a trace may have started."""

_AHEAD: Final = timedelta(minutes=1)
_TRACES_A_FETCH: Final = 50
_SESSIONS_A_FETCH: Final = 10

Side = Callable[[Pair], Outcome]
SIDES: Final[tuple[Side, Side]] = (lambda pair: pair.before, lambda pair: pair.after)


@dataclass(frozen=True, slots=True)
class LabelledTrace:
    """A trace, an observation of it or a session, and what people said of it, by person."""

    trace: Trace | Session
    labels: Mapping[str, RecordedScore]

    @property
    def session(self) -> str:
        """What it belongs together with: its session, or itself where it is of none."""
        return self.trace.id if isinstance(self.trace, Session) else self.trace.session_id or self.trace.id


@dataclass(frozen=True, slots=True)
class Flip:
    """A trace of which one version is nearer to people: `gained` is by how much of the scale the second is."""

    pair: Pair
    said: Mapping[str, Value]
    gained: float


@dataclass(frozen=True, slots=True)
class Contest:
    """Two versions of a judge against the same labels.

    Attributes:
        comparison: what both say, with everything that they could not.
        agreements: of the first and of the second with people, on the traces that both judged; None without any.
        difference: by how much the headline figure of the second is higher, resampled together; None where it is none.
        better: the share of resamples in which it is.
        flips: where they differ in how near they are to people, the second's greatest gains first.
    """

    comparison: Comparison
    agreements: tuple[Agreement, Agreement] | None
    difference: Figure | None
    better: float | None
    flips: tuple[Flip, ...]

    def used(self, side: Side) -> Usage:
        """Return what one version cost."""
        return self.comparison.used(side)

    def price(self, side: Side) -> float | None:
        """Return what one version costs for a thousand traces, in USD; None where nobody told a price."""
        asked = self.comparison.asked
        if not asked or not all(is_priced(side(pair)) for pair in asked):
            return None
        return 1000 * self.used(side).usd / len(asked)


def labelled_traces(desk: Desk, evaluator: Evaluator, against: str, since: timedelta, most: int) -> list[LabelledTrace]:
    """Return traces, observations or sessions that people labelled, chosen by a hash: the same labels, the same sample.

    Raises:
        ConfigError: there is none; what to do.
        Unavailable, Refused: Langfuse.
    """
    now = desk.clock.now()
    window = Window(now - since, now + _AHEAD)
    labels = labels_of(desk.langfuse, against, window, lambda score: not _is_of(score, evaluator))
    of_sessions = evaluator.target == "session"
    wanted = sorted((about for about in labels if about[2 if of_sessions else 0] is not None), key=_place)
    at_once = _SESSIONS_A_FETCH if of_sessions else _TRACES_A_FETCH
    found: list[LabelledTrace] = []
    for start in range(0, len(wanted), at_once):
        lot = {about: labels[about] for about in wanted[start : start + at_once]}
        found.extend(_sessions(desk, lot, window) if of_sessions else _traces(desk, evaluator, lot, window))
        if len(found) >= most:
            return found[:most]
    if not found:
        raise ConfigError([Problem(f"--against {against}", _nothing(evaluator, against, since, len(wanted)))])
    return found


def _nothing(evaluator: Evaluator, against: str, since: timedelta, labels: int) -> str:
    """Say why there is nothing labelled, and what to do."""
    name, of = evaluator.name, "session" if evaluator.target == "session" else "trace"
    what = f"nobody gave a score {against!r} to a {of} that {name} judges in the last {duration_text(since)}"
    if labels:
        why = "deleted, too old, in another environment, or without what it looks at"
        what = f"{labels:,} labels {against!r} are there, and Langfuse shows nothing that {name} judges for any ({why})"
    more = "name another score, look further back with --since 365d, or ask people for some"
    return f"{what}: {more}: evaluator label {name}"


def _is_of(score: RecordedScore, evaluator: Evaluator) -> bool:
    return score.name in evaluator.scores and "evaluator_version" in score.metadata


def _place(about: About) -> bytes:
    return hashlib.blake2b("/".join(each or "" for each in about).encode(), digest_size=8).digest()


def _traces(
    desk: Desk, evaluator: Evaluator, labels: Mapping[About, Mapping[str, RecordedScore]], window: Window
) -> Iterator[LabelledTrace]:
    ids = list(dict.fromkeys(trace for trace, _, _ in labels if trace is not None))
    roots = desk.langfuse.roots(ids, Window(window.start - _BEFORE, window.end))
    traces = desk.langfuse.fetch([root.ref for root in roots.values()])
    salt = desk.definitions.service.sampling.salt
    for id_ in ids:
        for part in parts(evaluator, traces[id_], salt) if id_ in traces else ():
            said = labels.get((id_, part.root.id if part.whole is not None else None, None))
            if said is not None:
                yield LabelledTrace(part, said)


def _sessions(
    desk: Desk, labels: Mapping[About, Mapping[str, RecordedScore]], window: Window
) -> Iterator[LabelledTrace]:
    """Give labelled sessions as they are now."""
    service = desk.definitions.service
    found = desk.langfuse.session_roots(
        {session: window.start - _BEFORE for _, _, session in labels if session is not None},
        most=service.sessions.most_traces + 1,
        exclude_environments=service.discovery.exclude_environments,
    )
    for about, said in labels.items():
        known = found.get(about[2] or "")
        visit = None if known is None else Visit(about[2] or "", known.roots, window.end)
        session = None if visit is None else whole(desk.langfuse, visit, service.sessions.most_traces)
        if session is not None:
            yield LabelledTrace(session, said)


def contest(
    model: Asks,
    first: Rubric,
    second: Rubric,
    traces: Sequence[LabelledTrace],
    *,
    pass_at: float | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Contest:
    """Ask both versions about each trace, and hold both against its labels."""
    comparison = compare(model, first, second, [each.trace for each in traces], progress=progress)
    said = [said_in(label) for each in traces for label in each.labels.values()]
    scales = [shared_scale(rubric.spec.score, said, pass_at) for rubric in (first, second)]
    rows: list[tuple[Pair, Labelled, Labelled]] = []
    for pair, each in zip(comparison.pairs, traces, strict=True):
        one, other = (read_by(side(pair), each, scale, pass_at) for side, scale in zip(SIDES, scales, strict=True))
        if one is not None and other is not None:
            rows.append((pair, one, other))
    if not rows:
        return Contest(comparison, None, None, None, ())
    # The same seed and the same sessions: each resample is of the same traces for both.
    before = agreement([one for _, one, _ in rows], scales[0], np.random.default_rng(0))
    after = agreement([other for _, _, other in rows], scales[1], np.random.default_rng(0))
    flips = (Flip(pair, other.labels, _apart(one, scales[0]) - _apart(other, scales[1])) for pair, one, other in rows)
    told = sorted((flip for flip in flips if flip.gained), key=lambda flip: -flip.gained)
    return Contest(comparison, (before, after), *_difference(before, after), tuple(told))


def read_by(outcome: Outcome, each: LabelledTrace, scale: SharedScale, pass_at: float | None) -> Labelled | None:
    """Return what a judge and people said of a trace, on one scale; None where one of both said nothing."""
    if not isinstance(outcome, Verdict):
        return None
    value = outcome.value if isinstance(outcome.value, str) else float(outcome.value)
    ours = scale.ours(value)
    read = {rater: scale.theirs(said_in(label), pass_at) for rater, label in each.labels.items()}
    labels = {rater: one for rater, one in read.items() if one is not None}
    return Labelled(ours, labels, 1.0, each.session) if ours is not None and labels else None


def _difference(first: Agreement, second: Agreement) -> tuple[Figure | None, float | None]:
    one, other = first.judge.get(first.headline), second.judge.get(second.headline)
    draws = second.draws - first.draws
    known = draws[np.isfinite(draws)]
    if one is None or other is None or not known.size:
        return None, None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(other.value - one.value, float(low), float(high)), float((known > 0).mean())


def _apart(item: Labelled, scale: SharedScale) -> float:
    return sum(distance(item.ours, said, scale) for said in item.labels.values()) / len(item.labels)


def judged_by(rubric: Rubric, model: str) -> Rubric:
    """Return a rubric whose judge is one model alone; with an empty name as it is."""
    if not model:
        return rubric
    judge = rubric.spec.judge.model_copy(update={"model": model, "jury": (), "escalate": None})
    return Rubric(rubric.spec.model_copy(update={"judge": judge}))


def names_of(first: Rubric, second: Rubric) -> tuple[str, str]:
    """Return what two versions are called: by their models where these differ, else by their versions."""
    models = [", ".join(dict.fromkeys(each.spec.judge.models)) for each in (first, second)]
    if models[0] != models[1]:
        return models[0], models[1]
    return f"{first.name} {first.version[:6]}", f"{second.name} {second.version[:6]}"
