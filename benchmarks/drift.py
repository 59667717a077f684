"""How often anchors are wrong about a judge, and what they see: `python -m benchmarks.drift` (two minutes).

Marks are whole numbers from 1 to 5. A judge wavers: asked twice about the same text its answers differ by a normal
error before they are rounded. Tests, states and blame are the product's.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np

from monitors import DropTest, WeeklySeries, drop_test, expect
from monitors.drift import Anchor, Anchored, DriftState, Round, Turn, against_normal, judge_step, marked
from monitors.series import WEEK

NOW = datetime(2026, 3, 30, 6, 0, tzinfo=UTC)
RULER, SCALE, BASELINE = "v1 judge", 4.0, 12
SHIFTS = (0.02, 0.05, 0.10)
_WOBBLE = 0.03


def anchors(number: int) -> dict[str, Anchor]:
    """Return so many that count alike."""
    return {str(i): Anchor(1.0, str(i)) for i in range(number)}


def marks(rng: np.random.Generator, level: np.ndarray, wavers: float, lower: float, samples: int) -> dict[str, float]:
    """Return what a judge gives texts of some true levels in one round."""
    drawn = level - lower + wavers * SCALE * rng.standard_normal((samples, level.size))
    return {str(i): float(mark) for i, mark in enumerate(np.clip(np.round(drawn), 1, 5).mean(axis=0))}


def quiet(rng: np.random.Generator, wavers: float, number: int, samples: int, weeks: int) -> int:
    """Return how often people hear in so many weekly rounds of a judge that never moves."""
    known, level, state = anchors(number), _levels(rng, number), DriftState()
    made: list[Round] = []
    told = 0
    for week in range(weeks):
        made = [*made, Round(NOW + week * WEEK, RULER, marks(rng, level, wavers, 0.0, samples))][-40:]
        before = state
        state, turn = judge_step(state, against_normal(Anchored(known, tuple(made)), state), SCALE)
        made = list(marked(made, before, turn))
        told += turn is Turn.MOVED
    return told


def seen(rng: np.random.Generator, wavers: float, number: int, samples: int, before: int, shift: float) -> bool:
    """Whether the first round after a move says so, with so many rounds before it."""
    level = _levels(rng, number)
    made = [Round(NOW - (before - i) * WEEK, RULER, marks(rng, level, wavers, 0.0, samples)) for i in range(before)]
    made.append(Round(NOW, RULER, marks(rng, level, wavers, shift * SCALE, samples)))
    state, found = DriftState(), Anchored(anchors(number), tuple(made))
    return judge_step(state, against_normal(found, state), SCALE)[1] is Turn.MOVED


def blamed(rng: np.random.Generator, wavers: float, app: float, judge: float, scored: int) -> tuple[str, str]:
    """Return what people are told of a week, without anchors and with them.

    App and judge fall by a share of the scale, both at a random moment of the week; the anchors were judged weekly, the
    last time at a random moment of it, and again when the week looks low.
    """
    moved_app, moved_judge, last = rng.uniform(0, 7, 3)
    level = _levels(rng, 60)

    def lower(days_ago: float) -> float:
        return judge * SCALE if days_ago < moved_judge else 0.0

    ages = [last + 7 * k for k in range(BASELINE, -1, -1)]
    made = [Round(NOW - timedelta(days=age), RULER, marks(rng, level, wavers, lower(age), 1)) for age in ages]
    of = _series(rng, wavers, scored, lambda age: app * SCALE * (age < moved_app) + judge * SCALE * (age < moved_judge))
    plain = _tested(of, None)
    if plain.fired and last >= 1:
        made.append(Round(NOW, RULER, marks(rng, level, wavers, lower(0), 1)))
    known, state = anchors(60), DriftState()
    for number in range(2, len(made) + 1):
        state, _ = judge_step(state, against_normal(Anchored(known, tuple(made[:number])), state), SCALE)
    found = _tested(of, Anchored(known, tuple(made), state.moves))
    news = any(at > NOW - WEEK for at in state.moves)
    told = ("app" if found.blame == "app" else "unclear") if found.fired else "judge" if news else "nothing"
    return "fell" if plain.fired else "nothing", told


def _levels(rng: np.random.Generator, number: int) -> np.ndarray:
    return np.clip(rng.normal(4.1, 0.9, number), 1, 5)


def _series(rng: np.random.Generator, wavers: float, scored: int, lower) -> WeeklySeries:  # type: ignore[no-untyped-def] # noqa: ANN001
    weeks = np.repeat(np.arange(BASELINE + 1), scored)
    age = weeks * 7 + rng.uniform(0, 7, weeks.size)
    wobble = _WOBBLE * rng.standard_normal(BASELINE + 1)[weeks]
    true = _levels(rng, weeks.size) + wobble - np.array([lower(each) for each in age])
    values = np.clip(np.round(true + wavers * SCALE * rng.standard_normal(weeks.size)), 1, 5)
    return WeeklySeries(
        now=NOW,
        baseline_end=NOW - WEEK,
        weeks=BASELINE,
        values=values,
        weights=np.ones(weeks.size),
        week=weeks,
        session=np.arange(weeks.size),
        dimensions={},
        recent={},
        excluded=frozenset(),
        binary=False,
        version=RULER,
        age=age.astype(np.int32),
    )


def _tested(of: WeeklySeries, judge: Anchored | None) -> DropTest:
    expected = expect(of)
    return drop_test(of, expected, alpha=0.004, smallest_drop=0.01, scale=(1, 5), judge=judge)  # type: ignore[arg-type]


def main() -> None:
    """Print the tables in Markdown."""
    judges(np.random.default_rng(7))
    print()
    falls(np.random.default_rng(8))
    print()
    noise(np.random.default_rng(9))


def judges(rng: np.random.Generator) -> None:
    """Print how often people hear that a judge moved."""
    print(
        "| anchors | samples | wavers by | told a year of quiet weeks | seen, 1 round before | seen, 8 rounds before |"
    )
    print("|---:|---:|---:|---:|---|---|")
    for number, samples in ((60, 1), (60, 5), (200, 1)):
        for wavers in (0.02, 0.05, 0.10, 0.20):
            told = sum(quiet(rng, wavers, number, samples, 52) for _ in range(100))
            cells = [
                " ".join(
                    f"{np.mean([seen(rng, wavers, number, samples, before, s) for _ in range(400)]):.2f}"
                    for s in SHIFTS
                )
                for before in (1, 8)
            ]
            print(f"| {number} | {samples} | {wavers:.0%} | {told / 100:.2f} | {cells[0]} | {cells[1]} |", flush=True)


def falls(rng: np.random.Generator) -> None:
    """Print what people hear of a week in which app, judge or both fell."""
    print("| app falls | judge falls | without anchors | with anchors: the app | app or judge | the judge | nothing |")
    print("|---:|---:|---|---|---|---|---|")
    for app, judge in ((0, 0), (0.05, 0), (0.1, 0), (0, 0.05), (0, 0.1), (0.1, 0.1), (0.1, -0.1)):
        found = [blamed(rng, 0.05, app, judge, 300) for _ in range(1000)]
        plain, told = Counter(each for each, _ in found), Counter(each for _, each in found)
        cells = [f"{told[what] / 10:.1f} %" for what in ("app", "unclear", "judge", "nothing")]
        print(f"| {app:.0%} | {judge:.0%} | fell: {plain['fell'] / 10:.1f} % | {' | '.join(cells)} |", flush=True)


def noise(rng: np.random.Generator) -> None:
    """Print what it would cost to take the judge's part out of every week, known to have moved or not."""
    print("| wavers by | app falls | seen | if the judge's part were always taken out |")
    print("|---:|---:|---:|---:|")
    for wavers in (0.05, 0.1):
        for app in (0.0, 0.05, 0.1):
            fired: Counter[str] = Counter()
            for _ in range(1000):
                moved, last = rng.uniform(0, 7, 2)
                level = _levels(rng, 60)
                ages = [last + 7 * k for k in range(BASELINE, -1, -1)]
                made = [Round(NOW - timedelta(days=a), RULER, marks(rng, level, wavers, 0.0, 1)) for a in ages]
                of = _series(rng, wavers, 300, lambda age, moved=moved, app=app: app * SCALE * (age < moved))
                fired["plain"] += _tested(of, None).fired
                fired["always"] += _tested(of, Anchored(anchors(60), tuple(made), (NOW,))).fired
            print(
                f"| {wavers:.0%} | {app:.0%} | {fired['plain'] / 10:.1f} % | {fired['always'] / 10:.1f} % |", flush=True
            )


if __name__ == "__main__":
    main()
