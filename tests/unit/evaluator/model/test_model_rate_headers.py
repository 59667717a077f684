"""What servers say of their limits beside an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.model.completion import pause
from evaluator.model.rate_headers import LONGEST, duration, exhausted


def headers(**told: str) -> dict[str, str]:
    return {f"x-ratelimit-{name.replace('_', '-')}": value for name, value in told.items()}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("12.5", 12.5),
        ("1d", 86400),
    ],
)
def test_durations_as_servers_write_them(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1s 2s", "nan", "inf", "9" * 99 + "s", "2026-11-20T10:00:00Z"])
def test_what_is_no_duration(text: str) -> None:
    assert duration(text) is None


def test_where_there_is_room_nobody_waits() -> None:
    assert exhausted({}, 100) is None
    assert exhausted(headers(remaining_requests="1", reset_requests="1s"), 100) is None
    assert exhausted(headers(remaining_tokens="100", reset_tokens="6s"), 100) is None
    assert exhausted(headers(remaining_requests="0"), 100) is None  # for how long, it does not say


def test_without_room_all_wait_until_the_next_is_free_again() -> None:
    full = headers(remaining_requests="0", limit_requests="600", reset_requests="60s")
    assert exhausted(full, 100) == pytest.approx(0.1)
    assert exhausted(headers(remaining_requests="0", reset_requests="3s"), 100) == 3
    few = headers(remaining_tokens="500", limit_tokens="60000", reset_tokens="59s")
    assert exhausted(few, 2500) == pytest.approx(2.0)
    assert exhausted(full | few, 2500) == pytest.approx(2.0)


def test_a_pause_is_never_longer_than_the_minute_they_speak_of() -> None:
    assert exhausted(headers(remaining_requests="0", reset_requests="6h"), 1) == LONGEST


def test_a_refusal_without_retry_after_is_understood_by_them() -> None:
    told = headers(remaining_tokens="0", limit_tokens="60000", reset_tokens="59s", remaining_requests="9")
    assert pause(told) == 0.05
    assert pause(told | {"retry-after": "7"}) == 7
    assert pause(headers(remaining_requests="0", reset_requests="2s")) == 2


@given(
    st.dictionaries(
        st.sampled_from(
            list(
                headers(
                    remaining_requests="",
                    reset_requests="",
                    limit_requests="",
                    remaining_tokens="",
                    reset_tokens="",
                    limit_tokens="",
                )
            )
        ),
        st.text(max_size=20),
    ),
    st.integers(0, 10**6),
)
def test_whatever_a_server_writes_there(told: dict[str, str], tokens: int) -> None:
    found = exhausted(told, tokens)
    assert found is None or 0 < found <= LONGEST
