"""What is wrong, in words, and what to do: from one look at the service. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from evaluator.definitions.service_config import ServiceConfig
from evaluator.state.coverage import has_fallen_silent, oldest_pending
from evaluator.status.overview import Status, span_text

_LATE_LOOKS: Final = 4
"""So many looks of discovery may be late before it counts as behind."""

_LEAST_BEHIND: Final = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. `is_grave` when evaluation stands still or alerts do not reach anybody."""

    what: str
    todo: str
    is_grave: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """The headline, and everything that is wrong, the gravest first."""

    headline: str
    troubles: tuple[Trouble, ...]

    @property
    def level(self) -> str:
        """Return `well`, `warn` or `bad`."""
        return "bad" if any(each.is_grave for each in self.troubles) else "warn" if self.troubles else "well"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"level": self.level, "headline": self.headline, "troubles": [asdict(each) for each in self.troubles]}


def health_of(status: Status, service: ServiceConfig, now: datetime) -> Health:
    """Say how the service is."""
    troubles = tuple(sorted(_troubles(status, service, now), key=lambda each: not each.is_grave))
    if not troubles:
        return Health(_well(status), ())
    others = f", and {len(troubles) - 1} more" if len(troubles) > 1 else ""
    return Health(f"{troubles[0].what}{others}", troubles)


def _well(status: Status) -> str:
    if status.behind is None:
        return "Healthy. Nothing was read yet: discovery begins at its first look, older traces come with a sweep"
    if not any(state == "sampled" for _, state, _ in status.funnel):
        return "Healthy. No trace was taken yet"
    pace = f"{status.per_minute:,.1f} evaluated a minute" if status.per_minute else "nothing came lately"
    return f"Healthy: read up to {span_text(status.behind)} ago, {pace}"


def _troubles(status: Status, service: ServiceConfig, now: datetime) -> Iterator[Trouble]:
    yield from _of_processes(status, service)
    yield from _of_coverage(status, service, now)
    for model, why in status.closed.items():
        yield Trouble(
            f"Model {model} takes no calls: {why}", "evaluator check; its questions wait meanwhile", is_grave=True
        )
    for payer, money in status.budgets.items():
        if money.spent >= money.limit:
            yield Trouble(f"The budget of {payer} is spent for today", "it goes on at midnight UTC; or raise it")
    if status.not_taken:
        names = ", ".join(sorted({destination for destination, _ in status.not_taken}))
        yield Trouble(
            f"{status.undelivered:,} messages are not delivered ({names})", "see alerts for the reason", is_grave=True
        )
    for name, trust in status.trust.items():
        if trust.agreement is not None and trust.agreement.low_since is not None:
            yield Trouble(
                f"Judge {name} does not agree with people: {trust.said_of_agreement}",
                f"evaluator calibrate {name} shows where they differ",
            )
    if status.load.share < 1:
        yield Trouble(
            f"Sampling is at {status.load.share:.0%} of the configured rates, since workers cannot keep up",
            "add workers, or sample less",
        )
    if (held := status.load.shares) and status.load.least < status.load.share:
        yield Trouble(
            f"{', '.join(held)}: sampling at {status.load.least:.0%} of the configured rates, since the model is slow",
            "raise its limits, ask a faster model, or sample less",
        )


def _of_processes(status: Status, service: ServiceConfig) -> Iterator[Trouble]:
    if status.leader is None:
        what = "Nobody leads: nothing new is found, no alert is sent"
        yield Trouble(what, "start `evaluator scheduler` or `evaluator run`", is_grave=True)
    most = max(_LEAST_BEHIND, service.discovery.quiet_for + _LATE_LOOKS * service.discovery.every)
    if status.leader is not None and status.behind is not None and status.behind > most:
        what = f"Discovery is {span_text(status.behind)} behind"
        yield Trouble(what, "see the scheduler's log: Langfuse may be slow, or its rate limit reached", is_grave=True)
    waiting = sum(known.messages for known in status.lanes.values())
    if waiting and not any(each.threads for each in status.workers):
        yield Trouble(
            f"No worker lives, and {waiting:,} messages wait",
            "start `evaluator worker` or `evaluator run`",
            is_grave=True,
        )


def _of_coverage(status: Status, service: ServiceConfig, now: datetime) -> Iterator[Trouble]:
    coverage = service.coverage
    if has_fallen_silent(status.promises, now, coverage.silent_for):
        what = f"Nothing was evaluated for {span_text(coverage.silent_for)}, though traces come"
        yield Trouble(what, "see the workers' log, and /readyz of a worker", is_grave=True)
    objective = coverage.objective
    missed = [each for each in status.kept if each.misses(objective)]
    if missed and objective is not None:
        worst = min(missed, key=lambda each: each.share)
        others = f" ({len(missed)} evaluators miss it)" if len(missed) > 1 else ""
        below = f"below the objective of {100 * objective:.6g} %{others}"
        what = f"Coverage of {worst.evaluator} is {worst.share:.1%}, {below}"
        yield Trouble(what, "see its failures and what is pending", is_grave=True)
    oldest = oldest_pending(status.promises, now)
    if not missed and oldest is not None and oldest > coverage.within:
        yield Trouble(
            f"The oldest trace that waits was found {span_text(oldest)} ago", "see the lanes: one of them is slow"
        )
