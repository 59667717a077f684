"""`make bench-monitors`: when may a weekly alert be believed? The product's own tests on worlds with a known truth.

The worlds are those of ../shared/simulation, drawn as single scores: Likert 1 to 5, sessions of 1 + Poisson(2) traces,
three segments with moving shares, weeks that wobble for no reason (AR(1) of sd .03 and a slow sine of .02). What is
asked of them runs through the same functions that the service calls.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.optimize import brentq

from benchmarks.tables import table
from evaluator.alerts.weekly_look import analysed
from monitors import (
    AlertState,
    Event,
    Held,
    Judged,
    MonitorSpec,
    NotEnoughHistory,
    alpha,
    attribute,
    drop_test,
    expect,
    step,
)
from monitors.segments import contributions
from monitors.series import WEEK
from tests.weeks import LEVELS, NOW, SHARES, level, series_of, shift_for, world

_PAGE: Final = Path(__file__).parent.parent / "docs" / "monitors.md"
_MEASURED: Final = re.compile(r"(<!-- measured.*?-->\n).*(<!-- /measured -->)", re.DOTALL)
_SIZES: Final = (30, 100, 300, 1000, 5000)
_DROPS: Final = (0.02, 0.05, 0.1)
_SCALE: Final = (1.0, 5.0)
_YEAR, _HALF, _BEFORE = 364, 182, 16 * 7
_SEED: Final = 20261124


class Check(NamedTuple):
    """One weekly look at one world."""

    p: float
    fired: bool


def main() -> int:
    """Print the tables; with --write put them into docs/monitors.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitors", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the worlds, in about a minute")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/monitors.md")
    options = parser.parse_args()
    share = 0.1 if options.quick else 1.0
    parts = []
    with ProcessPoolExecutor() as pool:
        for part in (_one_week, _year, _pass_rates, _culprits, _speed):
            text = part(pool, share)
            print(text + "\n", flush=True)
            parts.append(text)
    if options.write:
        text = "\n\n".join(parts)
        _PAGE.write_text(
            _MEASURED.sub(lambda found: f"{found[1]}{text}\n{found[2]}", _PAGE.read_text("utf-8")), "utf-8"
        )
    return 0


def _one_week(pool: ProcessPoolExecutor, share: float) -> str:
    rows = []
    for n in _SIZES:
        worlds = max(20, round(share * (2000 if n <= 300 else 1000 if n == 1000 else 1500)))
        cases = [(0.0, False), *((drop, False) for drop in _DROPS), (0.0, True)]
        quiet, *fallen, campaign = (_checks(pool, n, drop, worlds, campaign=moved) for drop, moved in cases)
        cut = float(np.quantile([check.p for check in quiet], 1 / 52))
        rows.append(
            [
                f"{n:,}",
                f"{worlds:,}",
                f"{52 * _mean(c.fired for c in quiet):.2f}",
                " ".join(f"{_mean(c.fired for c in each):.2f}" for each in fallen),
                " ".join(f"{_mean(c.p < cut for c in each):.2f}" for each in fallen),
                _recorded(n),
                f"{_mean(c.fired for c in campaign):.1%}",
            ]
        )
    head = [
        "scores a week",
        "worlds",
        "false alerts a year",
        "power at 2, 5, 10 %",
        "at equal false alerts",
        "recorded",
        "campaign",
    ]
    title = (
        "### One look a week, p < .0115\n\nPower in the first week of a fall; at equal false alerts: cut where chance "
        "fires once a year; recorded: the same in the shared simulation, from 10,000 worlds. "
        "Campaign: a week whose mix moves (plain mean -4 %) while no segment changes."
    )
    return f"{title}\n\n{table(head, rows)}"


def _recorded(n: int) -> str:
    """Return the recorded power at equal false alerts, where the simulation lies beside this folder."""
    rows = _recordings("week_table.json")
    found = next((row for row in rows if row["n"] == n and row["detector"] == "recommended K=12, p<.0115"), None)
    return "-" if found is None else " ".join(f"{power:.2f}" for power in found["matched"])


