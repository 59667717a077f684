"""The sampling rates of the moment: as configured, as a line's own budget lasts, and as the money for judges does.

Looks at what was seen, taken and spent, once a sweep; counts on from there by itself, page by page. With neither a
budget nor a line that has one it does nothing and costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from evaluator.clock import Clock
from evaluator.definitions import Definitions, Evaluator
from evaluator.money.budgets import budgets_of
from evaluator.money.rationing import Demand, Flow, Seen, kept_shares, quota_rate, still_to_come, thinned
from evaluator.sampling.conditions import NOTHING_FOUND
from evaluator.sampling.sampler import Choice, Rate, Sampled, Sampler, Tier
from evaluator.state.fleet import State
from evaluator.state.hours import Funnel
from evaluator.state.ledger import NO_MONEY, Ledger
from evaluator.state.volumes import DAYS_KEPT, DayVolume, Volumes, hours_of
from traces import SampleRule

_ENOUGH: Final = 20
"""Judgements from which on their mean cost is believed."""

_TOKENS: Final = (2000, 300)
"""Input and output of a judgement, as long as nothing is known of it."""

_ENDED: Final = frozenset({"scored", "unscored", "failed", "skipped"})
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """A budget today, in USD: what was spent, what is on its way, and what the rest of the day wants to spend."""

    limit: float
    spent: float
    on_its_way: float
    wanted: float

    @property
    def is_on_pace(self) -> bool:
        """Whether the day would spend more than it may, at the configured rates."""
        return self.spent + self.on_its_way + self.wanted > self.limit


@dataclass(frozen=True, slots=True)
class _Known:
    """What was there at the last look."""

    today: DayVolume
    before: tuple[DayVolume, ...]
    spent: Mapping[str, float]
    costs: Mapping[str, float]


class Rations:
    """Chooses rates. Belongs to the scheduler that leads, and to one thread of it."""

    def __init__(self, definitions: Definitions, state: State, ledger: Ledger, volumes: Volumes, clock: Clock) -> None:
        self._definitions = definitions
        self._evaluators = {each.name: each for each in definitions.evaluators}
        self._lines: dict[Tier, SampleRule] = {
            (each.name, index): line for each in definitions.evaluators for index, line in enumerate(each.sample)
        }
        self._budgets = budgets_of(definitions)
        self._state = state
        self._ledger = ledger
        self._volumes = volumes
        self._clock = clock
        self._known = _Known(DayVolume(), (), {}, {})
        self._flows: dict[Tier, Flow] = {}
        self._noted: Counter[tuple[Choice, ...]] = Counter()
        self._counted_at: datetime | None = None
        self._outlook: Mapping[str, Outlook] = {}
        self.are_needed = self._budgets.are_set or any(line.budget is not None for line in self._lines.values())

    def look(self) -> None:
        """See what the fleet has found and spent so far."""
        if not self.are_needed:
            return
        now = self._clock.now()
        done = _ended(self._state.funnel())
        self._volumes.begin(now, done)
        today, *before = self._volumes.days(now.date() - days * _DAY for days in range(DAYS_KEPT + 1))
        spent = [self._ledger.spent(now.date() - days * _DAY) for days in range(DAYS_KEPT + 1)]
        costs = {
            each.name: self._cost(each, today, before, spent, done)
            for each in self._definitions.evaluators
            if each.rubric is not None
        }
        self._known = _Known(today, tuple(day for day in before if day.matched), spent[0], costs)
        self._volumes.publish(self.rates())
        self._outlook = self._look_ahead()

    def sampler(
        self, evaluators: Iterable[Evaluator], shares: Mapping[str, float], coming: int = 0, *, live: bool = True
    ) -> Sampler:
        """Return who takes what now.

        Args:
            evaluators: who decide.
            shares: of the rates of evaluators that do not take all, under overload.
            coming: how many traces are about to be decided.
            live: whether they have just finished. What a person asks for later is not thinned, as long as the money
                lasts; budgets of lines hold for it too.
        """
        rates = self.rates(coming, live=live) if self.are_needed else {}
        return Sampler(evaluators, self._definitions.service.sampling.salt, shares, rates)

    def note(self, choices: tuple[Choice, ...]) -> None:
        """Count what was decided about one trace."""
        self._noted[choices] += 1

    def count(self, *, live: bool = True) -> None:
        """Write down what was noted; what is not `live` says nothing of the traffic to come."""
        if not self._noted:
            return
        matched: Counter[Tier] = Counter()
        taken: Counter[Tier] = Counter()
        for choices, number in self._noted.items():
            for choice in choices:
                if choice.tier is not None:
                    matched[choice.tier] += number
                    taken[choice.tier] += number * isinstance(choice.decision, Sampled)
        self._noted.clear()
        if not live:
            matched.clear()
        now = self._clock.now()
        self._volumes.add(now, matched, +taken)
        self._known.today.count(now.hour, matched, taken)
        if not live:
            return
        passed = now - (self._counted_at or now)
        self._counted_at = now
        for tier in self._lines:
            self._flows.setdefault(tier, Flow()).came(matched[tier], max(passed.total_seconds(), 0.0) / 3600)

    def rates(self, coming: int = 0, *, live: bool = True) -> dict[Tier, Rate]:
        """Return the rates of lines that follow a budget, as of now, when as many traces are about to be decided."""
        expected = self._expected(coming, live=live)
        rates = {tier: self._rate(tier, line, expected[tier]) for tier, line in self._lines.items()}
        thin = live and self._budgets.are_set and self._knows_enough()
        shares = kept_shares(self._demands(rates, expected), self._left()) if thin else {}
        return {
            tier: rate
            for tier, rate in thinned(rates, shares).items()
            if self._lines[tier].budget is not None or rate.kept < rate.wanted
        }

    def outlook(self) -> Mapping[str, Outlook]:
        """Return how each budget does today, as of the last look."""
        return self._outlook

    def spent(self) -> list[str]:
        """Return the rubrics without money, as of the last look."""
        known = self._known.spent
        return [
            name
            for name in self._known.costs
            if any(known.get(payer, 0.0) >= limit for payer, limit in self._budgets.holding(name).items())
        ]

    def _look_ahead(self) -> dict[str, Outlook]:
        expected = self._expected()
        rates = {tier: self._rate(tier, line, expected[tier]) for tier, line in self._lines.items()}
        demands = self._demands(rates, expected)
        left = self._left()
        if not self._knows_enough():
            demands = []
        found: dict[str, Outlook] = {}
        for payer, limit in self._budgets.limits.items():
            spent = self._known.spent.get(payer, 0.0)
            wanted = sum(demand.usd for demand in demands if payer in demand.payers)
            found[payer] = Outlook(limit, spent, limit - spent - left[payer], wanted)
        return found

    def _expected(self, coming: int = 0, *, live: bool = True) -> dict[Tier, float]:
        """Return how many traces each line will match from now to midnight, its part of what is coming included."""
        now = hours_of(self._clock.now())
        known, nothing, hour = self._known, [0.0] * 24, int(now)
        most = max((sum(hours) for hours in known.today.matched.values()), default=0.0)
        expected: dict[Tier, float] = {}
        for tier in self._lines:
            today = list(known.today.matched.get(tier, nothing))
            part = coming * (sum(today) / most if most else 1.0)
            today[hour] += part * live
            before = [day.matched.get(tier, nothing) for day in known.before]
            number = still_to_come(Seen(today, before, known.today.since), now)
            if tier in self._flows:
                number += self._flows[tier].beyond(number, 24 - now)
            expected[tier] = max(number, part)
        return expected

    def _knows_enough(self) -> bool:
        """Whether a forecast is worth giving way to: on the first day of all not before an hour was seen."""
        return bool(self._known.before) or hours_of(self._clock.now()) - self._known.today.since >= 1

    def _rate(self, tier: Tier, line: SampleRule, expected: float) -> float:
        if line.budget is None:
            return line.rate
        quota = line.budget.amount
        if line.budget.unit == "USD":
            cost = self._known.costs.get(tier[0], 0.0)
            if cost <= 0:
                return line.rate
            quota /= cost
        return quota_rate(quota, self._known.today.taken.get(tier, 0), expected, line.rate)

    def _demands(self, rates: Mapping[Tier, float], expected: Mapping[Tier, float]) -> list[Demand]:
        costs = self._known.costs
        return [
            Demand(tier, rate, expected[tier] * rate * costs[tier[0]], tuple(self._budgets.holding(tier[0])))
            for tier, rate in rates.items()
            if tier[0] in costs
        ]

    def _left(self) -> dict[str, float]:
        """Return what each budget has left, less what was taken today and is not paid yet."""
        known = self._known
        waiting = {
            name: max(0.0, known.today.taken_by(name) * cost - known.spent.get(name, 0.0))
            for name, cost in known.costs.items()
        }
        return {
            payer: limit
            - known.spent.get(payer, 0.0)
            - sum(usd for name, usd in waiting.items() if payer in self._budgets.holding(name))
            for payer, limit in self._budgets.limits.items()
        }

    def _cost(
        self,
        evaluator: Evaluator,
        today: DayVolume,
        before: Iterable[DayVolume],
        spent: Iterable[Mapping[str, float]],
        done: Mapping[str, int],
    ) -> float:
        """Return what a rubric's judgement costs, in USD: the mean of those that have ended, or a guess."""
        name = evaluator.name
        judged = done.get(name, 0) - today.done_before.get(name, 0)
        judged += sum(day.taken_by(name) for day in before)
        usd = sum(day.get(name, 0.0) for day in spent)
        if judged >= _ENOUGH and usd > 0:
            return usd / judged
        models = evaluator.rubric.spec.judge.models if evaluator.rubric is not None else ()
        prices = [self._definitions.prices[model] for model in models if model in self._definitions.prices]
        return sum(price.cost(*_TOKENS) for price in prices)


def _ended(funnel: Funnel) -> Counter[str]:
    """Return how many pairs of each evaluator have ended, but for those nobody could pay for or had to."""
    ended: Counter[str] = Counter()
    for (evaluator, state, reason), number in funnel.items():
        if state in _ENDED and reason not in {NO_MONEY, NOTHING_FOUND}:
            ended[evaluator] += number
    return ended
