"""Judges are asked about their anchors again: every week, and whenever another model, rubric or configuration judges.

It goes the way of all traces: the rubric's budget, the limits, a trace of each call in `llm-as-a-judge`. No score is
written. What came of it is kept as the state of a monitor of its own, with its message in one step (state/): values
by anchor, no text. Should Redis forget it, the next round is the first one, and nothing is known of before.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from evaluator.calibration.anchors import AnchorSets, AnchorStore, Item, Made, left_out_in_words, scale_of, weighted
from evaluator.calibration.drift_notices import told
from evaluator.clock import Clock
from evaluator.definitions import Evaluator
from evaluator.errors import EvaluatorError, Unavailable
from evaluator.scoring.calls import Asked, Calls
from evaluator.state.alert_memory import AlertMemory
from evaluator.state.anchor_rounds import EVERY, ROUNDS, Judging, Known, place_of
from evaluator.state.fleet import State
from evaluator.state.judges_seen import JudgesSeen, judges_of
from evaluator.telemetry.spans import EVALUATOR, NO_SPANS, Spans
from judges import PANEL, Anchors, Question, Rubric
from monitors.drift import FEWEST, Anchored, DriftState, Round, Turn, against_normal, judge_step, marked
from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict

_AT_MOST: Final = timedelta(days=1)
"""How often at most because another configuration of the provider was seen: some take turns all day."""

_AGAIN: Final = timedelta(hours=1)
"""After how long what did not work is tried again."""

_AT_ONCE: Final = 20
_PATIENCE_SECONDS: Final = 60.0
"""So many questions are asked together, and wait so long at most: who stops the service waits for no more."""

_ENOUGH: Final = 0.8

_log = structlog.get_logger(__name__)


class Anchoring:
    """Keeps the anchors of rubrics, asks judges about them, and tells people when one moved."""

    def __init__(
        self,
        langfuse: AnchorStore,
        calls: Calls,
        state: State,
        memory: AlertMemory,
        seen: JudgesSeen,
        clock: Clock,
        evaluators: Callable[[], Mapping[str, Evaluator]],
        *,
        delivers: bool,
        spans: Spans = NO_SPANS,
    ) -> None:
        """Ask by `calls`; `evaluators` gives rubrics as they stand now; without `delivers` messages are only logged."""
        self._sets = AnchorSets(langfuse, clock)
        self._calls = calls
        self._state = state
        self._memory = memory
        self._seen = seen
        self._clock = clock
        self._evaluators = evaluators
        self._delivers = delivers
        self._spans = spans
        self._stopped = threading.Event()
        self._asking = threading.Lock()

    def stop(self) -> None:
        """Ask nothing more; a round on its way is given up, and repeated by whoever comes next."""
        self._stopped.set()

    def start(self) -> None:
        """Ask, again after `stop`."""
        self._stopped.clear()

    @property
    def held(self) -> dict[str, tuple[Evaluator, Rubric, Anchors]]:
        """The rubrics that have anchors, by name."""
        found: dict[str, tuple[Evaluator, Rubric, Anchors]] = {}
        for name, each in self._evaluators().items():
            if each.rubric is not None and each.rubric.spec.anchors is not None and not each.rubric.spec.awaits_prompt:
                found[name] = (each, each.rubric, each.rubric.spec.anchors)
        return found

    def known(self, name: str) -> Known:
        """Return what is known of a rubric's anchors.

        Raises:
            Unavailable: Redis.
        """
        place = place_of(name)
        return Known.from_json(self._memory.states([place])[place])

    def anchored(self, name: str) -> Anchored | None:
        """Return what anchors know of the judge of a score; None where it has none.

        Raises:
            Unavailable: Redis.
        """
        return self.known(name).anchored() if name in self.held else None

    def due(self) -> None:
        """Ask each judge that is to be asked; what does not work stops no other, and is tried again later.

        Raises:
            EvaluatorError: the last that did not work.
        """
        problem: EvaluatorError | None = None
        for name, (_, rubric, _) in self.held.items():
            try:
                with self._asking:
                    if self._is_due(name, rubric):
                        self.judge(name)
            except EvaluatorError as error:
                _log.warning("a judge could not be asked about its anchors", rubric=name, reason=str(error))
                if not self._stopped.is_set():
                    self._tried(name)
                problem = error
        if problem is not None:
            raise problem

    def again(self, name: str) -> bool:
        """Ask a judge now because its score looks low, unless it was asked within a day; return whether it was."""
        last = self.known(name).last if name in self.held else None
        if last is None or self._clock.now() - last.round.at < _AT_MOST:
            return False
        try:
            with self._asking:
                if self.known(name).last == last:  # else it was asked while we waited
                    self.judge(name, complete=False)
        except EvaluatorError as error:
            _log.warning("a score looks low and its judge could not be asked", rubric=name, reason=str(error))
            return False
        return True

    def make(self, name: str, *, anew: bool = False) -> Made:
        """Make what is missing of a rubric's anchors; `anew`: others in their place, and nothing is known of before.

        Raises:
            Unavailable, Refused: Langfuse or Redis.
        """
        evaluator, _, wanted = self.held[name]
        made = self._sets.make(evaluator, wanted, anew=anew)
        if anew:
            with self._state.monitor(place_of(name)) as record:
                record.state = Known().to_json()
        for why in left_out_in_words(made.left_out):
            _log.info("scored traces did not become anchors", rubric=name, reason=why)
        return made

    def judge(self, name: str, *, complete: bool = True) -> Judging | None:
        """Ask a judge about its anchors, keep what it says, and tell people if it moved; None while there are too few.

        Args:
            name: the rubric.
            complete: first make what is missing of its anchors: there may be more scored traces than before.

        Raises:
            Unavailable: too many anchors had no answer, or Langfuse or Redis do not answer.
            Refused: Langfuse.
        """
        _, rubric, wanted = self.held[name]
        items = self._sets.read(name)
        if complete and len(items) < wanted.size:
            self.make(name)
            items = self._sets.read(name)
        # Two who made them at once may have made more: what a round costs is bounded all the same.
        items = sorted(items, key=lambda item: item.id)[: wanted.size]
        if len(items) < FEWEST:
            _log.info("too few scored traces for anchors", rubric=name, anchors=len(items), needed=FEWEST)
            self._tried(name)
            return None
        with self._spans.span("anchors", {EVALUATOR: name}):
            found = self._asked(rubric, items, wanted.samples)
        self._keep(rubric, items, found)
        return found

    def _is_due(self, name: str, rubric: Rubric) -> bool:
        known, now = self.known(name), self._clock.now()
        if known.tried is not None and now - known.tried < _AGAIN:
            return False
        if known.last is None or known.last.version != rubric.version:
            return True
        since = now - known.last.round.at
        if since >= EVERY:
            return True
        judged = {judge for each in known.judgings for judge in each.judges}
        return since >= _AT_MOST and not self._seen.of(name).keys() <= judged

    def _tried(self, name: str) -> None:
        with self._state.monitor(place_of(name)) as record:
            record.state = replace(Known.from_json(record.state), tried=self._clock.now()).to_json()

    def _asked(self, rubric: Rubric, items: Sequence[Item], samples: int) -> Judging:
        at = self._clock.now()
        asked, of = [], []
        failed: Counter[str] = Counter()
        for item in items:
            question = rubric.question(item.material)
            if isinstance(question, NotApplicable):
                failed[question.reason] += 1
                continue
            for draw in range(samples):
                asked.append(
                    Asked(item.subject, f"{rubric.name} (anchor)", rubric.version, _of_its_own(question, at, draw))
                )
                of.append(item.id)
        outcomes: dict[int, Outcome] = {}
        try:
            for start in range(0, len(asked), _AT_ONCE):
                if self._stopped.is_set():
                    raise Unavailable("the service is stopping")
                for lot in self._calls.ask(asked[start : start + _AT_ONCE], _PATIENCE_SECONDS):
                    outcomes.update((start + place, outcome) for place, outcome in lot)
        finally:
            # A round that is given up was paid for all the same.
            self._state.counters.spend({rubric.name: sum((_used(each) for each in outcomes.values()), Usage())})
        verdicts = [(of[place], each) for place, each in sorted(outcomes.items()) if isinstance(each, Verdict)]
        failed.update(_why(each) for each in outcomes.values() if not isinstance(each, Verdict))
        values = _means(verdicts)
        if len(values) < max(FEWEST, _ENOUGH * len(items)):
            why = ", ".join(f"{number} {reason}" for reason, number in failed.most_common(3))
            raise Unavailable(f"of {len(items)} anchors of {rubric.name} only {len(values)} have an answer ({why})")
        rulers = Counter(_ruler(rubric, verdict) for _, verdict in verdicts)
        judges = sorted({judge for _, verdict in verdicts for judge in judges_of(verdict.details)})
        _log.info("a judge was asked about its anchors", rubric=rubric.name, anchors=len(values), failed=failed.total())
        return Judging(Round(at, rulers.most_common(1)[0][0], values), rubric.version, tuple(judges), dict(failed))

    def _keep(self, rubric: Rubric, items: Sequence[Item], found: Judging) -> None:
        seen = self._seen.of(rubric.name)
        with self._state.monitor(place_of(rubric.name)) as record:
            before = Known.from_json(record.state)
            replaced = before.last is not None and before.last.version != found.version
            # Another rubric is another ruler: what the old one was used to says nothing of it.
            normal = DriftState() if replaced else before.state
            found = replace(found, round=replace(found.round, since=_since(before.judgings, found, seen)))
            after = Known(weighted(items), (*before.judgings, found)[-ROUNDS:], normal)
            shift = against_normal(after.anchored(found.version), normal)
            low, high = scale_of(rubric)
            state, turn = judge_step(normal, shift, high - low)
            rounds = marked([each.round for each in after.judgings], normal, turn)
            judgings = tuple(replace(e, round=each) for e, each in zip(after.judgings, rounds, strict=True))
            record.state = replace(after, judgings=judgings, state=state, shift=shift).to_json()
            if replaced and before.state.opened is not None:
                turn = Turn.REPLACED
            if turn is None:
                return
            opened = before.state.opened or state.opened or found.round.at
            content = told(rubric, turn, shift, _others(before.judgings, found), opened)
            if self._delivers:
                key = f"anchors/{rubric.name}/{found.round.at:%Y-%m-%dT%H:%M:%S}/{turn}"
                record.outbox[key] = {"message": content, "chart": None, "at": found.round.at.isoformat()}
            else:
                _log.warning("nobody is set up to be told; this was not sent", text=content["text"])


def _of_its_own(question: Question, at: datetime, draw: int) -> Question:
    """Return a question that is asked alone, and of which no kept verdict is the answer."""
    details = {**question.details, "anchor_round": at.isoformat(), "anchor_draw": draw}
    return replace(question, details=details, member=None)


def _ruler(rubric: Rubric, verdict: Verdict) -> str:
    """Return what measured, as scores of the same judge have it."""
    return f"{rubric.version} {verdict.details.get(PANEL) or verdict.usage.model}"


def _means(verdicts: Iterable[tuple[str, Verdict]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for name, verdict in verdicts:
        values.setdefault(name, []).append(float(verdict.value))
    return {name: sum(known) / len(known) for name, known in values.items()}


def _others(before: Sequence[Judging], found: Judging) -> tuple[str, ...]:
    """Return who judges now and was never seen before."""
    known = {judge for each in before for judge in each.judges}
    return tuple(judge for judge in found.judges if judge not in known) if known else ()


def _since(before: Sequence[Judging], found: Judging, seen: Mapping[str, datetime]) -> datetime | None:
    """Return since when those judge who judged for the first time in a round, where that was after the round before."""
    times = [seen[judge] for judge in _others(before, found) if judge in seen]
    return min(times) if times and before[-1].round.at < min(times) <= found.round.at else None


def _used(outcome: Outcome) -> Usage:
    return Usage() if isinstance(outcome, NotApplicable) else outcome.usage


def _why(outcome: Outcome) -> str:
    match outcome:
        case Failure(kind):
            return kind
        case Unscored():
            return "judge could not tell"
        case NotApplicable(reason):
            return reason
    return ""
