"""What of a job gets a score: the trace, some of its observations, or the session; each with its identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from evaluator.sampling.sampler import position
from traces import Observation, Observe, Session, Subject, Trace, record


@record(frozen=True, slots=True)
class Item:
    """One thing that gets one score of one evaluator: what the score says of it, whatever the verdict.

    It does not hold what is read of it. A judge may take its time; thousands of traces need not wait with it in memory.

    Attributes:
        subject: what the score is about.
        at: the score's timestamp.
        environment: where it ran.
        session_id: the session it belongs to, or is.
        segments: what a monitor may attribute a drop to.
        chance: the probability that it was chosen, given that its trace was.
        about: what the score's metadata says of the choice.
    """

    subject: Subject
    at: datetime
    environment: str
    session_id: str | None
    segments: Mapping[str, str]
    chance: float = 1.0
    about: Mapping[str, Any] = field(default_factory=dict)


def of_trace(trace: Trace) -> Item:
    """Return a whole trace as what gets a score."""
    return Item(Subject(trace_id=trace.id), trace.ref.ended, trace.environment, trace.session_id, trace.segments())


def of_observations(trace: Trace, observe: Observe, salt: str) -> list[tuple[Item, Trace]]:
    """Return the observations of a trace that get a score, in start order, each with the part of the trace that it is.

    Of more than `at_most` the ones whose keyed hash is lowest are chosen: always the same, whoever chooses and however
    often, and each with the same probability.
    """
    matching = [each for each in trace.observations if observe.matches(each)]
    chosen = _lowest(trace.id, matching, observe.at_most, salt)
    chance = len(chosen) / len(matching) if matching else 1.0
    about = {"observations_matching": len(matching), "observations_chosen": len(chosen)} if chance < 1 else {}
    items: list[tuple[Item, Trace]] = []
    for step in chosen:
        subject = Subject(trace_id=trace.id, observation_id=step.id)
        part = trace.at(step)
        of_step = {"observation_name": step.name, "observation_type": step.type, **about}
        item = Item(subject, part.ref.ended, part.environment, part.session_id, part.segments(), chance, of_step)
        items.append((item, part))
    return items


def of_session(session: Session, written: datetime | None) -> Item:
    """Return a session as what gets a score.

    Langfuse replaces a score only within one UTC day of its timestamp, and a session may grow past midnight: what was
    `written` before keeps its timestamp; the first time it is the end of the session's last trace.
    """
    about: dict[str, Any] = {"session_traces": len(session.traces)}
    if session.older_left_out:
        about["older_traces_left_out"] = True
    subject, at = Subject(session_id=session.id), written or session.ended
    return Item(subject, at, session.environment, session.id, session.segments(), about=about)


def _lowest(trace_id: str, steps: Sequence[Observation], most: int, salt: str) -> Sequence[Observation]:
    if len(steps) <= most:
        return steps
    first = sorted(steps, key=lambda step: position(f"{trace_id}/{step.id}", salt))[:most]
    kept = {step.id for step in first}
    return [step for step in steps if step.id in kept]
