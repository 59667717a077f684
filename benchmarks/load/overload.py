"""An hour of ten times the traffic that can be judged: how far behind, at which rates, how soon over, and how true.

What binds is the judge: so many calls in flight of a model that takes its time. Time is compressed as for `hobby`. A
run ends with an error when a pair has no end, memory grows beyond its bound, the lag does not come back by itself, or
the weighted mean of the scores misses the truth of the stand-in's traffic by more than chance.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import dramatiq
import redis

from benchmarks.load.measuring import Bench, bench, megabytes_of, table
from benchmarks.load.outside import Setting
from evaluator.sampling.jobs import Lane
from evaluator.sampling.overload import Load
from evaluator.state.fleet import State

FACTOR: Final = 30.0
TIMES: Final = 10.0
"""How many times what can be judged comes in the rush."""

_IN_FLIGHT: Final = 16
_LATENCY: Final = 0.32
_SUSTAINED: Final = _IN_FLIGHT / _LATENCY
"""Judge calls a second."""

_USUAL: Final = 0.4
"""Part of what can be judged that comes before and after."""

_BEFORE: Final = 10.0
_ROW: Final = 5.0
_LONGEST_RECOVERY: Final = 180.0
"""Simulated minutes, as are all times here: before the rush, between two rows, and until all must be over."""

_MOST_LAGS: Final = 2.5
"""The lag may go so many times beyond `max_lag` before the rates have followed."""

_SERVICE_MB: Final = 60.0
_STORE_BYTES: Final = 700.0
"""What the service may grow by, and Valkey by each trace that came: some hundred bytes are kept of it for two days."""

_CHANCE: Final = 4.0
"""Standard errors by which the estimate may miss the truth."""

_JUDGE: Final = "helpfulness"
_RULE: Final = "not-empty"
_ENDS: Final = ("scored", "unscored", "skipped", "failed", "gone")


@dataclass(frozen=True, slots=True)
class Case:
    """One way to meet it; without `max_lag` all is judged, however late."""

    order: str
    max_lag: float | None
    rush: float
    after: float

    @property
    def name(self) -> str:
        """What the configuration says."""
        return f"`order: {self.order}`" if self.max_lag is None else f"`max_lag: {self.max_lag:.0f}m`"

    def world(self, minute: float, first: float) -> Setting:
        """Return its traffic, `minute` seconds being one of its minutes."""
        step, times = 1 / (_SUSTAINED * _USUAL), TIMES / _USUAL
        start, end = _BEFORE * minute, (_BEFORE + self.rush) * minute
        return Setting(
            first=first,
            step=step,
            count=int((start + (end - start) * times + self.after * minute) / step),
            shapes=[(3, 400, True)],
            latency=_LATENCY,
            rush=(start, end, times),
            weighs=_JUDGE,
        )


CASES: Final = (
    Case("oldest_first", 10.0, rush=60.0, after=30.0),
    Case("oldest_first", None, rush=5.0, after=30.0),
    Case("newest_first", None, rush=5.0, after=30.0),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen at one moment; `age` is that of the traces judged since the last row."""

    minute: float
    came: int
    messages: int
    oldest: float
    load: Load
    judged: int
    age: float
    service: float
    store: float
    lag: float


_HEAD: Final = (
    "minute",
    "traces/min",
    "messages",
    "oldest, min",
    "lag, min",
    "rate",
    "judged/min",
    "age, min",
    "service MB",
    "Valkey MB",
)
"""`age` is that of the traces as they are judged."""


class Broken(SystemExit):
    """A promise did not hold."""


def measure(factor: float = FACTOR, cases: Sequence[Case] = CASES) -> str:
    """Run every case, the first alone and the others beside each other, and return their tables."""
    first = run(cases[0], factor)
    with ThreadPoolExecutor(len(cases)) as pool:
        return "\n\n".join([first, *pool.map(lambda case: run(case, factor), cases[1:])])


