"""How far judges agree, with people or with each other: shares, kappa, alpha, and what the order of a pair does.

Not imported by `judges` itself: a worker judges without NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from judges import tables
from judges.tables import Distance, Floats, Metric

Value = float | bool | str

TIE: Final = 0
"""The winner of a pair of which neither is better."""


def raw_agreement(
    first: Sequence[Value], second: Sequence[Value], *, weights: Sequence[float] | None = None
) -> float | None:
    """Return the share of items of which both say the same; None without items.

    Args:
        first: what one says of each item.
        second: what the other says of them.
        weights: of the items: one over how likely each was to be sampled.

    Raises:
        ValueError: the lengths differ, or a weight is negative.
    """
    share, total = _shares(first, second, weights)
    same = np.array([one == other for one, other in zip(first, second, strict=True)], dtype=float)
    return float(share @ same) if total else None


def cohen_kappa(
    first: Sequence[Value],
    second: Sequence[Value],
    *,
    distance: Distance = "nominal",
    levels: Sequence[Value] = (),
    weights: Sequence[float] | None = None,
) -> float | None:
    """Return Cohen's kappa of two judges: 1 is full agreement, 0 what chance would give.

    Args:
        first: what one says of each item.
        second: what the other says of them.
        distance: how bad a difference is: any as bad as another, by its size, or by its square.
        levels: all values from low to high; needed when values with an order are labels. Numbers have their own.
        weights: of the items: one over how likely each was to be sampled.

    Returns:
        None when nothing can be told: no items, or both say one and the same of all of them.

    Raises:
        ValueError: the lengths differ, or values with an order have none.
    """
    share, total = _shares(first, second, weights)
    if not total:
        return None
    values, places = _places([*first, *second], levels, ordered=distance != "nominal")
    table = np.zeros((len(values), len(values)))
    np.add.at(table, (places[: len(first)], places[len(first) :]), share)
    return _told(tables.kappa(table, tables.apart(_positions(values, levels), distance)))


def krippendorff_alpha(
    ratings: Sequence[Sequence[Value | None]],
    *,
    metric: Metric = "nominal",
    levels: Sequence[Value] = (),
    weights: Sequence[float] | None = None,
) -> float | None:
    """Return Krippendorff's alpha of any number of judges, of whom each may have left out items.

    Args:
        ratings: for each item what each judge says, None where one says nothing. An item needs two.
        metric: how bad a difference is: any as bad as another, by ranks, or by the square of its size.
        levels: all values from low to high; needed when values with an order are labels. Numbers have their own.
        weights: of the items: one over how likely each was to be sampled.

    Returns:
        None when nothing can be told: no item with two judges, or one and the same value everywhere.

    Raises:
        ValueError: there are not as many weights as items, or values with an order have none.
    """
    pairs = _pairable(ratings, weights)
    if not pairs:
        return None
    values, places = _places([value for said, _ in pairs for value in said], levels, ordered=metric != "nominal")
    together = np.zeros((len(values), len(values)))
    start = 0
    for said, weight in pairs:
        counts = np.bincount(places[start : start + len(said)], minlength=len(values)).astype(float)
        together += weight * (np.outer(counts, counts) - np.diag(counts)) / (len(said) - 1)
        start += len(said)
    return _told(tables.alpha(together, _positions(values, levels), metric))


@dataclass(frozen=True, slots=True)
class PairedOrders:
    """What a judge says of pairs it was shown in both orders.

    Attributes:
        pairs: How many.
        same: In how many it names the same one, or a tie, in both orders.
        first: In how many it prefers the one shown first, in both orders.
        last: In how many it prefers the one shown last, in both orders.
        kappa: Cohen's kappa of the two orders.
    """

    pairs: int
    same: int
    first: int
    last: int
    kappa: float | None

    @property
    def bias(self) -> float | None:
        """The share of pairs decided by place: positive for the first place, negative for the last."""
        return (self.first - self.last) / self.pairs if self.pairs else None


def paired_orders(forward: Sequence[int], backward: Sequence[int]) -> PairedOrders:
    """Compare the winners (1, 2 or TIE) of pairs shown as 1, 2 with the winners of the same pairs shown as 2, 1.

    Winners are named by what they are, not by where they stood.

    Raises:
        ValueError: the lengths differ, or a winner is none of the three.
    """
    if not {*forward, *backward} <= {1, 2, TIE}:
        raise ValueError(f"a winner is 1, 2 or {TIE} for a tie")
    pairs = list(zip(forward, backward, strict=True))
    return PairedOrders(
        pairs=len(pairs),
        same=sum(one == other for one, other in pairs),
        first=pairs.count((1, 2)),
        last=pairs.count((2, 1)),
        kappa=cohen_kappa(forward, backward),
    )


def settled(forward: int, backward: int) -> int:
    """Return the winner of a pair from both orders: one that depends on the order is a tie."""
    return forward if forward == backward else TIE


def _told(figure: Floats) -> float | None:
    return None if np.isnan(figure) else float(figure)


def _shares(first: Sequence[Value], second: Sequence[Value], weights: Sequence[float] | None) -> tuple[Floats, float]:
    """Return each item's share of the whole weight, and that weight."""
    if len(first) != len(second):
        raise ValueError(f"both judge the same items: {len(first)} are not {len(second)}")
    each = _weights(len(first), weights)
    total = float(each.sum())
    return (each / total if total else each), total


def _weights(items: int, weights: Sequence[float] | None) -> Floats:
    each = np.ones(items) if weights is None else np.asarray(weights, dtype=float)
    if each.shape != (items,) or not (np.isfinite(each).all() and (each >= 0).all()):
        raise ValueError(f"each of the {items} items needs a weight that is not negative")
    return each


def _pairable(
    ratings: Sequence[Sequence[Value | None]], weights: Sequence[float] | None
) -> list[tuple[list[Value], float]]:
    """Return the items that two or more have judged, what was said of each, and its weight beside the others'."""
    known = [[value for value in item if value is not None] for item in ratings]
    each = _weights(len(ratings), weights)
    pairs = [(said, float(w)) for said, w in zip(known, each, strict=True) if len(said) > 1 and w > 0]
    # On average one, so that weights of any size leave the correction for few items as it is.
    mean = sum(weight for _, weight in pairs) / len(pairs) if pairs else 1.0
    return [(said, weight / mean) for said, weight in pairs]


def _places(said: Sequence[Value], levels: Sequence[Value], *, ordered: bool) -> tuple[list[Value], NDArray[np.intp]]:
    """Return the distinct values, from low to high when they have an order, and where each one said stands."""
    distinct: list[Value] = list(dict.fromkeys([*levels, *said]))
    if levels and len(distinct) > len(levels):
        raise ValueError(f"{distinct[len(levels)]!r} is none of the levels")
    if ordered and not levels:
        if any(isinstance(value, str) for value in distinct):
            raise ValueError("labels have no order of their own: give the levels from low to high")
        distinct.sort(key=float)
    index = {value: place for place, value in enumerate(distinct)}
    return distinct, np.array([index[value] for value in said], dtype=np.intp)


def _positions(values: Sequence[Value], levels: Sequence[Value]) -> Floats:
    """Return where each value stands: a number at itself, a label at its place."""
    numbers = not any(isinstance(value, str) for value in values)
    return np.array(values if numbers and not levels else range(len(values)), dtype=float)
