"""The story of a trace or session: why does it have this score, or none? Pure: from what is known to what is told.

The command `evaluator why` and the status page tell the same story. What an evaluator decides is not decided here once
more: it comes from `trying.decide`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from evaluator.definitions import Evaluator
from evaluator.preview.trying import Decision
from evaluator.state.arrears import Span
from evaluator.state.dead_letters import DeadLetter
from evaluator.state.hours import Funnel
from evaluator.status.overview import span_text
from traces import RecordedScore, duration_text

_OURS: Final = "inclusion_probability"
"""Every score of ours says in its metadata how likely its trace was taken."""

_ROUNDED: Final = timedelta(milliseconds=1)
"""Times of scores are no more exact than that."""

_ANSWER_STATES: Final = ("scored", "skipped", "unscored", "failed", "gone")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one trace or session.

    Attributes:
        id: its id.
        url: where a person reads it.
        name: of the trace; a session has none.
        environment: where it ran.
        session_id: the session it belongs to.
        ended: when its root ended, or the last one of the session.
        steps: how many observations it has, or traces.
        now: the time.
        is_claimed: whether discovery has handed it over, or decided that nobody takes it.
        remembers: how far back Redis knows what was claimed.
        mark: up to when everything was read; None before the first look.
        leader: who leads; None when nobody does.
        evaluators: all that are on.
        decisions: what each of them decides now, in their order.
        settled: state, or state/reason, by evaluator.
        judged: evaluators whose judgement is paid for and not written yet.
        letters: what was given up, by evaluator.
        scores: what Langfuse holds of the trace and its session.
        funnel: of the hour in which it ended.
        parked: evaluators for which something waits for money.
        owed: spans of time that evaluators will look at when there is money.
        closed: models that take no calls, with why.
        rests: whether nothing in it is open, or moved lately.
        idle: how long a session must be idle; None of a trace.
    """

    id: str
    url: str
    name: str
    environment: str
    session_id: str | None
    ended: datetime
    steps: int
    now: datetime
    is_claimed: bool
    remembers: timedelta
    mark: datetime | None
    leader: str | None
    evaluators: Sequence[Evaluator]
    decisions: Sequence[Decision]
    settled: Mapping[str, str] = field(default_factory=dict)
    judged: frozenset[str] = frozenset()
    letters: Mapping[str, DeadLetter] = field(default_factory=dict)
    scores: Sequence[RecordedScore] = ()
    funnel: Funnel = field(default_factory=Funnel)
    parked: frozenset[str] = frozenset()
    owed: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    rests: bool = True
    idle: timedelta | None = None

    @property
    def kind(self) -> str:
        """What it is: `trace` or `session`."""
        return "trace" if self.idle is None else "session"

    @property
    def due(self) -> datetime:
        """When it ends for discovery: a session, when it was idle for long enough."""
        return self.ended + (self.idle or timedelta())

    @property
    def is_forgotten(self) -> bool:
        """Whether it is too old for Redis to remember what became of it."""
        return not self.is_claimed and self.now - self.ended > self.remembers


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a trace and one evaluator.

    Attributes:
        evaluator: its name.
        kind: rule or rubric.
        version: of its definition.
        state: scored, skipped, unscored, failed, gone; pending, unseen, unknown, unfinished; or why it is not taken.
        why: the same in a sentence.
        todo: what a person may do about it; empty when there is nothing to do.
        position: where the trace lies in [0, 1).
        rate: the sampling rate that counts; None where none does.
        score: what Langfuse shows, as text.
    """

    evaluator: str
    kind: str
    version: str
    state: str
    why: str
    todo: str = ""
    position: float | None = None
    rate: float | None = None
    score: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything there is to tell of a trace."""

    facts: Facts
    headline: str
    seen: str
    fates: tuple[Fate, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        facts = self.facts
        return {
            facts.kind: {
                "id": facts.id,
                "environment": facts.environment,
                "ended": facts.ended.isoformat(),
                "url": facts.url,
                **({"name": facts.name, "session_id": facts.session_id} if facts.idle is None else {}),
            },
            "headline": self.headline,
            "seen": self.seen,
            "evaluators": [
                {name: getattr(fate, name) for name in ("evaluator", "kind", "version", "state", "why", "todo")}
                | {"position": fate.position, "rate": fate.rate, "score": fate.score or None}
                for fate in self.fates
            ],
        }


def tell(facts: Facts) -> Story:
    """Return the story."""
    fates = tuple(
        _fate(facts, evaluator, decision) for evaluator, decision in zip(facts.evaluators, facts.decisions, strict=True)
    )
    nobody = "no evaluator is on" if facts.idle is None else "no rubric that is on judges sessions"
    return Story(facts, _headline(fates) or nobody, _seen(facts), fates)


def _headline(fates: Sequence[Fate]) -> str:
    counted: dict[str, list[str]] = {}
    for fate in fates:
        counted.setdefault(fate.state, []).append(fate.evaluator)
    parts = []
    for state in (
        *_ANSWER_STATES,
        "pending",
        "unseen",
        "unknown",
        "unfinished",
        "filtered",
        "sampled_out",
        "excluded",
        "off",
    ):
        names = counted.get(state, [])
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            parts.append(f"{len(names)} {state.replace('_', ' ')} ({shown})")
    return "; ".join(parts)


def _seen(facts: Facts) -> str:
    if facts.is_claimed:
        return "seen: discovery found it and decided who takes it"
    if facts.mark is None:
        return "not seen: discovery has never read anything; start `evaluator run`"
    if facts.due > facts.now:
        return f"not seen yet: it is looked at when it was idle for {duration_text(facts.due - facts.ended)}"
    if facts.due >= facts.mark:
        leads = "" if facts.leader else ", and nobody leads now: start `evaluator scheduler`"
        return f"not seen yet: everything was read that ended up to {_clock(facts.mark)}{leads}"
    if facts.is_forgotten:
        return f"it ended more than {span_text(facts.remembers)} ago: Redis does not remember what became of it"
    return (
        "not seen, though what ended then was read: it came to Langfuse later than discovery.overlap allows, or the "
        "service was first started after it; `evaluator sweep --since` takes it up"
    )


def _fate(facts: Facts, evaluator: Evaluator, decision: Decision) -> Fate:
    state, why, todo = _told(facts, evaluator, decision)
    score = _score_of(facts, evaluator)
    return Fate(
        evaluator.name,
        evaluator.kind,
        evaluator.version,
        state,
        why,
        todo,
        decision.position,
        decision.rate,
        "" if score is None else _shown(score),
    )


def _told(facts: Facts, evaluator: Evaluator, decision: Decision) -> tuple[str, str, str]:
    """Return state, why, and what to do: what has happened comes before what would be decided now."""
    name = evaluator.name
    score, settled = _score_of(facts, evaluator), facts.settled.get(name, "")
    if score is not None and (facts.idle is None or score.timestamp >= facts.ended - _ROUNDED):
        return "scored", f"Langfuse holds {_shown(score)}", ""
    if settled:
        return _ended(facts, name, settled)
    if score is not None:
        state, why, todo = _told(replace(facts, scores=()), evaluator, decision)
        return state, f"{why}; Langfuse holds {_shown(score)}, of the session as it was before it went on", todo
    if evaluator.target == "session" and facts.idle is None:
        return _of_session(facts, decision)
    if evaluator.idle is not None and facts.ended + evaluator.idle > facts.now:
        until = _clock(facts.ended + evaluator.idle)
        return "unfinished", f"judged when it was idle for {duration_text(evaluator.idle)}: not before {until}", ""
    if decision.state in {"off", "excluded", "unfinished", "filtered", "sampled_out"}:
        return decision.state, decision.why, ""
    if not facts.is_claimed:
        if any(span.start <= facts.ended < span.end for span in facts.owed.get(name, ())):
            return "pending", "left for later: there was no money when it ended", "raise the budget, or wait"
        if facts.is_forgotten:
            return "unknown", f"Langfuse holds no score of it; it would be taken now: {decision.why}", ""
        return "unseen", f"it would be taken: {decision.why}", ""
    return _pending(facts, evaluator, decision)


def _ended(facts: Facts, name: str, settled: str) -> tuple[str, str, str]:
    state, _, reason = settled.partition("/")
    if state == "scored":
        return (
            "scored",
            "Langfuse accepted it, but shows no such score: it is not visible yet, or was deleted",
            "look again in a minute",
        )
    if state == "failed":
        letter = facts.letters.get(name)
        story = letter.reason if letter is not None else reason
        when = f", given up {_clock(letter.at)}" if letter is not None else ""
        replay = f"evaluator dead-letters replay {shlex.quote(letter.id)}" if letter is not None else ""
        return state, f"{story}{when}", replay
    if state == "unscored":
        return state, f"{reason or 'the judge could not tell'}: no score is not a low score", ""
    return state, reason or state, ""


def _of_session(facts: Facts, decision: Decision) -> tuple[str, str, str]:
    if decision.state in {"off", "excluded"}:
        return decision.state, decision.why, ""
    if not facts.session_id:
        return "filtered", "it judges sessions, and this trace belongs to none (session_id)", ""
    return "pending", f"it judges session {facts.session_id} once that is idle; it has no score yet", ""


def _pending(facts: Facts, evaluator: Evaluator, decision: Decision) -> tuple[str, str, str]:
    name = evaluator.name
    left = {state: facts.funnel[name, state, ""] for state in ("sampled", "shed")}
    ended = sum(number for (who, state, _), number in facts.funnel.items() if who == name and state in _ANSWER_STATES)
    if name in facts.judged:
        return "pending", "judged and paid for; its score waits to be written to Langfuse", ""
    if facts.funnel and left["sampled"] <= ended:
        shed = f" ({left['shed']:,} of that hour were shed: workers or its model could not keep up, or money ran low)"
        then = f"not taken when it was seen, by the definitions and rates of then{shed if left['shed'] else ''}"
        return "sampled_out", f"{then}; now it would be: {decision.why}", ""
    if not facts.rests:
        return "pending", "the trace still goes on: workers look again until it rests, at most discovery.max_wait", ""
    judge = evaluator.rubric.spec.judge if evaluator.rubric is not None else None
    closed = [
        f"{model} ({facts.closed[model]})" for model in (judge.every_model if judge else ()) if model in facts.closed
    ]
    if judge is not None and closed and len(closed) == len(judge.every_model):
        return "pending", f"its model takes no calls: {', '.join(closed)}", "evaluator check"
    if name in facts.parked:
        return "pending", "waits for money, as others of this rubric do", "raise the budget, or wait for midnight UTC"
    if judge is not None and judge.lane == "batch":
        return "pending", "waits for a batch of the provider, which may take a day", ""
    return "pending", f"handed to the workers and not evaluated yet: {decision.why}", "evaluator status"


def _score_of(facts: Facts, evaluator: Evaluator) -> RecordedScore | None:
    """Return the newest score that the evaluator wrote; of another source a score may have the same name."""
    return next((each for each in facts.scores if each.name in evaluator.scores and _OURS in each.metadata), None)


def _shown(score: RecordedScore) -> str:
    value = f"{score.value:.4g}" if isinstance(score.value, float | int) else str(score.value)
    return f"{score.name} = {value}"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