def run(case: Case, factor: float) -> str:
    """Run one case and return its table.

    Raises:
        Broken: it did not go as it must.
    """
    minute = 60 / factor
    with bench(_config(case, factor)) as made, redis.Redis.from_url(made.store.url) as client:
        state = State(client, "evaluator", timedelta(days=1))
        # From here on the service finds what ends; without it, it would begin with its first look.
        state.advance(datetime.now(UTC))
        world = case.world(minute, time.time() + 2)
        made.outside.reset(world)
        with made.running(str(factor), "run", module="benchmarks.load.compressed") as service:
            looks = list(_watched(case, world, made, state, client, service.pid, minute))
        log = "".join(path.read_text(encoding="utf-8") for path in made.folder.glob("log-*"))
        said = _checked(case, world, looks, made.outside.counts(), state, log)
    return f"**{case.name}**, a rush of {case.rush:.0f} minutes. {said}\n\n" + table(_HEAD, list(_rows(looks)))


def _config(case: Case, factor: float) -> dict[str, str]:
    def short(seconds: float) -> str:
        return f"{seconds * 1000 / factor:.0f}ms"

    times = f"every: {short(30)}, quiet_for: {short(90)}, max_wait: {short(1800)}, overlap: {short(900)}"
    most = "" if case.max_lag is None else f", max_lag: {short(60 * case.max_lag)}"
    return {
        "evaluator.yaml": (
            f"discovery: {{{times}}}\noverload: {{order: {case.order}{most}}}\njudges: {{trace: off}}\n"
            f"limits: {{model_calls_in_flight: {_IN_FLIGHT}, patience: {short(30)}}}\n"
        ),
        "rules.yaml": f"- {{name: {_RULE}, rule: not_empty, sample: [{{rate: 0.1}}]}}\n",
        f"rubrics/{_JUDGE}.yaml": (
            f"name: {_JUDGE}\nsample: [{{rate: 1}}]\ninputs: {{question: $.root.input, answer: $.root.output}}\n"
            "criteria: Does it help?\nscore: {type: numeric, min: 1, max: 5}\n"
        ),
    }


