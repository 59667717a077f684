"""What labels bring, drawn at random and chosen: `python -m benchmarks.labelling` (a minute or two)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from judges.teaching import Candidate, Known, Stratum, is_drawn, propose

WORLDS = 1000
SCORED = 1000
SEGMENTS = ("answer:3", "answer:4", "ticket")


@dataclass(frozen=True, slots=True)
class World:
    """A week of scores: what the judge gave (1 to 5), how unsure it was, what a person would say, and the places."""

    ours: np.ndarray
    doubt: np.ndarray
    said: np.ndarray
    segments: np.ndarray
    places: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> World:
        """Return a week: mostly good answers, a judge that errs more often where it is unsure and in one segment."""
        said = rng.choice(np.arange(1, 6), SCORED, p=[0.04, 0.06, 0.1, 0.3, 0.5])
        segments = rng.choice(3, SCORED, p=[0.6, 0.1, 0.3])
        hard = np.clip(rng.beta(1, 4, SCORED) + 0.2 * (segments == 1), 0, 1)
        wrong = rng.random(SCORED) < 0.05 + 0.6 * hard
        ours = np.where(wrong, np.clip(said + rng.choice([-2, -1, 1, 2], SCORED), 1, 5), said)
        # A confidence tells something of how hard a case is, not all of it.
        doubt = np.clip(hard + rng.normal(0, 0.15, SCORED), 0, 1)
        return cls(ours, doubt, said, segments, rng.random(SCORED))

    @property
    def size(self) -> int:
        """How many were scored."""
        return len(self.ours)

    def stratum(self, number: int) -> Stratum:
        """Return what the judge gave one, and its segment."""
        return Stratum(str(self.ours[number]), SEGMENTS[self.segments[number]])


def asked(world: World, size: int, random_share: float) -> list[int]:
    """Return whose labels are asked for in five rounds, each knowing the labels of those before."""
    found: list[int] = []
    for _ in range(5):
        known = known_of(world, found)
        rest = [
            Candidate(str(number), float(world.places[number]), world.stratum(number), "", float(world.doubt[number]))
            for number in set(range(world.size)).difference(found)
        ]
        share = 1.0 if random_share == 1 else random_share
        found += [int(each.candidate.id) for each in propose(rest, known, size // 5, share)]
    return found


def known_of(world: World, labelled: Iterable[int]) -> dict[Stratum, Known]:
    """Return what labels tell of each stratum."""
    scored = Counter(world.stratum(number) for number in range(world.size))
    apart: dict[Stratum, list[float]] = defaultdict(list)
    for number in labelled:
        apart[world.stratum(number)].append(abs(float(world.ours[number] - world.said[number])) / 4)
    return {each: Known(count, len(apart[each]), sum(apart[each])) for each, count in scored.items()}


def disagreements(world: World, labelled: Sequence[int]) -> int:
    """Return on how many of the labelled the judge and people differ."""
    return int((world.ours[labelled] != world.said[labelled]).sum())


def widest(world: World, labelled: Sequence[int]) -> float:
    """Return how wide the widest interval is among strata of at least 2 % of what was scored."""
    strata = [each for each in known_of(world, labelled).values() if each.scored >= SCORED / 50]
    return max(high - low for low, high in (each.interval for each in strata))


def agreement_of(world: World, labelled: Sequence[int]) -> float:
    """Return the share of some of them on which the judge and people say the same."""
    return float((world.ours[labelled] == world.said[labelled]).mean())


def main() -> None:
    """Print a table in Markdown."""
    rng = np.random.default_rng(17)
    print("| 100 labels | differences found | widest interval | agreement by the random share | by all of them |")
    print("|---|---:|---:|---:|---:|")
    worlds = [World.drawn(rng) for _ in range(WORLDS)]
    truth = float(np.mean([agreement_of(each, range(each.size)) for each in worlds]))
    for share, name in ((1.0, "all drawn at random"), (0.5, "half drawn, half chosen"), (0.2, "a fifth drawn")):
        rows = [_row(world, asked(world, 100, share)) for world in worlds]
        found, wide, fair, every = np.mean(rows, axis=0)
        print(f"| {name} | {found:.1f} | {wide:.2f} | {fair:.1%} | {every:.1%} |")
    print(f"\nagreement on everything: {truth:.1%}")


def _row(world: World, labelled: list[int]) -> tuple[float, float, float, float]:
    drawn = [number for number in labelled if is_drawn(world.places[number])]
    shares = agreement_of(world, drawn), agreement_of(world, labelled)
    return disagreements(world, labelled), widest(world, labelled), *shares


if __name__ == "__main__":
    main()
