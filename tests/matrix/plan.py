"""What happens in one run, drawn from a seed: how much traffic comes when, what goes wrong when, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from tests.matrix.faults import FAULTS, Fault

_NEVER_TOGETHER: Final = (
    ("redis-killed", "redis-away", "redis-emptied", "redis-flushed", "disk-full"),
    ("kill-scheduler", "leader-killed", "two-schedulers", "freeze-scheduler", "rolling-restart"),
    ("kill-worker", "kill-workers", "freeze-worker", "rolling-restart"),
    ("stop-worker", "kill-workers", "rolling-restart"),
    ("langfuse-5xx", "langfuse-422", "langfuse-422-always", "langfuse-down"),
    ("model-5xx", "model-down", "model-gone"),
)
"""Acts on one thing cannot overlap."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that begins `at` seconds after the start and lasts for `seconds`."""

    fault: Fault
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `waves` are (seconds after the start, number of traces)."""

    seed: int
    waves: tuple[tuple[float, int], ...]
    strikes: tuple[Strike, ...]
    alerts: bool
    only: str = ""

    @property
    def command(self) -> str:
        """The command that plays this plan again."""
        return f".venv/bin/python -m tests.matrix --seed {self.seed}" + (f" --only {self.only}" if self.only else "")

    @property
    def traces(self) -> int:
        return sum(number for _, number in self.waves)

    @property
    def wipes(self) -> bool:
        return any(strike.fault.wipes for strike in self.strikes)

    def __str__(self) -> str:
        told = (f"{s.fault.name} {s.at:.1f}+{s.seconds:.1f}s" for s in self.strikes)
        return f"seed {self.seed}: {self.traces} traces, {', '.join(told)}{', an alert' if self.alerts else ''}"


def drawn(seed: int, *, only: str = "") -> Plan:
    """Draw a plan: two to five faults, or `only` the one of this name."""
    random = Random(f"{seed}/{only}")
    waves = tuple((random.uniform(0, 0.9), random.randint(10, 60)) for _ in range(random.randint(1, 3)))
    if only:
        names = [only]
    else:
        names = random.sample(sorted(FAULTS), random.randint(2, 5))
        for group in _NEVER_TOGETHER:
            together = [name for name in names if name in group]
            names = [name for name in names if name not in together[1:]]
    strikes = tuple(_strike(random, FAULTS[name]) for name in names)
    alerts = any(name.startswith("slack") for name in names) or random.random() < 0.4
    return Plan(seed, waves, strikes, alerts, only)


def _strike(random: Random, fault: Fault) -> Strike:
    return Strike(fault, random.uniform(0.1, 1.3), random.uniform(*fault.seconds))
