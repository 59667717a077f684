"""Codes in the place of texts: which of them occur, without sorting a million of them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64] | NDArray[np.int32]

_SPARSE: Final = 8
"""With more numbers than this between the lowest and the highest code, for each code, sorting is cheaper."""


def compact(codes: Ints) -> tuple[Ints, Ints]:
    """Return the codes that occur, in order, and the place of each code among them: np.unique, mostly without sorting.

    Sessions are numbered as they come, so those of some weeks lie close together and can be counted.
    """
    if not codes.size:
        return codes, codes
    low = int(codes.min())
    span = int(codes.max()) - low + 1
    if span > _SPARSE * codes.size:
        known, place = np.unique(codes.astype(np.int64), return_inverse=True)
        return known, place.astype(np.int64)
    present = np.zeros(span, dtype=np.bool_)
    present[codes - low] = True
    occurring: NDArray[np.int64] = np.flatnonzero(present).astype(np.int64) + low
    places: NDArray[np.int32] = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return occurring, places[codes - low]