def _watched(
    case: Case, world: Setting, made: Bench, state: State, client: redis.Redis, process: int, minute: float
) -> Iterator[Look]:
    """Look twice a minute until all has ended and the rates are what they were."""
    traffic, next_row = world.world(), 0.0
    while True:
        time.sleep(minute / 2)
        now, load = time.time(), state.load()
        at = (now - world.first) / minute
        counts: Mapping[str, Any] = made.outside.counts() if at >= next_row else {}
        judged = counts["scores"].get(_JUDGE, 0) if counts else -1
        came = len(traffic.between(world.first, now, now))
        messages, oldest = _waiting(client, now)
        yield Look(
            at,
            came,
            messages,
            oldest / minute,
            load,
            judged,
            counts.get("age", 0.0) / minute,
            megabytes_of(process),
            made.store.megabytes(),
            load.lag.total_seconds() / minute,
        )
        if counts:
            print(f"{case.name} minute {at:.0f}: {came} came, {messages} messages, {load.least:.3f}", flush=True)
            next_row = (at // _ROW + 1) * _ROW
        if came == world.count and not messages and load.least == 1 and not _open(state, came):
            return
        if at > _BEFORE + case.rush + _LONGEST_RECOVERY:
            raise Broken(
                f"{case.name}: {_LONGEST_RECOVERY:.0f} minutes after the rush {messages} messages wait, {load}"
            )


def _waiting(client: redis.Redis, now: float) -> tuple[int, float]:
    """Return the messages of the live and the patient lane, those in hand too, and how long the oldest has waited."""
    every = [data for lane in (Lane.LIVE, Lane.PATIENT) for data in _messages(client, lane)]
    since = min((dramatiq.Message.decode(data).message_timestamp / 1000 for data in every), default=now)
    return len(every), now - since


def _messages(client: redis.Redis, lane: Lane) -> list[bytes]:
    return cast("list[bytes]", client.hvals(f"evaluator:queue:{lane}.msgs"))


def _open(state: State, came: int) -> int:
    """Return how many traces nothing was decided about yet, and pairs that have no end."""
    funnel = state.funnel()
    decided = sum(n for (name, each, _), n in funnel.items() if name == _JUDGE and each not in _ENDS)
    sampled = sum(n for (_, each, _), n in funnel.items() if each == "sampled")
    return came - decided + sampled - sum(n for (_, each, _), n in funnel.items() if each in _ENDS)


def _rows(looks: Iterable[Look]) -> Iterator[list[str]]:
    before: Look | None = None
    for look in looks:
        if look.judged < 0:
            continue
        if before is not None:
            minutes = look.minute - before.minute
            yield [
                f"{look.minute:.0f}",
                f"{(look.came - before.came) / minutes:.0f}",
                f"{look.messages}",
                f"{look.oldest:.1f}",
                f"{look.lag:.1f}",
                f"{look.load.of(_JUDGE):.3f}",
                f"{(look.judged - before.judged) / minutes:.0f}",
                f"{look.age:.1f}",
                f"{look.service:.0f}",
                f"{look.store:.1f}",
            ]
        before = look


def _checked(
    case: Case, world: Setting, looks: Sequence[Look], counts: Mapping[str, Any], state: State, log: str
) -> str:
    """Say how it went.

    Raises:
        Broken: not as it must.
    """
    funnel = state.funnel()
    judged, taken = funnel[_JUDGE, "scored", ""], funnel[_JUDGE, "sampled", ""]
    ends = _BEFORE + case.rush
    in_rush = [look for look in looks if _BEFORE < look.minute <= ends]
    behind = [look.minute for look in looks if look.lag > (case.max_lag or 1.0) or look.load.least < 1]
    over, worst = max(behind, default=ends) - ends, max(look.lag for look in looks)
    grown = max(look.service for look in looks) - max(look.service for look in looks if look.minute < _BEFORE)
    stored = max(look.store for look in looks) - looks[0].store
    estimate, error = _estimate(counts["sums"])
    traffic = world.world()
    truth = math.fsum(traffic.mark(number) for number in range(world.count or 0)) / (world.count or 1)
    plain = counts["sums"]["values"] / counts["sums"]["number"]
    wrong = [
        (judged != taken or counts["sums"]["number"] != judged, f"{taken} taken, {judged} judged, {counts['sums']}"),
        (counts["scores"][_JUDGE] != judged, f"{counts['scores'][_JUDGE]} scores of {judged} pairs were written"),
        (funnel[_RULE, "shed", ""] > 0, "rules were shed though only the model is slow"),
        (grown > _SERVICE_MB, f"the service has grown by {grown:.0f} MB"),
        (stored * 1e6 > _STORE_BYTES * looks[-1].came + 1e6, f"Valkey has grown by {stored:.1f} MB"),
        (abs(estimate - truth) > _CHANCE * error + 1e-9, f"estimated {estimate:.3f} ± {error:.3f}, it is {truth:.3f}"),
        (case.max_lag is not None and worst > _MOST_LAGS * case.max_lag, f"the lag was {worst:.1f} min"),
        (case.max_lag is not None and in_rush[-1].load.of(_JUDGE) > 2 / TIMES, "the rates did not follow"),
        (case.max_lag is None and judged != world.count, f"{judged} of {world.count} were judged"),
        ("mistake of the service" in log, "the service's log tells of a mistake"),
    ]
    if told := [what for is_wrong, what in wrong if is_wrong]:
        raise Broken(f"{case.name}: " + "; ".join(told))
    return (
        f"{judged:,} of {world.count:,} traces judged, none lost. The lag was {worst:.1f} minutes at most; "
        f"{max(over, 0):.0f} minutes after the rush all was as before. Mean score {estimate:.3f} ± {error:.3f} by the "
        f"scores' weights, {truth:.3f} in truth, {plain:.3f} without weights."
    )


def _estimate(sums: Mapping[str, float]) -> tuple[float, float]:
    """Return the weighted mean of the scores (Hájek) and its standard error: whether one is taken is independent."""
    mean = sums["weighted"] / sums["weights"]
    spread = sums["uncertain_squares"] - 2 * mean * sums["uncertain_values"] + mean**2 * sums["uncertain"]
    return mean, math.sqrt(max(spread, 0.0)) / sums["weights"]
