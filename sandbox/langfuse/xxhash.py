"""xxHash32, by which Langfuse's tables order the traces of one moment. Written from the published algorithm."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_MASK: Final = 0xFFFFFFFF
_P1: Final = 2654435761
_P2: Final = 2246822519
_P3: Final = 3266489917
_P4: Final = 668265263
_P5: Final = 374761393


def _left(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _stripes(data: bytes) -> tuple[int, int]:
    lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
    at = 0
    while at <= len(data) - 16:
        for lane in range(4):
            lanes[lane] = _left((lanes[lane] + _word(data, at + 4 * lane) * _P2) & _MASK, 13) * _P1 & _MASK
        at += 16
    return sum(_left(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK, at


def xxh32(data: bytes) -> int:
    """Return the 32-bit hash of `data` with seed 0."""
    total, at = _stripes(data) if len(data) >= 16 else (_P5, 0)
    total = (total + len(data)) & _MASK
    while at <= len(data) - 4:
        total = _left((total + _word(data, at) * _P3) & _MASK, 17) * _P4 & _MASK
        at += 4
    for byte in data[at:]:
        total = _left((total + byte * _P5) & _MASK, 11) * _P1 & _MASK
    for shift, prime in ((15, _P2), (13, _P3)):
        total = (total ^ (total >> shift)) * prime & _MASK
    return total ^ (total >> 16)


@lru_cache(maxsize=1 << 17)
def trace_hash(trace_id: str) -> int:
    """Return the hash of a trace id, remembered: every row of a trace needs it."""
    return xxh32(trace_id.encode())
