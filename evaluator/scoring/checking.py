"""The time that rules take, held against a limit.

A rule runs in a worker's own thread, and nothing can stop it there: code in C does not listen. So each check is
measured, in CPU seconds of its thread (a loaded machine makes no rule slow). One that takes too long gives no score,
and a rule that does so three times in a row rests for a while: it costs that trace its score, and no other anything.

No check has used more CPU than time has passed, and to ask for the time is nearly free. To ask for a thread's CPU is a
call into the kernel, twelve for a trace: it is read now and then, and when a check did take long.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars, unbind_contextvars

from evaluator.clock import Clock, thread_seconds
from evaluator.definitions.evaluators import Evaluator
from evaluator.sampling.jobs import Job
from evaluator.scoring.first_outcomes import first_outcome, rule_outcome
from judges import Question
from traces import Failure, Outcome, Session, Trace

SLOW: Final = "rule_slow"
"""Kind of failure of a rule that took too long, or rests because it did."""

LONGEST_CHECK: Final = 2.0
"""CPU seconds that one rule may take on one trace; ours take microseconds, and far below a second on 10 MB."""

STRIKES: Final = 3
"""Checks in a row that may take too long before a rule rests."""

REST: Final = 600.0
"""Seconds that it rests; then one check tries."""

_FRESH: Final = 0.05
"""Seconds for which a reading of a thread's CPU is taken for that at the start of a check: so far it may be wrong."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Record:
    strikes: int = 0
    rests_until: float = 0.0


class _Reading(threading.local):
    """How much CPU a thread had used at a time."""

    at = -math.inf
    cpu = 0.0


class Checks:
    """First looks of a process, with a limit on the time of rules. Safe for many threads."""

    def __init__(self, clock: Clock, cpu: Callable[[], float] = thread_seconds) -> None:
        """`cpu` gives the CPU seconds that the calling thread has used."""
        self._clock = clock
        self._cpu = cpu
        self._reading = _Reading()
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def first_outcomes(self, items: Iterable[tuple[Job, Evaluator, Trace | Session]]) -> list[Outcome | Question]:
        """Return the first outcome of each; meanwhile every line of the log says of whose job, and for whom."""
        return contextvars.copy_context().run(self._in_context, items)

    def _in_context(self, items: Iterable[tuple[Job, Evaluator, Trace | Session]]) -> list[Outcome | Question]:
        found: list[Outcome | Question] = []
        bound = None
        for job, evaluator, material in items:
            if job is not bound:
                bound = job
                unbind_contextvars("trace_id", "session_id")
                bind_contextvars(**job.about)
            bind_contextvars(evaluator=evaluator.name)
            found.append(self.first_outcome(evaluator, material))
        return found

    def first_outcome(self, evaluator: Evaluator, material: Trace | Session) -> Outcome | Question:
        """Return what an evaluator says of what it looks at, or what its judge must be asked first."""
        if evaluator.rule is None or not isinstance(material, Trace):
            return first_outcome(evaluator, material)
        return self.rule_outcome(evaluator, material)

    def rule_outcome(self, evaluator: Evaluator, trace: Trace) -> Outcome:
        """Return what a rule says of a trace; of one that takes too long, or rests, a failure that names it."""
        if self._records and self._rests(evaluator.name):
            return Failure(SLOW, f"{evaluator.name} rests: it took too long {STRIKES} times in a row")
        began = self._clock.monotonic()
        reading = self._reading
        if began - reading.at > _FRESH:
            reading.at, reading.cpu = began, self._cpu()
        outcome = rule_outcome(evaluator, trace)
        took = self._clock.monotonic() - began
        if took > LONGEST_CHECK:
            took = self._cpu() - reading.cpu
        if (took > LONGEST_CHECK or self._records) and self._is_slow(evaluator.name, took):
            return Failure(SLOW, f"{evaluator.name} took {took:.1f} CPU seconds, {LONGEST_CHECK:g} allowed")
        return outcome

    def _rests(self, name: str) -> bool:
        record = self._records.get(name)
        return record is not None and self._clock.monotonic() < record.rests_until

    def _is_slow(self, name: str, took: float) -> bool:
        if took <= LONGEST_CHECK:
            # Without the lock: nearly every check comes here, and only a record that exists is reset.
            if name in self._records:
                with self._lock:
                    self._records.pop(name, None)
            return False
        with self._lock:
            record = self._records.setdefault(name, _Record())
            record.strikes += 1
            if record.strikes >= STRIKES:
                record.rests_until = self._clock.monotonic() + REST
                _log.warning("a rule rests, it takes too long", evaluator=name, seconds=round(took, 1), rest=REST)
        return True
