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


def test_what_the_prompt_cache_held_costs_less_where_that_is_told() -> None:
    assert Price(input=1, output=2, cached_input=0.1).cost(1_000_000, 0, 400_000) == pytest.approx(0.64)
    assert Price(input=1, output=2, cached_input=0).cost(1_000_000, 0, 400_000) == pytest.approx(0.6)
    assert Price(input=1, output=2).cost(1_000_000, 0, 400_000) == 1
    assert Price(input=1, output=2, cached_input=0.1).cost(10, 0, 400_000) == pytest.approx(1e-6)


@given(USD, USD, TOKENS, TOKENS)
def test_no_call_costs_more_than_was_reserved_for_it(price: float, cheaper: float, read: int, held: int) -> None:
    known = Price(input=max(price, cheaper), output=1, cached_input=min(price, cheaper))
    assert 0 <= known.cost(read, 0, held) <= known.cost(read, 0) * (1 + 1e-9)


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
        ({"input": 1, "output": 2, "cached_input": -1}, "cached_input"),
        ({"input": "cheap", "output": 2}, "input"),
        ({"input": float("nan"), "output": 2}, "input"),
    ],
)
def test_what_is_no_price_is_refused(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Price(**fields)
    assert [error["loc"] for error in caught.value.errors()] == [(where,)]


def test_a_cached_token_is_not_dearer_than_another() -> None:
    with pytest.raises(ValidationError, match=r"cached_input \(2\) is above input \(1\)"):
        Price(input=1, output=2, cached_input=2)


def test_a_price_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Price(input=1, output=2), FIELD, 3)
