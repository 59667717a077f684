from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from monitors import MonitorSpec, Span


def test_a_name_is_all_it_takes() -> None:
    spec = MonitorSpec.model_validate({"score": "faithfulness"})
    assert (spec.smallest_drop, spec.false_alerts_per_year, spec.baseline_weeks) == (0.01, 1.0, 12)
    assert spec.segments == ("prompt_version", "model", "trace_name", "tags", "release")


@pytest.mark.parametrize("written", ["2%", "2 %", " 2.0%", 0.02, "0.02"])
def test_a_share_may_be_written_in_percent(written: object) -> None:
    assert MonitorSpec.model_validate({"score": "s", "smallest_drop": written}).smallest_drop == pytest.approx(0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": ""},
        {"score": "a,b"},
        {"score": "s", "smallest_drop": "two%"},
        {"score": "s", "smallest_drop": "0%"},
        {"score": "s", "smallest_drop": 2},
        {"score": "s", "baseline_weeks": 3},
        {"score": "s", "false_alerts_per_year": 0},
        {"score": "s", "scale": [5, 1]},
        {"score": "s", "segments": ["model", "model"]},
        {"score": "s", "smalest_drop": 0.1},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MonitorSpec.model_validate(wrong)


def test_the_state_is_kept_by_score_and_environments() -> None:
    assert MonitorSpec(score="s").key == "s"
    one = MonitorSpec.model_validate({"score": "s", "environment": "production"})
    two = MonitorSpec.model_validate({"score": "s", "environment": ["staging", "production"]})
    assert (one.key, two.key) == ("s@production", "s@production+staging")


def test_an_excluded_date_is_a_day_in_utc() -> None:
    spec = MonitorSpec(score="s", excluded_weeks=(date(2026, 12, 25),))
    assert spec.excluded == (Span(datetime(2026, 12, 25, tzinfo=UTC), datetime(2026, 12, 26, tzinfo=UTC)),)


def test_editors_are_told_of_both_ways_to_write_a_share() -> None:
    written = MonitorSpec.model_json_schema()["properties"]["smallest_drop"]["anyOf"]
    assert {option["type"] for option in written} == {"string", "number"}


@pytest.mark.parametrize(
    ("labels", "value", "number"),
    [
        (None, 3.5, 3.5),
        (None, True, 1.0),
        (None, float("nan"), None),
        (None, "good", None),
        ("good", "good", 1.0),
        ("good", "bad", 0.0),
        ("good", 1.0, None),
        (["billing", "refund"], "delivery, refund", 1.0),
        (["billing", "refund"], "refunds", 0.0),
        (["yes, always"], "yes, always", 1.0),
    ],
)
def test_what_a_value_counts(labels: object, value: float | bool | str, number: float | None) -> None:
    assert MonitorSpec.model_validate({"score": "a", "labels": labels}).number(value) == number


def test_a_part_of_the_traffic_has_a_monitor_of_its_own() -> None:
    where = {"tags": ["vip", "beta"], "model": "gpt"}
    spec = MonitorSpec.model_validate({"score": "s", "where": where, "environment": "p"})
    assert spec.key == "s[model gpt; tags beta+vip]@p"
    assert spec.holds({"model": "gpt", "tags": "eu, vip"})
    assert not spec.holds({"model": "gpt", "tags": "eu"})
    assert not spec.holds({"tags": "vip"})
    assert MonitorSpec.model_validate({"score": "s", "where": {"release": "(none)"}}).holds({})


@pytest.mark.parametrize(
    "wrong",
    [
        {"where": {"promt_version": "a:1"}},
        {"where": {"model": []}},
        {"where": {"model": "m"}, "on_low": {"queue": "q"}},
    ],
)
def test_a_part_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MonitorSpec.model_validate({"score": "s", **wrong})
