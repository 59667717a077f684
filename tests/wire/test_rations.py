"""Rates that follow a budget, over simulated days: what is taken, and what the recorded probabilities are worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
import redis

from evaluator.definitions import load
from evaluator.money.rationing import SLACK
from evaluator.money.rations import Rations
from evaluator.sampling.sampler import Sampled
from evaluator.state.fleet import State
from evaluator.state.ledger import EVERYBODY, Ledger, Settlement, billionths
from evaluator.state.volumes import Volumes
from tests.serving import WrongClock
from traces import TraceRef, TraceRoot

RUBRIC = "name: tone\ninputs: {answer: $.root.output}\ncriteria: Is it kind?\nscore: {type: boolean}\n"
PRICES = "models: {prices: {gpt-5.4-mini: {input: 0.25, output: 2}}}\n"
START = datetime(2026, 11, 2, tzinfo=UTC)
TICK = timedelta(minutes=4)

Level = Callable[[float], float]
"""Traces an hour, by the hour of the day."""


def usual(hour: float) -> float:
    """Twenty times as many at noon as at midnight, 7,200 a day."""
    return 300 * (1 + 0.9 * math.sin((hour - 6) / 24 * 2 * math.pi))


def with_burst(hour: float) -> float:
    return usual(hour) * (10 if 15 <= hour < 16 else 1)


class SetClock(WrongClock):
    """A clock that stands where it is set."""

    at = START

    def now(self) -> datetime:
        return self.at


@dataclass
class Day:
    """What a day came to."""

    truth: list[float] = field(default_factory=list)
    taken: list[tuple[float, float]] = field(default_factory=list)
    errors: int = 0
    errors_taken: int = 0
    shed: int = 0

    @property
    def mean(self) -> float:
        """The mean that weights by the recorded probabilities."""
        return sum(y / p for y, p in self.taken) / sum(1 / p for _, p in self.taken)

    @property
    def off(self) -> float:
        """How far the mean is from the truth, in standard errors."""
        truth = sum(self.truth) / len(self.truth)
        weight = sum(1 / p for _, p in self.taken)
        error = math.sqrt(sum(((y - self.mean) / p) ** 2 for y, p in self.taken)) / weight
        return (self.mean - truth) / error


class World:
    """Traffic of some days through `Rations`; every judgement costs about `usd`, and is paid at once."""

    def __init__(self, folder: Path, client: redis.Redis, sample: str, service: str = "", usd: float = 0.002) -> None:
        (folder / "rubrics").mkdir(exist_ok=True)
        (folder / "rubrics" / "tone.yaml").write_text(RUBRIC + f"sample: {sample}\n")
        (folder / "evaluator.yaml").write_text(PRICES + service)
        self.definitions = load(folder)
        self.client = client
        self.clock = SetClock()
        self.ledger = Ledger(client, "test")
        self.rations = self.opened()
        self.usd = usd
        self.random = Random(4)

    def opened(self) -> Rations:
        state = State(self.client, "test", timedelta(hours=1))
        return Rations(self.definitions, state, self.ledger, Volumes(self.client, "test"), self.clock)

    def remember_a_day(self) -> None:
        """Let a usual day have passed."""
        volumes = Volumes(self.client, "test")
        for hour in range(24):
            self.clock.at = self.clock.at.replace(hour=hour)
            number, tiers = (
                usual(hour + 0.5),
                [("tone", line) for line in range(len(self.definitions.evaluators[0].sample))],
            )
            matched = dict(zip(tiers, [number * 0.05, number * 0.95] if len(tiers) == 2 else [number], strict=True))
            volumes.add(self.clock.at, {tier: round(seen) for tier, seen in matched.items()}, {tiers[0]: 25})
            self.spend(25)
        self.clock.at = self.clock.at.replace(hour=0) + timedelta(days=1)

    def spend(self, number: int) -> None:
        usd = sum(self.usd * (0.5 + self.random.random()) for _ in range(number))
        paid = {EVERYBODY: billionths(usd), "tone": billionths(usd)}
        self.ledger.pay(self.clock.at.date(), "w", {}, Settlement(paid), [])
        self.client.hincrby("test:funnel", "tone/scored/", number)

    def spent(self) -> float:
        return self.ledger.spent((self.clock.at - TICK).date())[EVERYBODY]

    def day(self, level: Level = usual, start: float = 0.0) -> Day:
        """Let a day pass from an hour on; what is judged is worth more in the evening, and more in a burst."""
        found = Day()
        self.clock.at = self.clock.at.replace(hour=0, minute=0) + timedelta(hours=start)
        today = self.clock.at.date()
        while self.clock.at.date() == today:
            hour = self.clock.at.hour + self.clock.at.minute / 60
            number = max(0, round(self.random.gauss(mean := level(hour) * TICK / timedelta(hours=1), math.sqrt(mean))))
            worth = hour / 24 + (level(hour) > 2 * usual(hour))
            self.rations.look()
            self.page([worth + self.random.random() for _ in range(number)], found)
            self.clock.at += TICK
        return found

    def page(self, values: list[float], found: Day) -> None:
        sampler = self.rations.sampler(self.definitions.evaluators, {}, coming=len(values))
        taken = len(found.taken)
        for value in values:
            is_error = self.random.random() < 0.05
            (choice,) = choices = sampler.choose(self.root(is_error))
            self.rations.note(choices)
            found.truth.append(value)
            found.errors += is_error
            if isinstance(choice.decision, Sampled):
                found.taken.append((value, choice.decision.probability))
                found.errors_taken += is_error
            found.shed += choice.state == "shed"
        self.rations.count()
        self.spend(len(found.taken) - taken)

    def root(self, is_error: bool) -> TraceRoot:
        ref = TraceRef(f"{self.random.getrandbits(128):032x}", "r", "production", self.clock.at, self.clock.at)
        return TraceRoot(ref, level="ERROR" if is_error else "DEFAULT")


@pytest.mark.parametrize("level", [usual, with_burst, lambda hour: usual(hour) / 3, lambda hour: 4 * usual(hour)])
def test_so_many_a_day_are_taken_whatever_the_day_is_like(tmp_path: Path, valkey: redis.Redis, level: Level) -> None:
    world = World(tmp_path, valkey, "{budget: 400/day}")
    world.remember_a_day()
    day = world.day(level)
    assert 400 * 0.97 <= len(day.taken) <= 400 * (1 + SLACK) + 3
    assert abs(day.off) < 3.5


def test_the_first_day_of_all_begins_carefully(tmp_path: Path, valkey: redis.Redis) -> None:
    day = World(tmp_path, valkey, "{budget: 400/day}").day(start=9.0)
    assert 400 * 0.7 <= len(day.taken) <= 400 * (1 + SLACK) + 3
    assert abs(day.off) < 3.5


def test_so_much_money_a_day_is_spent(tmp_path: Path, valkey: redis.Redis) -> None:
    world = World(tmp_path, valkey, "{budget: 0.8 USD/day}")
    world.remember_a_day()
    day = world.day(with_burst)
    assert 0.8 * 0.96 <= world.spent() <= 0.8 * 1.03
    assert abs(day.off) < 3.5


def test_no_more_than_the_given_rate(tmp_path: Path, valkey: redis.Redis) -> None:
    day = World(tmp_path, valkey, "{budget: 100000/day, rate: 0.1}").day()
    assert {p for _, p in day.taken} == {0.1}


def test_as_money_runs_low_the_lowest_rate_gives_way_and_errors_are_still_all_seen(
    tmp_path: Path, valkey: redis.Redis
) -> None:
    sample = "[{when: {level: ERROR}, rate: 1}, {rate: 0.2}]"  # 360 and 1,368 a day, for 3.5 USD
    world = World(tmp_path, valkey, sample, "budget: {usd_per_day: 2}\n")
    world.remember_a_day()
    day = world.day(lambda hour: usual(hour) * (3 if 15 <= hour < 16 else 1))
    assert 2 * 0.95 <= world.spent() <= 2 * 1.02
    assert day.errors_taken == day.errors
    assert day.shed > 300
    assert min(p for _, p in day.taken) < 0.15
    assert abs(day.off) < 3.5


def test_with_money_enough_nothing_is_thinned(tmp_path: Path, valkey: redis.Redis) -> None:
    world = World(tmp_path, valkey, "[{when: {level: ERROR}, rate: 1}, {rate: 0.2}]", "budget: {usd_per_day: 20}\n")
    world.remember_a_day()
    day = world.day()
    assert {p for _, p in day.taken} == {0.2, 1.0}
    assert day.shed == 0
    assert not world.rations.outlook()[EVERYBODY].is_on_pace


def test_what_it_will_cost_is_foreseen(tmp_path: Path, valkey: redis.Redis) -> None:
    world = World(tmp_path, valkey, "[{rate: 0.2}]", "budget: {usd_per_day: 2}\n")
    world.remember_a_day()
    world.clock.at = world.clock.at.replace(hour=6)
    world.rations.look()
    outlook = world.rations.outlook()[EVERYBODY]
    assert outlook.wanted == pytest.approx(7_200 * 0.2 * 0.002, rel=0.2)
    assert outlook.is_on_pace


def test_without_a_budget_nothing_is_counted(tmp_path: Path, valkey: redis.Redis) -> None:
    world = World(tmp_path, valkey, "[{rate: 0.2}]")
    assert not world.rations.are_needed
    world.rations.look()
    assert valkey.keys("test:volume:*") == []
