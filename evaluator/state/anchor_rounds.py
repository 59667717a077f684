"""What is kept of a rubric's anchors in Redis: their rounds, whether the judge moved, and when it was tried last.

It is the state of a monitor of its own (monitor_records.py): values by anchor and who judged, no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from judges import Rubric
from monitors.drift import Anchor, Anchored, DriftState, Round, Shift

ROUNDS: Final = 40
"""The newest rounds are kept."""

EVERY: Final = timedelta(days=7)
"""How often a judge is asked that nobody saw change."""

_PLACE: Final = ",anchors"
"""Where it is kept, among the monitors; no score's name has a comma."""


def place_of(name: str) -> str:
    """Return the key under which the rounds of a rubric's anchors are kept, among the states of monitors."""
    return f"{_PLACE}/{name}"


@dataclass(frozen=True, slots=True)
class Judging:
    """A round with who judged: version of the rubric, what measured, models as answered, the provider's names of them.

    `failed` anchors have no value, by why.
    """

    round: Round
    version: str
    judges: tuple[str, ...] = ()
    failed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a rubric's anchors."""

    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    judgings: tuple[Judging, ...] = ()
    state: DriftState = field(default_factory=DriftState)
    shift: Shift | None = None
    tried: datetime | None = None

    @property
    def last(self) -> Judging | None:
        """The newest round."""
        return self.judgings[-1] if self.judgings else None

    def mean(self, judging: Judging) -> float:
        """Return the weighted mean of a round."""
        values = judging.round.values
        weights = {name: self.anchors[name].weight if name in self.anchors else 1.0 for name in values}
        return sum(weights[name] * value for name, value in values.items()) / sum(weights.values())

    def anchored(self, version: str | None = None) -> Anchored:
        """Return the rounds for tests, of one version of the rubric or of all."""
        rounds = tuple(each.round for each in self.judgings if version in {None, each.version})
        return Anchored(self.anchors, rounds, self.state.moves)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON; `from_json` is the inverse."""
        return {
            "anchors": {name: list(anchor) for name, anchor in self.anchors.items()},
            "judgings": [_judging_to_json(each) for each in self.judgings],
            "opened": _text(self.state.opened),
            "since": _text(self.state.since),
            "moves": [at.isoformat() for at in self.state.moves],
            "shift": None if self.shift is None else _shift_to_json(self.shift),
            "tried": _text(self.tried),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Known:
        """Read it; nothing of what is none."""
        if data is None:
            return cls()
        moves = tuple(map(datetime.fromisoformat, data["moves"]))
        shift = data["shift"]
        return cls(
            {name: Anchor(*kept) for name, kept in data["anchors"].items()},
            tuple(map(_judging_from_json, data["judgings"])),
            DriftState(_time(data["opened"]), _time(data["since"]), moves),
            None if shift is None else Shift(**{**shift, "at": datetime.fromisoformat(shift["at"])}),
            _time(data["tried"]),
        )


def known_judges(
    rubrics: Iterable[Rubric], states: Callable[[Iterable[str]], Mapping[str, Mapping[str, Any] | None]]
) -> dict[str, Known]:
    """Return what is kept of the anchors of rubrics that have any, by name; `states` reads those of monitors."""
    names = [each.name for each in rubrics if each.spec.anchors is not None]
    kept = states(map(place_of, names))
    return {name: Known.from_json(kept[place_of(name)]) for name in names}


def _judging_to_json(each: Judging) -> dict[str, Any]:
    kept = {"at": each.round.at.isoformat(), "ruler": each.round.ruler, "apart": each.round.apart}
    kept["since"] = _text(each.round.since)
    values = dict(each.round.values)
    return {**kept, "values": values, "version": each.version, "judges": list(each.judges), "failed": dict(each.failed)}


def _judging_from_json(kept: Mapping[str, Any]) -> Judging:
    at, since = datetime.fromisoformat(kept["at"]), _time(kept.get("since"))
    known = Round(at, kept["ruler"], kept["values"], kept["apart"], since)
    return Judging(known, kept["version"], tuple(kept["judges"]), kept["failed"])


def _shift_to_json(shift: Shift) -> dict[str, Any]:
    names = ("points", "low", "high", "p", "variance", "df", "n")
    return {**{name: getattr(shift, name) for name in names}, "at": shift.at.isoformat()}


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
