"""People are told when coverage is missed, when nothing is evaluated though traces come, and when nothing is read.

Each once when it begins and once when it is over. What was told is kept with the message, in one step, so a restart
tells nothing again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog

from evaluator.clock import Clock
from evaluator.definitions import Definitions
from evaluator.messages.alert import notice
from evaluator.messages.blocks import escaped
from evaluator.state.coverage import Kept, has_fallen_silent, kept
from evaluator.state.fleet import State
from evaluator.state.monitor_records import MonitorRecord
from traces import duration_text

LOOKED_BACK: Final = timedelta(hours=1)
"""Promises are looked at that fell due within so long."""

_OVER: Final = timedelta(minutes=15)
"""What is well for so long is over; what comes back before is the same episode."""

_PLACE: Final = ",coverage"
"""The place of what was told, among the monitors; no score's name has a comma."""

_MOST_NAMED: Final = 5

_MARK: Final = "mark"
_GAP: Final = timedelta(minutes=5)
"""Between two looks; after a longer one nobody knows whether discovery stood still or was not there."""

_log = structlog.get_logger(__name__)


class _Said(NamedTuple):
    title: str
    facts: list[str]


_WELL: Final = {
    "coverage": "Coverage is met again",
    "silence": "Traces are evaluated again",
    "behind": "Discovery reads Langfuse again",
}


def promises_nothing(definitions: Definitions) -> frozenset[str]:
    """Return the evaluators whose answers may take a day: they promise nothing."""
    judged = ((each.name, each.rubric) for each in definitions.evaluators)
    return frozenset(name for name, rubric in judged if rubric is not None and rubric.spec.judge.lane == "batch")


class CoverageNotices:
    """Tells people, through the outbox."""

    def __init__(self, state: State, definitions: Definitions, clock: Clock, *, delivers: bool) -> None:
        """Without anybody who `delivers`, what there is to tell is only logged."""
        self._state = state
        self._service = definitions.service
        self._without = promises_nothing(definitions)
        self._clock = clock
        self._delivers = delivers

    def tell(self) -> list[str]:
        """Put what is new into the outbox; return the keys of the messages.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        now = self._clock.now()
        mark = self._state.watermark()
        told: list[str] = []
        with self._state.monitor(_PLACE) as record:
            known: dict[str, Any] = record.state or {}
            known = {**known, _MARK: _stood(mark, known.get(_MARK), now)}
            wrong = dict(self._wrong(now, mark, datetime.fromisoformat(known[_MARK]["since"])))
            for kind in _WELL:
                episode = self._step(record, kind, known.get(kind), wrong.get(kind), now, told)
                known = {
                    **{name: held for name, held in known.items() if name != kind},
                    **({kind: episode} if episode else {}),
                }
            record.state = known
        return told

    def _step(
        self,
        record: MonitorRecord,
        kind: str,
        episode: Mapping[str, Any] | None,
        said: _Said | None,
        now: datetime,
        told: list[str],
    ) -> dict[str, Any] | None:
        """Return how an episode goes on, None when there is none any more; what is to be told goes into the outbox."""
        if said is not None:
            if episode is None:
                told.append(self._put(record, f"{kind}/{now:%Y-%m-%dT%H:%M}/began", said, now))
                return {"since": now.isoformat(), "well": None}
            return {**episode, "well": None}
        if episode is None:
            return None
        well = episode["well"] or now.isoformat()
        if now - datetime.fromisoformat(well) < _OVER:
            return {**episode, "well": well}
        since = datetime.fromisoformat(episode["since"])
        over = _Said(_WELL[kind], [f"It was not since {since:%d %b %H:%M} UTC."])
        told.append(self._put(record, f"{kind}/{since:%Y-%m-%dT%H:%M}/over", over, now))
        return None

    def _put(self, record: MonitorRecord, key: str, said: _Said, now: datetime) -> str:
        content = notice(said.title, said.facts)
        _log.warning("coverage", what=content["text"])
        if self._delivers:
            record.outbox[key] = {"message": content, "chart": None, "at": now.isoformat()}
        return key

    def _wrong(self, now: datetime, mark: datetime | None, since: datetime) -> Iterator[tuple[str, _Said]]:
        """Give what is wrong; `since` is when discovery's mark was first seen where it is."""
        coverage = self._service.coverage
        back = LOOKED_BACK + coverage.within + coverage.silent_for
        promises = self._state.hours.promises(now, back)
        found = kept(promises, now, coverage.within, LOOKED_BACK, self._without)
        missed = sorted((each for each in found if each.misses(coverage.objective)), key=lambda each: each.share)
        if missed:
            yield "coverage", self._missed(missed)
        if has_fallen_silent(promises, now, coverage.silent_for):
            span = duration_text(coverage.silent_for)
            facts = [f"Traces were handed to the workers for {span}, and nothing at all has ended.", _LOOK]
            yield "silence", _Said("Nothing is evaluated, though traces come", facts)
        most = coverage.silent_for + self._service.discovery.quiet_for
        if mark is not None and now - mark > most and now - since > coverage.silent_for:
            facts = [
                f"Nothing that ended after {mark:%d %b %H:%M} UTC was read: Langfuse does not answer, or refuses.",
                _LOOK,
            ]
            yield "behind", _Said("Discovery stands still", facts)

    def _missed(self, missed: list[Kept]) -> _Said:
        coverage = self._service.coverage
        whose = missed[0].evaluator if len(missed) == 1 else f"{len(missed)} evaluators"
        promise = f"{100 * (coverage.objective or 0):.6g} % evaluated within {duration_text(coverage.within)}"
        facts = [f"The objective is {promise}; of what was due in the last hour:"]
        facts += [
            f"`{escaped(each.evaluator)}`: {each.share:.1%} of {each.due:,} in time, {each.pending:,} still pending."
            for each in missed[:_MOST_NAMED]
        ]
        return _Said(f"Coverage of {whose} is missed", [*facts, _LOOK])


def _stood(mark: datetime | None, before: Mapping[str, str] | None, now: datetime) -> dict[str, str]:
    """Return where discovery's mark is, since when, and when it was looked at.

    Far behind and moving is catching up, which is no news to whoever has just brought the service back.
    """
    at = mark.isoformat() if mark else ""
    stands = before is not None and before["at"] == at and now - datetime.fromisoformat(before["looked"]) <= _GAP
    since = before["since"] if before is not None and stands else now.isoformat()
    return {"at": at, "since": since, "looked": now.isoformat()}


_LOOK: Final = "`evaluator status` says what is wrong, `evaluator why TRACE_ID` what became of one trace."
