"""What is known of a trace, from Langfuse and from Redis: what `story.tell` needs. Writes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from evaluator import trying
from evaluator.app import App, Desk
from evaluator.batch import Job
from evaluator.gathering import until_finished
from evaluator.langfuse import Window
from evaluator.sampling import Sampled
from evaluator.story import Facts, Story, tell
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
    """Find a trace and tell its story.

    Args:
        desk: where to look.
        given: its id, or the address of its page in Langfuse.
        since: how far back to look.

    Raises:
        Gone: Langfuse does not show it.
        Unavailable, Refused: Langfuse or Redis.
    """
    return tell(_facts(desk, trying.find(desk, given, since)))


def _facts(desk: Desk, trace: Trace) -> Facts:
    state, evaluators, now = desk.state, desk.definitions.evaluators, desk.clock.now()
    ref = trace.ref
    root = trying.root_of(desk, trace)
    if root is not None:
        ref = root.ref  # discovery counts by the end of the root, not by that of its last step
    job = Job(ref, tuple(Sampled(each.name, 1.0, "") for each in evaluators))
    hour = ref.ended.replace(minute=59)
    return Facts(
        trace_id=trace.id,
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


def _scores(desk: Desk, trace: Trace) -> list[RecordedScore]:
    """Return what Langfuse holds, newest first: scores of ours bear the time at which their subject ended."""
    window = Window(trace.root.start - _AROUND, desk.clock.now() + _AROUND)
    found = [score for page in desk.langfuse.scores(window, trace_ids=[trace.id]) for score in page]
    if trace.session_id and any(each.target == "session" for each in desk.definitions.evaluators):
        pages = desk.langfuse.scores(window, session_ids=[trace.session_id])
        found += [score for page in pages for score in page]
    return found
