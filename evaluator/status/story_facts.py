"""What is known of a trace or session, from Langfuse and from Redis: what `story.tell` needs. Writes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from evaluator.app import App, Desk
from evaluator.discovery.idle_sessions import ref_of
from evaluator.errors import Gone
from evaluator.langfuse import SessionRoots, Window
from evaluator.preview import trying
from evaluator.preview.past_sessions import Visit
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled
from evaluator.scoring.gathering import until_finished
from evaluator.status.story import Facts, Story, tell
from traces import RecordedScore, Trace

_AROUND: Final = timedelta(minutes=5)


def desk_of(app: App) -> Desk:
    """Return what a person needs who looks, from what a running process has open."""
    return Desk(
        app.settings,
        app.definitions,
        app.clock,
        app.state,
        app.langfuse,
        app.model,
        app.money,
        app.alerts,
        app.circuits,
    )


def story_of(desk: Desk, given: str, since: timedelta) -> Story:
    """Find a trace, or the session of this id where there is no such trace, and tell its story.

    Args:
        desk: where to look.
        given: its id, or the address of its page in Langfuse.
        since: how far back to look.

    Raises:
        Gone: Langfuse does not show it.
        Unavailable, Refused: Langfuse or Redis.
    """
    session_id = trying.session_in(given)
    if session_id is None:
        try:
            return tell(_facts(desk, trying.find(desk, given, since)))
        except Gone as gone:
            try:
                visit = trying.find_session(desk, given.strip(), since)
            except Gone:
                raise Gone(f"{gone}; nor a session is called so") from None
            return tell(_facts_of_session(desk, visit))
    return tell(_facts_of_session(desk, trying.find_session(desk, session_id, since)))


def _facts(desk: Desk, trace: Trace) -> Facts:
    state, evaluators, now = desk.state, desk.definitions.evaluators, desk.clock.now()
    ref = trace.ref
    root = trying.root_of(desk, trace)
    if root is not None:
        ref = root.ref  # discovery counts by the end of the root, not by that of its last step
    job = Job(ref, tuple(Sampled(each.name, 1.0, "") for each in evaluators))
    hour = ref.ended.replace(minute=59)
    return Facts(
        id=trace.id,
        url=desk.langfuse.trace_url(trace.id),
        name=trace.name,
        environment=trace.environment,
        session_id=trace.session_id,
        ended=ref.ended,
        steps=len(trace.observations),
        now=now,
        is_claimed=not state.unclaimed([ref]),
        remembers=state.keeps,
        mark=state.watermark(),
        leader=state.holder("scheduler"),
        evaluators=evaluators,
        decisions=trying.decide(root, evaluators, desk.definitions.service, desk.money.volumes.rates()),
        settled={name: ended for (_, name), ended in state.settled([job]).items()},
        judged=frozenset(memory.partition("@")[0] for _, memory in state.remembered([trace.id])),
        letters={each.evaluator: each for each in state.dead.about(trace.id, [each.name for each in evaluators])},
        scores=_scores(desk, trace),
        funnel=next(iter(state.hours.funnels(hour, 1).values())),
        parked=frozenset(desk.money.arrears.parked()),
        owed=desk.money.arrears.owed(),
        rests=until_finished(trace, ref.ended, desk.definitions.service.discovery, now) is None,
        closed={model: one.why for model, one in desk.circuits.look(desk.definitions.models).items()},
    )


def _facts_of_session(desk: Desk, visit: Visit) -> Facts:
    state, service, now = desk.state, desk.definitions.service, desk.clock.now()
    evaluators = [each for each in desk.definitions.evaluators if each.idle is not None]
    # As the service reads it: another number of traces would be another growth of the session.
    lately = [root for root in visit.roots if root.ref.started >= visit.at - service.sessions.longest]
    known = SessionRoots(tuple(lately[-service.sessions.most_traces :]), more=False)
    visit = visit._replace(roots=known.roots)
    refs = {each.name: ref_of(visit.session_id, known, each.idle) for each in evaluators if each.idle is not None}
    jobs = [Job(ref, (Sampled(name, 1.0, ""),)) for name, ref in refs.items()]
    ids = {ref.id for ref in refs.values()}
    window = Window(visit.at - service.sessions.longest, now + _AROUND)
    return Facts(
        id=visit.session_id,
        url=desk.langfuse.session_url(visit.session_id),
        name="",
        environment=visit.roots[-1].ref.environment,
        session_id=visit.session_id,
        ended=visit.at,
        steps=len(visit.roots),
        now=now,
        is_claimed=bool(refs) and not state.unclaimed(list(refs.values())),
        remembers=state.keeps,
        mark=state.watermark(),
        leader=state.holder("scheduler"),
        evaluators=evaluators,
        decisions=trying.decide_session(desk, visit, evaluators),
        settled={name: ended for (_, name), ended in state.settled(jobs).items()} if jobs else {},
        judged=frozenset(memory.partition("@")[0] for _, memory in state.remembered(ids)),
        letters={each.evaluator: each for name, ref in refs.items() for each in state.dead.about(ref.id, [name])},
        scores=[each for page in desk.langfuse.scores(window, session_ids=[visit.session_id]) for each in page],
        funnel=next(iter(state.hours.funnels(visit.at.replace(minute=59), 1).values())),
        parked=frozenset(desk.money.arrears.parked()),
        closed={model: one.why for model, one in desk.circuits.look(desk.definitions.models).items()},
        idle=max((each.idle for each in evaluators if each.idle is not None), default=timedelta()),
    )


def _scores(desk: Desk, trace: Trace) -> list[RecordedScore]:
    """Return what Langfuse holds, newest first: scores of ours bear the time at which their subject ended."""
    window = Window(trace.root.start - _AROUND, desk.clock.now() + _AROUND)
    found = [score for page in desk.langfuse.scores(window, trace_ids=[trace.id]) for score in page]
    if trace.session_id and any(each.target == "session" for each in desk.definitions.evaluators):
        pages = desk.langfuse.scores(window, session_ids=[trace.session_id])
        found += [score for page in pages for score in page]
    return found
