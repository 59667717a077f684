"""Every week the judges are held against what people said, and people are told when one no longer agrees with them.

What was found is kept as the state of a monitor of its own, with its message in one step (state/): a restart tells
nothing again. It holds figures and no text, of the last half year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
import structlog

from evaluator.calibration.agreement import Calibration, calibrate
from evaluator.calibration.label_queue import QueueStore, queue_name, read_queue
from evaluator.calibration.labels import LabelStore
from evaluator.clock import Clock
from evaluator.definitions import Definitions
from evaluator.errors import EvaluatorError
from evaluator.messages.alert import notice
from evaluator.messages.blocks import Message, escaped
from evaluator.state.fleet import State
from judges import Calibrate, Rubric
from judges.calibration import Agreement, Figure

SURE: Final = 0.9
"""Share of the resamples that must be below the floor before people are told: the figure alone wobbles."""

_KEPT: Final = 26
_PLACE: Final = ",calibration"
"""Where it is kept, among the monitors; no score's name has a comma."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a judge and a label from before: the last finding, those of past weeks, since when it is low."""

    last: Mapping[str, Any] | None
    history: tuple[Mapping[str, Any], ...]
    low_since: datetime | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Kept:
        """Read it; nothing of what is none."""
        if data is None:
            return cls(None, (), None)
        low = data.get("low_since")
        return cls(data["last"], tuple(data["history"]), None if low is None else datetime.fromisoformat(low))


def place_of(name: str, against: str) -> str:
    """Return the key under which a calibration is kept, among the states of monitors."""
    return f"{_PLACE}/{name}/{against}"


class Source(LabelStore, QueueStore, Protocol):
    """What is needed of Langfuse."""


class Calibrating:
    """Holds the judges against people, and remembers what was found."""

    def __init__(
        self, definitions: Definitions, langfuse: Source, state: State, clock: Clock, *, delivers: bool
    ) -> None:
        """Hold those rubrics that say `calibrate`; without anybody who `delivers`, what is told is only logged."""
        rubrics = definitions.rubrics()
        self._held = [(each, each.spec.calibrate) for each in rubrics if each.spec.calibrate is not None]
        self._salt = definitions.service.sampling.salt
        self._langfuse = langfuse
        self._state = state
        self._clock = clock
        self._delivers = delivers

    def week(self) -> list[Calibration]:
        """Hold each of them against its labels and tell people; what cannot be read stops no other.

        Raises:
            EvaluatorError: the last that could not be read, after all others; the next run takes all again.
        """
        found: list[Calibration] = []
        problem: EvaluatorError | None = None
        for rubric, wanted in self._held:
            try:
                found.append(self._hold(rubric, wanted))
            except EvaluatorError as error:
                _log.warning("a judge could not be held against people", rubric=rubric.name, reason=str(error))
                problem = error
        if problem is not None:
            raise problem
        return found

    def _hold(self, rubric: Rubric, wanted: Calibrate) -> Calibration:
        now = self._clock.now()
        found = calibrate(
            self._langfuse,
            rubric,
            wanted.against,
            since=now - wanted.since,
            now=now,
            rng=np.random.default_rng(0),
            pass_at=wanted.pass_at,
            random=wanted.random,
            queue=read_queue(self._langfuse, queue_name(rubric), self._salt),
        )
        keep(self._state, found, floor=wanted.floor, delivers=self._delivers)
        return found


def keep(state: State, found: Calibration, *, floor: float | None = None, delivers: bool = False) -> None:
    """Keep what was found; with a floor also tell people, once, that a judge fell below it, and once that it is back.

    Raises:
        Unavailable: Redis.
    """
    with state.monitor(place_of(found.name, found.against)) as record:
        known = Kept.from_json(record.state)
        now = found.at
        low = _is_low(found, floor, since=known.low_since) if floor is not None else known.low_since is not None
        since = (known.low_since or now) if low else None
        summary = found.summary()
        past = [each for each in known.history if _week(each["at"]) != _week(summary["at"])]
        told = {key: summary.get(key) for key in ("at", "n", "figure", "version", "judge")}
        record.state = {
            "last": summary,
            "history": [*past, told][-_KEPT:],
            "low_since": since.isoformat() if since else None,
        }
        if floor is None or low == (known.low_since is not None) or found.found is None or found.headline is None:
            return
        content = _message(found, found.found, found.headline, floor, low=low)
        key = f"calibration/{found.name}/{(since or known.low_since or now):%Y-%m-%d}/{'low' if low else 'back'}"
        if delivers:
            record.outbox[key] = {"message": content, "chart": None, "at": now.isoformat()}
        else:
            _log.warning("nobody is set up to be told; this was not sent", text=content["text"])


def _is_low(found: Calibration, floor: float, *, since: datetime | None) -> bool:
    """Whether a judge counts as below its floor: once low, until its figure is at the floor again."""
    if not found.is_enough or found.found is None or found.headline is None:
        return since is not None
    if since is not None:
        return found.headline.value < floor
    return (found.found.below(floor) or 0.0) >= SURE


def _message(found: Calibration, agreement: Agreement, headline: Figure, floor: float, *, low: bool) -> Message:
    title = f"Judge {found.name} {'does not agree' if low else 'agrees again'} with people"
    stands = f"{'below' if low else 'back at'} its floor of {floor:g}"
    judge = f", judged by {escaped(found.judge)}" if found.judge else ""
    facts = [
        f"{agreement.headline.capitalize()} {spanned(headline)} against {escaped(found.against)}: {stands}.",
        f"{agreement.labels:,} labels of {agreement.n:,} subjects in {agreement.sessions:,} sessions{judge}.",
    ]
    if (people := agreement.people.get(agreement.headline)) is not None:
        facts.append(f"People among themselves: {spanned(people)}.")
    if low:
        command = escaped(f"evaluator calibrate {found.name}")
        facts.append(f"Means and alerts of {escaped(found.name)} rest on it. {command} shows where they differ.")
    return notice(title, facts)


def spanned(figure: Figure) -> str:
    """Return a figure with its interval."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} (95 % {figure.low:.2f} to {figure.high:.2f})"


def _week(at: str) -> tuple[int, int]:
    year, week, _ = datetime.fromisoformat(at).isocalendar()
    return year, week