def _recordings(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).parents[2] / "shared" / "simulation" / name
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return found


def _checks(pool: ProcessPoolExecutor, n: int, drop: float, worlds: int, *, campaign: bool) -> list[Check]:
    jobs = [(n, shift_for(drop), campaign, _SEED + seed) for seed in range(worlds)]
    return list(pool.map(_check, jobs, chunksize=10))


def _check(job: tuple[int, float, bool, int]) -> Check:
    n, shift, campaign, seed = job
    series = world(np.random.default_rng([seed, n]), n, shift=shift, campaign=campaign)
    expected = expect(series)
    if isinstance(expected, NotEnoughHistory):
        return Check(1.0, fired=False)
    found = drop_test(series, expected, alpha=alpha(1, looks_per_week=1), smallest_drop=0.01, scale=_SCALE)
    return Check(found.p if found.drop >= found.smallest else 1.0, found.fired)


class Life(NamedTuple):
    """A year of daily looks: alerts in its quiet half, and the days until a fall in the other half was told."""

    false: int
    seen: int | None


def _year(pool: ProcessPoolExecutor, share: float) -> str:
    rows = []
    for n in _SIZES:
        years = max(2, round(share * (60 if n <= 100 else 40 if n == 300 else 20 if n == 1000 else 8)))
        lives = {d: list(pool.map(_live, [(n, d, _SEED + seed) for seed in range(years)])) for d in (0.0, 0.02, 0.05)}
        # A year without a fall is quiet in both halves; of the others the first half is.
        counts = [life.false / (1 if drop == 0 else 0.5) for drop, each in lives.items() for life in each]
        weight = [1 if drop == 0 else 0.5 for drop, each in lives.items() for _ in each]
        rate, error = _rate(counts, weight)
        seen = [
            " / ".join(
                f"{_mean(life.seen is not None and life.seen <= days for life in lives[drop]):.2f}"
                for days in (7, 28, 56)
            )
            for drop in (0.02, 0.05)
        ]
        rows.append([f"{n:,}", f"{sum(weight):.0f}", f"{rate:.2f} ± {error:.2f}", *seen])
    head = ["scores a week", "quiet years", "false alerts a year", "2 % fall told in 7 / 28 / 56 days", "5 % fall"]
    title = (
        "### A year of daily looks, as the service lives it\n\nThe single week (p < .004) and four weeks together "
        "(p < .0005), with alerts that open, grow, end and become normal. A told alert is counted once."
    )
    return f"{title}\n\n{table(head, rows)}"


def _rate(counts: Sequence[float], weight: Sequence[float]) -> tuple[float, float]:
    known, years = np.array(counts), np.array(weight)
    rate = float(np.average(known, weights=years))
    return rate, float(np.sqrt(max(rate, 1 / years.sum()) / years.sum()))


def _live(job: tuple[int, float, int]) -> Life:
    n, drop, seed = job
    spec = MonitorSpec(score="quality", scale=_SCALE, segments=("trace_name",))
    start = datetime(2026, 1, 5, tzinfo=UTC)
    held = Held.of(
        _scores(np.random.default_rng([seed, n, round(1000 * drop)]), n, shift_for(drop), start),
        now=start + timedelta(days=_BEFORE + _YEAR),
        segments=spec.segments,
    )
    state, false, seen = AlertState(version="v"), 0, None
    for day in range(1, _YEAR + 1):
        look = analysed(spec, state, start + timedelta(days=_BEFORE + day), held)
        state, event = step(
            state, look.test, lasting=look.lasting, version="v", at=look.at, project="p", monitor=spec.key
        )
        if event is Event.FELL and (day <= _HALF or drop == 0):
            false += 1
        elif event is Event.FELL and seen is None:
            seen = day - _HALF
    return Life(false, seen)


