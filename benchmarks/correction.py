"""How often the interval of a corrected mean holds the truth: `python -m benchmarks.correction` (half a minute)."""

from __future__ import annotations

import numpy as np

from monitors.correction import Corrected, Scored, by_few, by_labels, by_rates

WORLDS = 2000
SCORED = 1000


def even(values: np.ndarray, first: int = 0) -> Scored:
    """Return scores of one weight, each of a session of its own."""
    return Scored(values.astype(float), np.ones(values.size), np.arange(first, first + values.size))


def world(rng: np.random.Generator, rate: float, labels: int) -> list[Corrected | None]:
    """Return what each method makes of a week: a judge of sensitivity .9 and specificity .7."""
    truth = rng.random(SCORED) < rate
    ours = np.where(truth, rng.random(SCORED) < 0.9, rng.random(SCORED) < 0.3).astype(float)
    said, labelled, rest = truth[:labels].astype(float), even(ours[:labels]), even(ours[labels:], labels)
    other = rng.random(labels) < 0.6  # labels of another week, with another pass rate
    passed = np.where(other, rng.random(labels) < 0.9, rng.random(labels) < 0.3)
    fails = float((~passed[~other]).mean()), int((~other).sum())
    passes = float(passed[other].mean()), int(other.sum())
    return [by_labels(said, labelled, rest), by_few(said, labelled, rest), by_rates(even(ours), fails, passes)]


def main() -> None:
    """Print a table in Markdown."""
    rng = np.random.default_rng(11)
    print("| true pass rate | labels | the judge says | PPI++ | labels alone, exact | Rogan-Gladen |")
    print("|---:|---:|---:|---:|---:|---:|")
    for rate in (0.5, 0.9, 0.97):
        for labels in (60, 200):
            found = [world(rng, rate, labels) for _ in range(WORLDS)]
            cells = []
            for method in range(3):
                known = [each for row in found if (each := row[method]) is not None]
                held = np.mean([each.low <= rate <= each.high for each in known])
                wide = np.mean([each.high - each.low for each in known])
                cells.append(f"{held:.1%}, {wide:.2f} wide")
            print(f"| {rate:.0%} | {labels} | {rate * 0.9 + (1 - rate) * 0.3:.0%} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
