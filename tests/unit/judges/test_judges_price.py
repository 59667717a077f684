"""What tokens cost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judges import Price

TOKENS = st.integers(0, 10**9)
FIELD = "input"
USD = st.floats(0, 1000)


def test_a_million_tokens_cost_what_the_price_says() -> None:
    price = Price(input=0.25, output=2)
    assert price.cost(1_000_000, 0) == 0.25
    assert price.cost(0, 1_000_000) == 2
    assert price.cost(400, 50) == pytest.approx(0.0002)


@given(USD, USD, TOKENS, TOKENS, TOKENS, TOKENS)
def test_calls_cost_together_what_they_cost_apart(a: float, b: float, i: int, o: int, j: int, p: int) -> None:
    price = Price(input=a, output=b)
    assert price.cost(i, o) + price.cost(j, p) == pytest.approx(price.cost(i + j, o + p))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"input": -1, "output": 2}, "input"),
        ({"input": 1, "output": -0.01}, "output"),
        ({"input": 1}, "output"),
        ({"input": 1, "output": 2, "cached": 0.1}, "cached"),
        ({"input": "cheap", "output": 2}, "input"),
        ({"input": float("nan"), "output": 2}, "input"),
    ],
)
def test_what_is_no_price_is_refused(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Price(**fields)
    assert [error["loc"] for error in caught.value.errors()] == [(where,)]


def test_a_price_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Price(input=1, output=2), FIELD, 3)
