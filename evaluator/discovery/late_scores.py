"""Feedback comes late: a score that a filter asks for takes its trace to the evaluators long after it was swept.

A trace is decided about once, when it has finished, by what is known then. A person's thumb comes minutes to weeks
later. So scores that filters ask for are read as they arrive, and whoever would take a trace with them, and did not
without them, gets it now. Each look reaches back by `discovery.overlap`: our own scores bear the time when their trace
ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from evaluator.calibration.low_scores import LowScores
from evaluator.clock import Clock
from evaluator.definitions import Definitions
from evaluator.discovery.filter_scores import asked_for, awaited_names, late_claim, with_scores
from evaluator.discovery.sweep import Found
from evaluator.langfuse import Langfuse, Window
from evaluator.money.rations import Rations
from evaluator.sampling.jobs import Enqueue, Job
from evaluator.sampling.sampler import LATE, NotTaken, Sampled, Sampler
from evaluator.state.fleet import State
from traces import TraceRef, TraceRoot

_READ: Final = "late scores"
"""The name of the mark up to which scores were read, among the jobs that ran."""

_AHEAD: Final = timedelta(minutes=1)

_log = structlog.get_logger(__name__)


class LateScores:
    """Reads the scores that filters ask for, and hands over the traces that are taken because of them."""

    def __init__(
        self,
        definitions: Definitions,
        langfuse: Langfuse,
        state: State,
        rations: Rations,
        clock: Clock,
        put: Enqueue,
        low: LowScores,
    ) -> None:
        self._definitions = definitions
        self._langfuse = langfuse
        self._state = state
        self._rations = rations
        self._clock = clock
        self._put = put
        self._low = low
        self._wanted = set(awaited_names(definitions))
        ours = {name for evaluator in definitions.evaluators for name in evaluator.scores}
        self._names = sorted(self._wanted | (set(low.names) - ours))
        asking = (each for each in definitions.evaluators if each.target != "session")
        self._asking = [each for each in asking if asked_for(each) - each.in_pass]

    def look(self) -> Found:
        """Read what was scored since the last look; the first one ever only marks where to begin.

        Raises:
            Unavailable, Refused: Langfuse or Redis; the next look reads the same scores again.
        """
        if not self._names:
            return Found()
        now = self._clock.now()
        mark = self._state.last_run(_READ)
        found = Found()
        if mark is not None:
            # A mark in the future is of a clock that was wrong.
            window = Window(min(mark, now) - self._definitions.service.discovery.overlap, now + _AHEAD)
            for page in self._langfuse.scores(window, names=self._names):
                self._low.recorded(page)
                asked_for = (score.trace_id for score in page if score.trace_id and score.name in self._wanted)
                found += self._take(list(dict.fromkeys(asked_for)), window)
        self._state.ran(_READ, now)
        if found.sampled:
            _log.info("scores came late", traces=found.traces, sampled=found.sampled)
        return found

    def _take(self, trace_ids: Sequence[str], window: Window) -> Found:
        """Hand over those of the traces that somebody takes because of their scores."""
        if not trace_ids:
            return Found()
        reach = self._definitions.service.discovery.scores_reach
        known = self._langfuse.roots(trace_ids, Window(window.end - reach, window.end))
        swept = self._swept(list(known.values()))
        roots = with_scores(swept, self._definitions, self._langfuse, self._clock.now())
        sampler = self._rations.sampler(self._asking, {}, len(roots), live=False)
        chosen = [(root, sample) for root in roots for sample in _late(sampler, root)]
        claims = {(root.ref.id, sample.evaluator): late_claim(root.ref, sample.evaluator) for root, sample in chosen}
        fresh = self._state.unclaimed(list(claims.values()))
        samples: dict[TraceRef, list[Sampled]] = {}
        for root, sample in chosen:
            if claims[root.ref.id, sample.evaluator].id in fresh:
                samples.setdefault(root.ref, []).append(sample)
        return self._hand_over(list(samples.items()))

    def _swept(self, roots: Sequence[TraceRoot]) -> list[TraceRoot]:
        """Return the traces about which is decided: discovery looks at the scores of the others itself."""
        mark = self._state.watermark()
        if mark is None:
            return []
        coming = self._state.unclaimed([root.ref for root in roots])
        begins = mark - self._definitions.service.discovery.overlap
        return [root for root in roots if root.ref.id not in coming or root.ref.ended < begins]

    def _hand_over(self, taken: Sequence[tuple[TraceRef, list[Sampled]]]) -> Found:
        size = self._definitions.service.batch_size
        for start in range(0, len(taken), size):
            batch = taken[start : start + size]
            self._put([Job(ref, tuple(samples)) for ref, samples in batch])
            # Claimed afterwards: a crash in between hands this batch over twice, and what one settled the other leaves.
            pairs = [(ref, sample.evaluator) for ref, samples in batch for sample in samples]
            self._state.claim({late_claim(ref, name): (f"{name}/sampled/",) for ref, name in pairs})
        return Found(len(taken), len(taken), sum(len(samples) for _, samples in taken))


def _late(sampler: Sampler, root: TraceRoot) -> Iterator[Sampled]:
    """Give who takes a trace because of its scores.

    Who would not have seen it at all without them takes it with the probability of its line: such traces are all taken
    like this. Who left it out by chance took others in its place, which count for it in every mean: it is judged to be
    read, not to be counted once more.
    """
    without = sampler.choose(replace(root, scores={}))
    for before, now in zip(without, sampler.choose(root), strict=True):
        if isinstance(now.decision, Sampled) and not isinstance(before.decision, Sampled):
            unseen = before.decision is NotTaken.FILTERED
            yield now.decision if unseen else replace(now.decision, stratum=LATE)
