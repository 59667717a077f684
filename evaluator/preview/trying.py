"""`evaluator try`: what evaluators say of one trace or session, and whether they would be asked. Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote

from evaluator.app import Desk
from evaluator.definitions import Evaluator
from evaluator.definitions.service_config import ServiceConfig
from evaluator.discovery.filter_scores import with_scores, with_session_scores
from evaluator.errors import EvaluatorError, Gone
from evaluator.langfuse import Window, is_excluded
from evaluator.messages.words import conditions, shortened
from evaluator.model import Journal, ModelApi
from evaluator.preview.parts import parts
from evaluator.preview.past_sessions import Visit, whole
from evaluator.sampling.conditions import with_verdicts_on
from evaluator.sampling.sampler import Choice, Rate, Sampler, Tier, position
from evaluator.scoring.first_outcomes import first_outcome, rule_outcome
from evaluator.scoring.gathering import until_finished
from judges import Question
from traces import NotApplicable, Outcome, Session, Trace, TraceRef, TraceRoot, When, duration_text

_LOOKS: Final = (timedelta(days=1), timedelta(days=7))
"""Langfuse searches by time: most traces that are tried are of today or of this week."""

_AROUND: Final = timedelta(hours=1)
_IN_ADDRESS: Final = re.compile(r"/traces/([^/?#]+)")
_SESSION_IN_ADDRESS: Final = re.compile(r"/sessions/([^/?#]+)")


class Unfinished(EvaluatorError):
    """A trace or session is still going on: what is said of it now may not hold."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an evaluator takes a trace.

    Attributes:
        state: `sampled` when it does, else `filtered`, `sampled_out`, `off`, `excluded` or `unfinished`.
        why: the same in words.
        position: where the trace lies in [0, 1); it is taken when that is below the rate.
        rate: the sampling rate that counts for it; None where none does.
    """

    state: str
    why: str
    position: float | None = None
    rate: float | None = None

    @property
    def takes(self) -> bool:
        """Whether the service evaluates the trace."""
        return self.state == "sampled"


@dataclass(slots=True)
class Tried:
    """One evaluator on a trace, an observation or a session: its question, if it has one, its outcome, once asked.

    `sent` is every call that was made for it.
    """

    evaluator: Evaluator
    decision: Decision
    part: Trace | Session
    question: Question | None
    outcome: Outcome | None
    sent: Journal = field(default_factory=Journal)


def find(desk: Desk, given: str, since: timedelta) -> Trace:
    """Return a trace.

    Args:
        desk: where to look.
        given: its id, or the address of its page in Langfuse.
        since: how far back to look.

    Raises:
        Gone: it is not there.
    """
    address = _IN_ADDRESS.search(given)
    trace_id = address[1] if address else given.strip()
    now = desk.clock.now()
    for back in (*(look for look in _LOOKS if look < since), since):
        found = desk.langfuse.fetch([TraceRef(trace_id, "", "default", now - back, now)])
        if trace_id in found:
            return found[trace_id]
    project = desk.langfuse.capabilities().project_name
    where = f"project {project!r} at {desk.settings.langfuse_base_url}"
    raise Gone(
        f"no trace {trace_id!r} in the last {duration_text(since)} in {where}; "
        "look further back with --since 90d, and check the id and whose keys these are"
    )


def check_finished(desk: Desk, trace: Trace) -> None:
    """Say so when a trace still goes on.

    Raises:
        Unfinished: the service would not evaluate it yet.
    """
    discovery = desk.definitions.service.discovery
    if until_finished(trace, trace.ref.ended, discovery, desk.clock.now()) is None:
        return
    still = [f"{o.type} {o.name!r}" for o in trace.observations if o.end is None and o.type != "EVENT"]
    shown = ", ".join(still[:3]) + (f" and {len(still) - 3} more" if len(still) > 3 else "")
    what = f"still open: {shown}" if still else f"it moved less than {duration_text(discovery.quiet_for)} ago"
    raise Unfinished(f"trace {trace.id} is not finished ({what}); try again later, or add --unfinished")


def attempt(desk: Desk, trace: Trace, evaluators: Sequence[Evaluator]) -> list[Tried]:
    """Return what each evaluator decides about a trace and what it says of it; rubrics only prepare their question."""
    decisions = decide(root_of(desk, trace), evaluators, desk.definitions.service, desk.money.volumes.rates())
    tried = []
    salt = desk.definitions.service.sampling.salt
    for evaluator, decision in zip(evaluators, decisions, strict=True):
        of = parts(evaluator, trace, salt)
        for part in of:
            first = first_outcome(evaluator, part)
            question, outcome = (first, None) if isinstance(first, Question) else (None, first)
            tried.append(Tried(evaluator, decision, part, question, outcome))
        if not of:
            tried.append(Tried(evaluator, decision, trace, None, NotApplicable(_nothing(evaluator, trace))))
    return tried


def session_in(given: str) -> str | None:
    """Return the id of the session whose page in Langfuse an address is of; None when it is no such address."""
    address = _SESSION_IN_ADDRESS.search(given)
    return unquote(address[1]) if address else None


def find_session(desk: Desk, session_id: str, since: timedelta) -> Visit:
    """Return a session as it is now, with all its roots.

    Args:
        desk: where to look.
        session_id: its id.
        since: how far back its traces are looked for.

    Raises:
        Gone: no trace of it is there.
    """
    now, service = desk.clock.now(), desk.definitions.service
    found = desk.langfuse.session_roots(
        {session_id: now - since},
        most=service.sessions.most_traces + 1,  # whoever reads it then knows that there are more
        exclude_environments=service.discovery.exclude_environments,
    ).get(session_id)
    if found is None:
        project = desk.langfuse.capabilities().project_name
        raise Gone(
            f"no trace of session {session_id!r} in the last {duration_text(since)} in project {project!r} at "
            f"{desk.settings.langfuse_base_url}, in an environment that is evaluated; look further back with --since "
            "90d, and check the id and whose keys these are"
        )
    roots = with_session_scores(found.roots, desk.definitions, desk.langfuse, now)
    return Visit(session_id, tuple(roots), max(root.ref.ended for root in roots))


def check_idle(desk: Desk, visit: Visit, evaluators: Sequence[Evaluator]) -> None:
    """Say so when a session still goes on.

    Raises:
        Unfinished: the service would not judge it yet.
    """
    longest = max((each.idle for each in evaluators if each.idle is not None), default=timedelta())
    quiet = desk.clock.now() - visit.at
    if quiet < longest:
        raise Unfinished(
            f"session {visit.session_id} is not idle: its last trace ended {duration_text(_seconds(quiet))} ago, and "
            f"its rubrics wait for {duration_text(longest)}; try again later, or add --unfinished"
        )


def attempt_session(desk: Desk, visit: Visit, evaluators: Sequence[Evaluator]) -> tuple[Session, list[Tried]]:
    """Return a session, and what each evaluator of sessions decides about it; rubrics only prepare their question.

    Raises:
        Gone: its traces are there no more.
    """
    session = whole(desk.langfuse, visit, desk.definitions.service.sessions.most_traces)
    if session is None:
        raise Gone(f"the traces of session {visit.session_id!r} cannot be read any more")
    tried = []
    for evaluator, decision in zip(evaluators, decide_session(desk, visit, evaluators), strict=True):
        if evaluator.target != "session":
            nobody = Decision("filtered", "it looks at traces, not at sessions")
            tried.append(Tried(evaluator, nobody, session, None, NotApplicable(f"it judges each {evaluator.target}")))
            continue
        first = first_outcome(evaluator, session)
        question, outcome = (first, None) if isinstance(first, Question) else (None, first)
        tried.append(Tried(evaluator, decision, session, question, outcome))
    return session, tried


def decide_session(desk: Desk, visit: Visit, evaluators: Sequence[Evaluator]) -> list[Decision]:
    """Return whether each evaluator takes a session as it is."""
    rates, salt = desk.money.volumes.rates(), desk.definitions.service.sampling.salt
    at = position(f"session/{visit.session_id}", salt)
    choices = Sampler(evaluators, salt, rates=rates).choose_session(visit.session_id, visit.roots)
    return [
        _decision(evaluator, choice, visit.roots[-1], at, rates)
        for evaluator, choice in zip(evaluators, choices, strict=True)
    ]


def _nothing(evaluator: Evaluator, trace: Trace) -> str:
    if evaluator.target != "session":
        return "no observation matches"
    return f"it judges sessions: try {trace.session_id} --session" if trace.session_id else "it judges sessions"


def _seconds(span: timedelta) -> timedelta:
    return timedelta(seconds=max(round(span.total_seconds()), 0))


def ask(model: ModelApi, tried: Sequence[Tried]) -> None:
    """Ask the judges of those that have a question."""
    asking = [each for each in tried if each.question is not None]
    if not asking:
        return
    questions = [each.question for each in asking if each.question is not None]
    for lot in model.ask(questions, journals=[each.sent for each in asking]):
        for at, outcome in lot:
            asking[at].outcome = outcome


def decide(
    root: TraceRoot | None,
    evaluators: Sequence[Evaluator],
    service: ServiceConfig,
    rates: Mapping[Tier, Rate] | None = None,
) -> list[Decision]:
    """Return whether each evaluator takes the trace of a root; None is one that has not ended.

    `rates` are those of lines whose rate follows a budget.
    """
    if root is None:
        return [Decision("unfinished", "its root has not ended: the service does not see it yet")] * len(evaluators)
    if is_excluded(root.ref.environment, service.discovery.exclude_environments):
        why = f"traces of environment {root.ref.environment!r} are never evaluated"
        return [Decision("excluded", why)] * len(evaluators)
    at = position(root.ref.id, service.sampling.salt)
    # The rules have been asked: nothing is left to depend on them.
    known = [replace(each, in_pass=frozenset()) for each in evaluators]
    choices = Sampler(known, service.sampling.salt, rates=rates).choose(root)
    return [
        _decision(evaluator, choice, root, at, rates or {})
        for evaluator, choice in zip(evaluators, choices, strict=True)
    ]


def _decision(evaluator: Evaluator, choice: Choice, root: TraceRoot, at: float, rates: Mapping[Tier, Rate]) -> Decision:
    if evaluator.is_off:
        return Decision("off", "switched off: `enabled: false` in its file", at)
    state, tier = choice.state, choice.tier
    if tier is None:
        missed = _missed(evaluator.when, root) or ["no line of `sample` matches"]
        return Decision(state, f"filtered: {'; '.join(missed)}", at)
    rate = rates[tier].kept if tier in rates else evaluator.sample[tier[1]].rate
    below = "is" if state == "sampled" else "is not"
    chosen = " chosen now" if tier in rates else ""
    words = f"{state.replace('_', ' ')}: u = {at:.4f} {below} below the rate {rate:.4g}{chosen}"
    return Decision(state, words, at, rate)


def _missed(when: When, root: TraceRoot) -> list[str]:
    """Return each condition that a root does not meet, with what it has instead."""
    missed = []
    for name in When.model_fields:
        if (wanted := getattr(when, name)) is None:
            continue
        alone = When.model_validate({name: wanted})
        if not alone.matches(root):
            missed.append(f"{conditions(alone)} is wanted, not {_had(name, wanted, root)}")
    return missed


def _had(name: str, wanted: Any, root: TraceRoot) -> str:
    if name == "score":
        value: object = root.scores.get(wanted.name)
    elif name == "metadata":
        value = ", ".join(f"{key} {shortened(str(root.metadata.get(key)))}" for key in wanted)
    elif name in {"trace_name", "environment"}:
        value = root.name if name == "trace_name" else root.ref.environment
    else:
        value = getattr(root, name)
    return (
        ", ".join(value) if isinstance(value, tuple) and value else "none" if not value and value != 0 else str(value)
    )


def root_of(desk: Desk, trace: Trace) -> TraceRoot | None:
    """Return the root as it is decided about, with the scores and verdicts that filters ask for."""
    around = Window(trace.root.start - _AROUND, trace.root.start + _AROUND)
    root = desk.langfuse.roots([trace.id], around).get(trace.id)
    if root is None:
        return None
    (seen,) = with_scores([root], desk.definitions, desk.langfuse, desk.clock.now())
    return with_verdicts_on(seen, trace, desk.definitions.evaluators, rule_outcome)
