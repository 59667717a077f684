"""Durations and times of day are what people write, exactly, and are written back the same."""

from __future__ import annotations

from datetime import time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from evaluator.definitions.service_config import ServiceConfig, TimeOfDay
from traces import Duration, Interval, duration_text

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
INTERVAL: TypeAdapter[timedelta] = TypeAdapter(Interval)
TIME: TypeAdapter[time] = TypeAdapter(TimeOfDay)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
        ("1.5h", timedelta(minutes=90)),
        ("0s", timedelta(0)),
        (" 5 s ", timedelta(seconds=5)),
        ("10000d", timedelta(days=10_000)),
    ],
)
def test_durations_read_as_written(text: str, value: timedelta) -> None:
    assert DURATION.validate_python(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "-5s", "5 parsecs", "1h30m", "NaNs", "5\ts", "5S", "٣s", "1e3s", ".5s", 5, 5.0, None, True, []],
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="expected a duration such as 90s, 15m, 1h or 7d, not"):
        DURATION.validate_python(text)


@pytest.mark.parametrize("text", ["10001d", "99999999999999999999d", "99999999999999999999.9d"])
def test_what_no_clock_could_count_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="at most 10,000 days"):
        DURATION.validate_python(text)


@given(st.timedeltas(timedelta(0), timedelta(days=10_000)))
def test_durations_survive_being_written(value: timedelta) -> None:
    assert DURATION.validate_python(duration_text(value)) == value
    assert DURATION.dump_python(value, mode="json") == duration_text(value)


@given(st.integers(1, 9_999), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_whole_durations_are_written_in_the_largest_unit(number: int, unit: str) -> None:
    text = duration_text(DURATION.validate_python(f"{number}{unit}"))
    assert len(text) <= len(f"{number}{unit}") + 1
    assert "." not in text


def test_longer_units_are_longer() -> None:
    lengths = [DURATION.validate_python(f"1{unit}") for unit in ("ms", "s", "m", "h", "d")]
    assert all(shorter < longer for shorter, longer in pairwise(lengths))


def test_an_interval_is_longer_than_nothing() -> None:
    assert INTERVAL.validate_python("1ms") == timedelta(milliseconds=1)
    with pytest.raises(ValidationError, match="longer than nothing"):
        INTERVAL.validate_python("0s")


@given(st.times())
def test_times_of_day_survive_being_written(value: time) -> None:
    minute = value.replace(second=0, microsecond=0)
    assert TIME.validate_python(f"{minute:%H:%M}") == minute
    assert TIME.dump_python(minute, mode="json") == f"{minute:%H:%M}"


@pytest.mark.parametrize("text", ["24:00", "6:00", "06:60", "06:00:30", "06:00Z", "06:00+02:00", "noon", 600, None])
def test_other_times_are_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="expected a time of day in UTC"):
        TIME.validate_python(text)


def test_the_whole_configuration_survives_being_written() -> None:
    config = ServiceConfig.model_validate(
        {"discovery": {"every": "1.5s", "overlap": "0s"}, "watch": {"daily_at": "23:59"}}
    )
    assert ServiceConfig.model_validate(config.model_dump(mode="json")) == config