def _scores(rng: np.random.Generator, n: int, shift: float, start: datetime) -> Iterator[Judged]:
    """Give the scores of a year and the weeks before it; in its second half they lie lower."""
    weeks = (_BEFORE + _YEAR) // 7
    steps = rng.standard_normal(weeks)
    for week in range(1, weeks):
        steps[week] = 0.5 * steps[week - 1] + np.sqrt(0.75) * steps[week]
    wobble = 0.03 * steps + 0.02 * np.sin(2 * np.pi * np.arange(weeks) / 26 + rng.uniform(0, 2 * np.pi))
    for week in range(weeks):
        sizes = 1 + rng.poisson(2.0, size=n)
        session = np.repeat(np.arange(n), sizes)[:n]
        segment = rng.choice(3, size=n, p=rng.dirichlet(150 * SHARES))[session]
        minutes = np.sort(rng.uniform(0, 7 * 24 * 60, size=n))[session]
        fallen = (week * 7 >= _BEFORE + _HALF) * shift
        latent = LEVELS[segment] + wobble[week] + fallen + 0.5 * rng.standard_normal(n)[session]
        values = np.clip(np.floor(latent + 0.8 * rng.standard_normal(n) + 0.5), 1, 5)
        began = start + week * WEEK
        for i in range(n):
            at = began + timedelta(minutes=float(minutes[i]))
            segments = {"trace_name": "abc"[segment[i]]}
            yield Judged(
                float(values[i]), at, f"{week}-{i}", session=f"{week}-{session[i]}", segments=segments, version="v"
            )


def _pass_rates(pool: ProcessPoolExecutor, share: float) -> str:
    rows = []
    for rate in (0.97, 0.9, 0.7):
        for n in (30, 300, 5000):
            worlds = max(40, round(share * (2000 if n < 5000 else 300)))
            found = [
                _mean(pool.map(_passes, [(rate, n, drop, _SEED + seed) for seed in range(worlds)], chunksize=20))
                for drop in (0.0, *_DROPS)
            ]
            power = " ".join(f"{each:.2f}" for each in found[1:])
            rows.append([f"{rate:.0%}", f"{n:,}", f"{52 * found[0]:.2f}", power])
    title = "### Pass rates, one look a week, p < .0115\n\nThe t over weeks and the beta-binomial tail must agree."
    return f"{title}\n\n{table(['passes', 'scores a week', 'false alerts a year', 'power at 2, 5, 10 %'], rows)}"


def _passes(job: tuple[float, int, float, int]) -> bool:
    rate, n, drop, seed = job
    rng = np.random.default_rng([seed, n, round(100 * rate), round(100 * drop)])
    weeks = 13
    means = np.clip(rate + 0.03 * rng.standard_normal(weeks) * rate * (1 - rate), 0.001, 0.999)
    means[0] = max(0.0, means[0] - drop * rate)
    week = np.repeat(np.arange(weeks), n)
    values = (rng.random(week.size) < means[week]).astype(float)
    series = series_of(values, week, np.arange(week.size), np.zeros(week.size, dtype=int), weeks=weeks - 1, binary=True)
    expected = expect(series)
    if isinstance(expected, NotEnoughHistory):
        return False
    return drop_test(series, expected, alpha=alpha(1, looks_per_week=1), smallest_drop=0.01).fired


_PARTS: Final = np.array([0.35, 0.25, 0.15, 0.12, 0.08, 0.05])
_PARTS_LEVELS: Final = np.array([4.4, 4.2, 4.0, 3.8, 3.5, 3.2])


def _culprits(pool: ProcessPoolExecutor, share: float) -> str:
    rows = []
    for n in (100, 300, 1000, 5000):
        worlds = max(40, round(share * (1000 if n < 5000 else 200)))
        found = list(pool.map(_culprit, [(n, _SEED + seed) for seed in range(worlds)], chunksize=10))
        told = [named for _, named in found if named is not None]
        rows.append(
            [
                f"{n:,}",
                f"{_mean(ranked for ranked, _ in found):.1%}",
                _recorded_culprit(n),
                f"{sum(told) / worlds:.1%}",
                f"{_mean(told):.1%}" if told else "-",
                f"{1 - len(told) / worlds:.1%}",
            ]
        )
    title = (
        "### Who did it\n\nOne of six segments pulls the mean down by 5 % while the mix moves too: how often it "
        "is ranked first, and was in the shared simulation; how often the message, which names nobody who may be "
        "chance, names it first, how often the name is right when one is said, and how often none is."
    )
    head = ["scores a week", "ranked first", "recorded", "named first", "right when named", "nobody named"]
    return f"{title}\n\n{table(head, rows)}"


