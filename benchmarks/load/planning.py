"""How many processes, requests, gigabytes and judge calls so many traces a day need: arithmetic on measured constants.

Paper, not measurement: the constants are the tables of docs/scaling.md, rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.load.measuring import table

DAYS: Final = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
_A_DAY: Final = 86_400
_PEAK: Final = 3.0
"""Busiest hour against the mean of the day; backlogs of a night are worked off besides."""

_BUSY: Final = 0.6
"""Share of a core that a process is planned to use."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured.

    Attributes:
        root: CPU seconds to list, sample and claim one root.
        again: how often a root is read until it is too old to come late (discovery's overlap).
        trace: CPU seconds to fetch a trace, run rules and write; `judged`: what one judge call adds.
        reads: requests to Langfuse to fetch 50 traces; a write carries 100 scores.
        claim: bytes a trace is remembered with in Redis; `evaluated`: what an evaluator on it adds.
        days: how long these are kept.
        redis: CPU seconds of Redis for an evaluated trace; `listed`: for a root.
        in_flight: judge calls at once in a process.
    """

    root: float = 15e-6
    again: float = 7.6
    trace: float = 0.30e-3
    judged: float = 0.38e-3
    reads: float = 1.3
    claim: float = 60.0
    evaluated: float = 90.0
    days: float = 2.01
    redis: float = 50e-6
    listed: float = 3e-6
    in_flight: int = 64


@dataclass(frozen=True, slots=True)
class Policy:
    """What is evaluated.

    Attributes:
        name: how the table calls it.
        rules: share of traces that rules see, `number` of them; `judged`: share that one judge sees.
        latency: seconds the judge's model takes.
    """

    name: str
    rules: float
    number: int
    judged: float
    latency: float = 2.0


POLICIES: Final = (
    Policy("5 rules on every trace, one judge on 5 %", 1.0, 5, 0.05),
    Policy("5 rules and one judge on 5 %", 0.05, 5, 0.05),
    Policy("5 rules and one judge on 0.1 %", 0.001, 5, 0.001),
)


@dataclass(frozen=True, slots=True)
class Need:
    """What a policy needs at its peak.

    Attributes:
        schedulers: share of one core that finding traces takes, in the one process that leads.
        workers: processes, by CPU or by judge calls in flight, whichever is more.
        requests: to Langfuse a minute.
        redis_cores: share of one core of Redis.
        gigabytes: of Redis.
        judge_calls: a second.
    """

    schedulers: float
    workers: int
    requests: float
    redis_cores: float
    gigabytes: float
    judge_calls: float


def need(traces_a_day: float, policy: Policy, known: Constants | None = None) -> Need:
    """Return what so many traces a day need."""
    known = known or Constants()
    a_second = traces_a_day / _A_DAY * _PEAK
    evaluated = max(policy.rules, policy.judged)
    calls = a_second * policy.judged
    cores = a_second * evaluated * known.trace + calls * known.judged
    scores = policy.rules * policy.number + policy.judged
    a_minute = 60 * a_second
    requests = 2 + a_minute * (known.again / 1000 + evaluated * known.reads / 50 + scores / 100)
    kept = traces_a_day * known.days * (known.claim + scores * known.evaluated)
    return Need(
        schedulers=a_second * known.again * known.root,
        workers=max(1, _up(cores / _BUSY), _up(calls * policy.latency / known.in_flight)),
        requests=requests,
        redis_cores=a_second * (known.again * known.listed + evaluated * known.redis),
        gigabytes=kept / 1e9,
        judge_calls=calls,
    )


def plan() -> str:
    """Return a table for each policy."""
    parts = []
    head = [
        "traces a day",
        "scheduler, cores",
        "worker processes",
        "Langfuse requests/min",
        "Redis, cores",
        "Redis, GB",
        "judge calls/s",
    ]
    for policy in POLICIES:
        rows = []
        for traces in DAYS:
            wanted = need(traces, policy)
            rows.append(
                [
                    f"{traces:,}",
                    f"{wanted.schedulers:.2f}",
                    f"{wanted.workers:,}",
                    f"{wanted.requests:,.0f}",
                    f"{wanted.redis_cores:.2f}",
                    f"{wanted.gigabytes:,.1f}",
                    f"{wanted.judge_calls:,.1f}",
                ]
            )
        parts.append(f"**{policy.name}**\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _up(number: float) -> int:
    return int(-(-number // 1))
