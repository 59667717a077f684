"""What filters ask for beside a root's own row: scores that traces and sessions already have, metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from evaluator.definitions import Definitions, Evaluator
from evaluator.langfuse import Langfuse, Window
from traces import RecordedScore, ScoreValue, TraceRef, TraceRoot

_AHEAD = timedelta(minutes=1)


def with_scores(
    roots: Sequence[TraceRoot], definitions: Definitions, langfuse: Langfuse, now: datetime
) -> list[TraceRoot]:
    """Return roots with those scores of their traces that some filter asks for and no rule tells in the same pass."""
    return _with(roots, awaited_names(definitions), langfuse, now)


def _with(roots: Sequence[TraceRoot], names: Sequence[str], langfuse: Langfuse, now: datetime) -> list[TraceRoot]:
    if not names or not roots:
        return list(roots)
    window = Window(min(root.ref.started for root in roots), now + _AHEAD)
    found: dict[str, dict[str, ScoreValue]] = {}
    for page in langfuse.scores(window, names=names, trace_ids=[root.ref.id for root in roots]):
        for score in page:
            _note(score, score.trace_id, found)
    return [replace(root, scores=found.get(root.ref.id, {})) for root in roots]


def with_session_scores(
    roots: Sequence[TraceRoot], definitions: Definitions, langfuse: Langfuse, now: datetime
) -> list[TraceRoot]:
    """Return roots with the scores of their traces and of their sessions: what is said of one is said of the other."""
    names = score_names(definitions)
    session_ids = list(dict.fromkeys(root.session_id for root in roots if root.session_id))
    if not names or not session_ids:
        return _with(roots, names, langfuse, now)
    window = Window(min(root.ref.started for root in roots), now + _AHEAD)
    found: dict[str, dict[str, ScoreValue]] = {}
    for page in langfuse.scores(window, names=names, session_ids=session_ids):
        for score in page:
            _note(score, score.session_id, found)
    return [
        replace(root, scores={**_of(found, root.session_id), **root.scores})
        for root in _with(roots, names, langfuse, now)
    ]


def score_names(definitions: Definitions) -> list[str]:
    """Return the names of the scores that filters ask for."""
    return sorted({name for each in definitions.evaluators for name in asked_for(each) | each.in_pass})


def awaited_names(definitions: Definitions) -> list[str]:
    """Return the names of the scores that filters on traces ask for and that must be read: rules tell the others."""
    asking = (each for each in definitions.evaluators if each.target != "session")
    return sorted({name for evaluator in asking for name in asked_for(evaluator) - evaluator.in_pass})


def asked_for(evaluator: Evaluator) -> set[str]:
    """Return the names of the scores that an evaluator's filters ask for."""
    filters = (evaluator.when, *(line.when for line in evaluator.sample))
    return {when.score.name for when in filters if when.score}


def asks_for_metadata(definitions: Definitions) -> bool:
    """Whether some filter looks at the metadata of roots."""
    every = (*definitions.evaluators, *definitions.off)
    return any(when.metadata is not None for one in every for when in (one.when, *(line.when for line in one.sample)))


def late_claim(ref: TraceRef, evaluator: str) -> TraceRef:
    """Return what is claimed for an evaluator that takes a trace with its scores in sight."""
    return replace(ref, id=f"{ref.id}/{evaluator}/late")


def _note(score: RecordedScore, about: str | None, found: dict[str, dict[str, ScoreValue]]) -> None:
    # Newest first: the first one seen is the one that holds.
    found.setdefault(about or "", {}).setdefault(score.name, score.value)


def _of(found: Mapping[str, Mapping[str, ScoreValue]], session_id: str | None) -> Mapping[str, ScoreValue]:
    return found.get(session_id, {}) if session_id else {}
