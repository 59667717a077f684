from __future__ import annotations

import pytest

from evaluator.model.slow import Slow


class Time:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def test_a_model_nobody_complained_of_is_asked(time: Time) -> None:
    assert not Slow(time).turns_away("gpt")


def test_a_slow_model_is_left_alone_for_a_minute_then_one_tries(time: Time) -> None:
    slow = Slow(time)
    slow.mark("gpt")
    time.now += 59
    assert slow.turns_away("gpt")
    assert not slow.turns_away("other")
    time.now += 2
    assert not slow.turns_away("gpt"), "one tries"
    assert slow.turns_away("gpt"), "the others wait for what becomes of it"
    slow.clear("gpt")
    assert not slow.turns_away("gpt")
    assert not slow.turns_away("gpt")


def test_a_try_that_fails_is_followed_by_another_minute(time: Time) -> None:
    slow = Slow(time)
    slow.mark("gpt")
    time.now += 61
    assert not slow.turns_away("gpt")
    slow.mark("gpt")
    time.now += 59
    assert slow.turns_away("gpt")
