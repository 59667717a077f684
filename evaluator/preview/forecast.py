"""What a replay of past traffic means for the future: scores, judge calls, tokens, US dollars, requests to Langfuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from evaluator.definitions import Evaluator
from evaluator.discovery.filter_scores import awaited_names
from evaluator.model.batches import DISCOUNT
from evaluator.preview.looking import Looked
from evaluator.preview.planning import Plan, Replay, Taken
from evaluator.state.anchor_rounds import EVERY
from judges import Price
from traces import Usage

ASSUMED_OUTPUT: Final = 150
"""Tokens of an answer, of a rubric that has not been asked often enough to know: a few sentences and a score."""

_ENOUGH_CALLS: Final = 20

_READ_AGAIN: Final = 7.6
"""How often a root is listed until it is too old to have come late (docs/scaling.md)."""

_ROOTS_A_REQUEST: Final = 1000
_SCORES_A_REQUEST: Final = 100
_TRACES_A_REQUEST: Final = 50


class Cost(NamedTuple):
    """Judge calls, their tokens in all, and US dollars; None where a price is not known."""

    calls: float
    input_tokens: float
    output_tokens: float
    usd: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one evaluator would do with the same traffic again.

    Attributes:
        evaluator: which one.
        matches: traces its filters let pass.
        sampled: those of them it takes.
        scored: scores it gives, by those traces that were read.
        calls: judge calls.
        input_tokens, output_tokens: of them, in all; None where no trace was read.
        usd: what they cost; None where the price or the tokens are not known.
        anchors: what one round of its anchors costs, a week; None where it has none, or no trace was read.
        measured: whether the length of an answer is known from earlier calls, and not assumed.
        looked: what was found in the traces that were read.
    """

    evaluator: Evaluator
    matches: int
    sampled: int
    scored: float
    calls: float
    input_tokens: float | None
    output_tokens: float | None
    usd: float | None
    measured: bool
    looked: Looked
    anchors: Cost | None = None

    def usd_a_day(self, days: float) -> float | None:
        """Return what it costs a day, the rounds of its anchors with it; `days` is how long the traffic took."""
        if self.usd is None:
            return None
        return self.usd / days + ((self.anchors.usd or 0.0) / EVERY.days if self.anchors is not None else 0.0)


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests a minute that somebody else must answer; `allowed` None without a limit."""

    of: str
    mean: float
    busiest: float
    allowed: int | None

    @property
    def fits(self) -> bool:
        """Whether even the busiest hour is within the limit."""
        return self.allowed is None or self.busiest <= self.allowed


def forecasts(replay: Replay, spent: Mapping[str, Usage]) -> list[Forecast]:
    """Return a forecast for each evaluator.

    Args:
        replay: a configuration over past traffic.
        spent: what each evaluator's calls have cost so far, where it is known: answers are as long as they were.
    """
    prices = replay.definitions.prices
    return [_forecast(taken, replay.looked[name], prices, spent.get(name)) for name, taken in replay.taken.items()]


def _forecast(taken: Taken, looked: Looked, prices: Mapping[str, Price], spent: Usage | None) -> Forecast:
    sampled = taken.states["sampled"]
    measured = spent is not None and spent.calls >= _ENOUGH_CALLS
    answer, held = float(ASSUMED_OUTPUT), 0.0
    if spent is not None and measured:
        answer = spent.output_tokens / spent.calls
        held = spent.cached_tokens / max(spent.input_tokens, 1)
    each = sampled / looked.traces if looked.traces else 0.0
    known = looked.traces > 0 or sampled == 0 or taken.evaluator.rubric is None
    priced = all(model in prices for model in looked.calls)
    costs = (
        prices[model].cost(round(looked.tokens[model]), round(number * answer), round(looked.tokens[model] * held))
        for model, number in looked.calls.items()
        if model in prices
    )
    calls = sum(looked.calls.values()) * each
    return Forecast(
        evaluator=taken.evaluator,
        matches=sampled + taken.states["sampled_out"],
        sampled=sampled,
        scored=sampled * looked.scores,
        calls=calls,
        input_tokens=sum(looked.tokens.values()) * each if known else None,
        output_tokens=calls * answer if known else None,
        usd=sum(costs) * each * _discount(taken.evaluator) if known and priced else None,
        measured=measured,
        looked=looked,
        anchors=_round(taken.evaluator, looked, prices, answer),
    )


def _round(evaluator: Evaluator, looked: Looked, prices: Mapping[str, Price], answer: float) -> Cost | None:
    """Return what a round of a rubric's anchors costs: each is asked alone, and at full price, whatever the lane."""
    wanted = evaluator.rubric.spec.anchors if evaluator.rubric is not None else None
    judged = looked.parts - looked.skipped.total()
    if wanted is None or not judged:
        return None
    times = wanted.size * wanted.samples / judged
    calls = times * sum(number for number, _ in looked.alone.values())
    read = times * sum(known for _, known in looked.alone.values())
    usd = None
    if all(model in prices for model in looked.alone):
        costs = (prices[m].cost(round(known), round(number * answer)) for m, (number, known) in looked.alone.items())
        usd = times * sum(costs)
    return Cost(calls, read, calls * answer, usd)