def _recorded_culprit(n: int) -> str:
    found = next((row for row in _recordings("attribution.json") if row["n"] == n), None)
    return "-" if found is None else f"{found['top1_contribution']:.1%}"


def _culprit(job: tuple[int, int]) -> tuple[bool, bool | None]:
    """Whether the one who did it is ranked first, and whether it is named first; None when nobody is named."""
    n, seed = job
    rng = np.random.default_rng([seed, n])
    guilty = int(rng.choice(6, p=_PARTS))
    total = sum(part * level(latent) for part, latent in zip(_PARTS, _PARTS_LEVELS, strict=True))
    lost = 0.05 * total / _PARTS[guilty]
    deepest = level(_PARTS_LEVELS[guilty]) - level(_PARTS_LEVELS[guilty] - 6)
    shift = (
        brentq(lambda s: level(_PARTS_LEVELS[guilty]) - level(_PARTS_LEVELS[guilty] + s) - lost, -6, 0)
        if lost < deepest
        else -2.0
    )
    weeks = 9
    week = np.repeat(np.arange(weeks), n)
    shares = rng.dirichlet(80 * _PARTS)
    code = np.concatenate([rng.choice(6, size=n, p=shares if w == 0 else _PARTS) for w in range(weeks)])
    latent = _PARTS_LEVELS[code] + shift * ((code == guilty) & (week == 0))
    values = np.clip(np.round(latent + np.hypot(0.5, 0.8) * rng.standard_normal(week.size)), 1, 5)
    series = series_of(values, week, np.arange(week.size), code, weeks=weeks - 1)
    expected = expect(series)
    if isinstance(expected, NotEnoughHistory):
        return False, None
    ranked, rows = contributions(series, expected, "trace_name"), attribute(series, expected).rows
    return ranked[0].value == "abcdef"[guilty], rows[0].value == "abcdef"[guilty] if rows else None


def _speed(pool: ProcessPoolExecutor, share: float) -> str:
    scores, weeks = round(100_000 * min(1.0, 10 * share)), 13
    seconds, megabytes = pool.submit(_timed, scores, weeks).result()
    return (
        f"### Large\n\n{scores:,} scores a week over {weeks} weeks and 6 dimensions: tests and attribution take "
        f"{seconds:.1f} s and {megabytes:,.0f} MB, once the scores are read."
    )


def _timed(scores: int, weeks: int) -> tuple[float, float]:
    names = ("trace_name", "prompt_version", "model", "release", "tags", "environment")
    rng = np.random.default_rng(_SEED)
    held = Held.of(_many(rng, scores, weeks, names), now=NOW, segments=names)
    spec = MonitorSpec(score="quality", scale=_SCALE, segments=names, baseline_weeks=weeks - 1)
    began = time.process_time()
    look = analysed(spec, AlertState(), NOW, held)
    if not isinstance(look.expected, NotEnoughHistory):
        attribute(look.series, look.expected)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _many(rng: np.random.Generator, scores: int, weeks: int, names: Sequence[str]) -> Iterator[Judged]:
    for week in range(weeks):
        codes = rng.integers(0, 8, size=(scores, len(names)))
        values = np.clip(np.round(4.1 + rng.standard_normal(scores)), 1, 5)
        for i in range(scores):
            at = NOW - week * WEEK - timedelta(seconds=1 + 6.0 * i)
            segments = {name: f"{name}-{code}" for name, code in zip(names, codes[i].tolist(), strict=True)}
            yield Judged(float(values[i]), at, f"{week}-{i}", session=f"{week}-{i // 3}", segments=segments)


def _mean(each: Any) -> float:
    return float(np.mean([float(one) for one in each]))


if __name__ == "__main__":
    raise SystemExit(main())
