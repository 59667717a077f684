"""How far a judge can be trusted, from what Redis keeps: its golden tests, and its agreement with people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evaluator.calibration.weekly import Kept, place_of
from evaluator.state.alert_memory import AlertMemory
from evaluator.state.golden_tests import KeptTest, KeptTests
from judges import Rubric
from judges.calibration import Figure
from monitors import WeekMean


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a judge agrees with people, as `calibrate` found it last.

    Attributes:
        against: name of the score that people give.
        floor: below which people are told; None when nobody is.
        at: when it was looked at; None when never.
        measure: kappa, or weighted kappa.
        figure: with its interval; None where too little was labelled for one.
        subjects: how many both judged.
        version: of the rubric whose scores were compared.
        low_since: since when it counts as below its floor.
        weeks: the figure week by week, oldest first.
    """

    against: str
    floor: float | None
    at: datetime | None = None
    measure: str = "kappa"
    figure: Figure | None = None
    subjects: int = 0
    version: str = ""
    low_since: datetime | None = None
    weeks: tuple[WeekMean, ...] = ()

    @property
    def is_low(self) -> bool:
        """Whether it counts as below its floor, or its whole interval lies there."""
        below = (
            self.figure is not None
            and self.floor is not None
            and self.figure.high is not None
            and self.figure.high < self.floor
        )
        return below or self.low_since is not None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "against": self.against,
            "floor": self.floor,
            "at": self.at and self.at.isoformat(),
            "measure": self.measure,
            "figure": self.figure and self.figure._asdict(),
            "subjects": self.subjects,
            "version": self.version,
            "low_since": self.low_since and self.low_since.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of one judge.

    Attributes:
        version: of its rubric now; empty where Langfuse keeps its prompt, and may change it at any time.
        examples: how many golden examples its file has.
        test: what they last came to; None when they never ran where the service runs.
        agreement: with people; None when its file names no labels.
    """

    version: str
    examples: int
    test: KeptTest | None
    agreement: Agreement | None

    @property
    def is_stale(self) -> bool:
        """Whether another version was tested than the one that judges now."""
        return self.test is not None and bool(self.version) and self.test.version != self.version

    @property
    def is_known(self) -> bool:
        """Whether it was ever tested, or held against people."""
        return self.test is not None or (self.agreement is not None and self.agreement.at is not None)

    @property
    def is_doubtful(self) -> bool:
        """Whether something is known that speaks against it."""
        fails = self.test is not None and self.test.failed > 0 and not self.is_stale
        return fails or (self.agreement is not None and self.agreement.is_low)

    @property
    def said_of_tests(self) -> str:
        """What its golden tests came to, in words."""
        if self.test is None:
            return f"never run ({self.examples:,} examples)" if self.examples else "it has no examples"
        parts = [f"{self.test.passed:,} of {self.test.number:,} as expected"]
        parts += [f"{self.test.unasked:,} could not be asked"] if self.test.unasked else []
        parts += [f"{self.test.flaky:,} flaky"] if self.test.flaky else []
        return f"{', '.join(parts)} on {_day(self.test.at)}{', of another version' if self.is_stale else ''}"

    @property
    def said_of_agreement(self) -> str:
        """How it agrees with people, in words."""
        known = self.agreement
        if known is None:
            return "its file names no labels"
        if known.at is None:
            return f"not looked at yet, against {known.against}"
        if known.figure is None:
            return f"too few labels {known.against} to tell ({known.subjects:,} subjects), on {_day(known.at)}"
        low, high = known.figure.low, known.figure.high
        interval = "" if low is None or high is None else f" (95 % {low:.2f} to {high:.2f})"
        floor = "" if known.floor is None else f", floor {known.floor:g}"
        below = "" if known.low_since is None else f", below it since {_day(known.low_since)}"
        said = f"{known.measure} {known.figure.value:.2f}{interval} against {known.against}"
        return f"{said}{floor}{below}, {known.subjects:,} subjects, on {_day(known.at)}"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "examples": self.examples,
            "golden_tests": self.test and {**self.test.as_json(), "of_another_version": self.is_stale},
            "agreement": self.agreement and self.agreement.as_json(),
        }


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def trusted(rubrics: Iterable[Rubric], tests: KeptTests, alerts: AlertMemory) -> dict[str, Trust]:
    """Return what is known of the judges of rubrics, by name.

    Raises:
        Unavailable: Redis does not answer.
    """
    judged = list(rubrics)
    if not judged:
        return {}
    places = {each.name: place_of(each.name, wanted.against) for each in judged if (wanted := each.spec.calibrate)}
    held, found = alerts.states(places.values()), tests.all()
    return {
        each.name: Trust(
            "" if each.spec.prompt is not None else each.version,
            len(each.spec.examples),
            found.get(each.name),
            _agreement(each, held[places[each.name]]) if each.name in places else None,
        )
        for each in judged
    }


def _agreement(rubric: Rubric, held: Mapping[str, Any] | None) -> Agreement | None:
    wanted = rubric.spec.calibrate
    if wanted is None:
        return None
    kept = Kept.from_json(held)
    if kept.last is None:
        return Agreement(wanted.against, wanted.floor)
    last, figure = kept.last, kept.last.get("figure")
    return Agreement(
        against=wanted.against,
        floor=wanted.floor,
        at=datetime.fromisoformat(last["at"]),
        measure=last.get("measure") or "kappa",
        figure=None if figure is None else Figure(*figure),
        subjects=last["n"],
        version=last["version"],
        low_since=kept.low_since,
        weeks=tuple(
            WeekMean(datetime.fromisoformat(week["at"]), week["n"], *week["figure"])
            for week in kept.history
            if week.get("figure") is not None
        ),
    )
