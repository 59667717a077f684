"""How much a day may take, as people write it: 500/day, 5 USD/day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_PER_DAY: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(USD)? ?/ ?day")


@dataclass(frozen=True, slots=True)
class Quota:
    """So much of a unit a UTC day: judgements, or US dollars for them."""

    amount: float
    unit: Literal["judgements", "USD"]

    def __str__(self) -> str:
        return f"{self.amount:g}{' USD' if self.unit == 'USD' else ''}/day"


def _quota(value: object) -> object:
    if isinstance(value, Quota):
        return value
    found = _PER_DAY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or float(found[1]) == 0:
        raise ValueError(f"expected a budget such as 500/day or 5 USD/day, not {str(value)[:40]!r}")
    return Quota(float(found[1]), "USD" if found[2] else "judgements")


PerDay = Annotated[
    Quota,
    BeforeValidator(_quota),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)? ?(USD)? ?/ ?day$", "examples": ["500/day", "5 USD/day"]}
    ),
]
"""A quota in a file."""
