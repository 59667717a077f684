"""The scores of a window as evidence, with segments from their own metadata or from their traces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from evaluator.calibration.evidence import counts, evidence, is_ours
from evaluator.langfuse import SessionRoots, Window
from monitors import Judged, MonitorSpec
from traces import RecordedScore, TraceRoot

_BEFORE: Final = timedelta(days=7)
"""How long before its score a trace may have started, when its segments are looked up (late user feedback)."""

_log = structlog.get_logger(__name__)

_About = tuple[str | None, str | None]
"""The trace of a score, or its session."""


class Scores(Protocol):
    """What is needed of Langfuse."""

    def scores(
        self, window: Window, *, names: Sequence[str] = (), trace_ids: Sequence[str] = ()
    ) -> Iterator[list[RecordedScore]]:
        """Return the scores of a window in pages, each once."""

    def roots(self, trace_ids: Sequence[str], window: Window) -> dict[str, TraceRoot]:
        """Return the roots of traces that started in a window."""

    def session_roots(self, since: Mapping[str, datetime], *, most: int) -> Mapping[str, SessionRoots]:
        """Return the newest roots of sessions, of those that started from the given time on."""


def judged(langfuse: Scores, spec: MonitorSpec, window: Window) -> Iterator[Judged]:
    """Give a window's scores that a monitor watches, each once; those that are no numbers are left out, and counted.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    odd = 0
    for page in langfuse.scores(window, names=[spec.score]):
        sample = [score for score in page if counts(score)]
        wanted = [score for score in sample if spec.environment is None or score.environment in spec.environment]
        numbers = [(score, number) for score in wanted if (number := spec.number(score.value)) is not None]
        odd += len(wanted) - len(numbers)
        roots = _roots(langfuse, (score for score, _ in numbers), window)
        for score, number in numbers:
            found = evidence(score, number, roots.get(_about(score)))
            if spec.holds(found.segments):
                yield found if spec.labels is None else replace(found, boolean=True)
    if odd:
        what = (
            "scores that are no numbers need labels" if spec.labels is None else "scores without a label are left out"
        )
        _log.warning(what, score=spec.score, count=odd)


def _roots(langfuse: Scores, scores: Iterable[RecordedScore], window: Window) -> Mapping[_About, TraceRoot]:
    """Return the roots that tell the segments of scores that are not ours: of a session its last one."""
    foreign = [score for score in scores if not is_ours(score)]
    since = window.start - _BEFORE
    traces = sorted({score.trace_id for score in foreign if score.trace_id})
    sessions = sorted({score.session_id for score in foreign if score.session_id})
    found: dict[_About, TraceRoot] = {}
    if traces:
        known = langfuse.roots(traces, Window(since, window.end))
        found.update(((trace_id, None), root) for trace_id, root in known.items())
    if sessions:
        last = langfuse.session_roots(dict.fromkeys(sessions, since), most=1)
        found.update(((None, session_id), its.roots[-1]) for session_id, its in last.items())
    return found


def _about(score: RecordedScore) -> _About:
    return score.trace_id, score.session_id
