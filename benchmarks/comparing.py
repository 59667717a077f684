"""Measuring contenders side by side: two sizes each, several rounds in turn, the best of each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.outside import Behaviour
from benchmarks.running import SCORES_A_TRACE, Contender, Run, run
from benchmarks.stand_ins import StandIns


@dataclass(frozen=True, slots=True)
class Figures:
    """What a contender needs, by its two sizes: seconds of CPU for one more trace, for the start, and so on."""

    small: Run
    large: Run

    @property
    def cpu(self) -> float:
        """CPU seconds of one more trace, the start left out."""
        return (self.large.cpu - self.small.cpu) / (self.large.traces - self.small.traces)

    @property
    def valkey_cpu(self) -> float:
        """CPU seconds of Valkey for one more trace."""
        return (self.large.valkey_cpu - self.small.valkey_cpu) / (self.large.traces - self.small.traces)

    @property
    def start(self) -> float:
        """CPU seconds before and after the traces."""
        return max(0.0, self.small.cpu - self.small.traces * self.cpu)

    @property
    def rate(self) -> float:
        """Traces a second, from first request to last score."""
        return self.large.traces / self.large.seconds


@dataclass(frozen=True, slots=True)
class Row:
    """A contender with its figures, or with the reason why it has none."""

    contender: Contender
    figures: Figures | None = None
    reason: str = ""


def compare(contenders: Sequence[Contender], stand_ins: StandIns, behaviour: Behaviour, *, rounds: int) -> list[Row]:
    """Measure contenders in turn, so that a slow moment of the machine meets all of them."""
    runs: dict[tuple[str, int], list[Run]] = {}
    reasons: dict[str, str] = {}
    for number in range(rounds):
        for contender in contenders:
            if contender.name in reasons:
                continue
            for size in contender.sizes:
                done = _once(contender, stand_ins, replace(behaviour, traces=size))
                _tell(contender, done, number)
                if isinstance(done, str):
                    reasons[contender.name] = done
                    break
                runs.setdefault((contender.name, size), []).append(done)
    return [_row(contender, runs, reasons.get(contender.name, "")) for contender in contenders]


def _once(contender: Contender, stand_ins: StandIns, behaviour: Behaviour) -> Run | str:
    """Run once, or say why there is no figure: unfinished work has none."""
    if (missing := _missing(contender)) is not None:
        return missing
    done = run(contender, stand_ins, behaviour)
    if done.failed:
        return f"no figure: failed, {done.failed}"
    if done.lost:
        return f"no figure: lost {done.lost:,} of {SCORES_A_TRACE * behaviour.traces:,} scores"
    return done


def _missing(contender: Contender) -> str | None:
    if Path(contender.python).exists():
        return None
    return "no figure: not installed, `make bench` does it"


def under_refusals(
    contenders: Sequence[Contender], stand_ins: StandIns, behaviour: Behaviour
) -> list[tuple[Contender, Run | str]]:
    """Run each contender once, on its larger size; here a run that lost scores is the result."""
    found: list[tuple[Contender, Run | str]] = []
    for contender in contenders:
        done = _missing(contender) or run(contender, stand_ins, replace(behaviour, traces=contender.sizes[1]))
        _tell(contender, done, 0)
        found.append((contender, done))
    return found


def _row(contender: Contender, runs: dict[tuple[str, int], list[Run]], reason: str) -> Row:
    if reason:
        return Row(contender, reason=reason)
    small, large = (_best(runs[contender.name, size]) for size in contender.sizes)
    return Row(contender, Figures(small, large))


def _best(runs: Sequence[Run]) -> Run:
    """Put the best of several runs together: whatever else the machine does only ever adds to them."""
    return replace(
        min(runs, key=lambda each: each.cpu),
        valkey_cpu=min(each.valkey_cpu for each in runs),
        seconds=min(each.seconds for each in runs),
    )


def _tell(contender: Contender, done: Run | str, number: int) -> None:
    said = done if isinstance(done, str) else f"{done.cpu:.2f} s CPU, {done.seconds:.2f} s for {done.traces:,} traces"
    print(f"  round {number + 1}  {contender.name}: {said}", file=sys.stderr, flush=True)