def _discount(evaluator: Evaluator) -> float:
    """Return which part of the price of single calls an evaluator pays."""
    return DISCOUNT if _is_batched(evaluator) else 1.0


def _is_batched(evaluator: Evaluator) -> bool:
    return evaluator.rubric is not None and evaluator.rubric.spec.judge.lane == "batch"


def demands(plan: Plan, replay: Replay, *, batch_scores: bool) -> list[Demand]:
    """Return what Langfuse and the model API must answer, on average and in the busiest hour.

    Args:
        plan: the traffic.
        replay: a configuration over it.
        batch_scores: whether Langfuse takes many scores in one request.
    """
    limits, discovery = replay.definitions.service.limits, replay.definitions.service.discovery
    fetch = max(1.3, 0.3 + _TRACES_A_REQUEST * plan.traffic.steps / _ROOTS_A_REQUEST) / _TRACES_A_REQUEST
    asks = _READ_AGAIN / _ROOTS_A_REQUEST + (1 / _TRACES_A_REQUEST if awaited_names(replay.definitions) else 0.0)
    langfuse: dict[datetime, float] = {}
    model: dict[datetime, float] = {}
    _add(langfuse, replay.hours, asks)
    _add(langfuse, replay.evaluated, fetch)
    for name, taken in replay.taken.items():
        looked, rubric = replay.looked[name], taken.evaluator.rubric
        names = len(rubric.spec.score_names) if rubric is not None else 1
        calls = sum(looked.calls.values()) / looked.traces if looked.traces else float(rubric is not None)
        _add(langfuse, taken.hours, taken.size * fetch)
        _add(langfuse, taken.hours, looked.scores * names / (_SCORES_A_REQUEST if batch_scores else 1))
        if not _is_batched(taken.evaluator):  # thousands of questions in a request or two
            _add(model, taken.hours, calls)
    rounds = sum(each.anchors.calls for each in forecasts(replay, {}) if each.anchors is not None)
    hours = (plan.traffic.window.end - plan.traffic.window.start).total_seconds() / 3600
    looks = 60 / discovery.every.total_seconds()
    return [
        _demand("Langfuse", langfuse, hours, looks, limits.langfuse_requests_per_minute),
        _with_rounds(_demand("model API", model, hours, 0.0, limits.model_requests_per_minute), rounds),
    ]


def _with_rounds(demand: Demand, calls: float) -> Demand:
    """Add the weekly rounds of anchors, of so many calls in all, which may be due in the busiest hour."""
    mean = demand.mean + calls / (EVERY.total_seconds() / 60)
    return replace(demand, mean=mean, busiest=demand.busiest + calls / 60)


def _add(hours: dict[datetime, float], counts: Mapping[datetime, int], times: float) -> None:
    for hour, number in counts.items():
        hours[hour] = hours.get(hour, 0.0) + number * times


def _demand(of: str, counts: Mapping[datetime, float], hours: float, always: float, allowed: int | None) -> Demand:
    a_minute = sum(counts.values()) / hours / 60 if hours else 0.0
    return Demand(of, always + a_minute, always + max(counts.values(), default=0.0) / 60, allowed)
