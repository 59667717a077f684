from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.langfuse import Behaviour, LangfuseStandIn
from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.limits import Bucket
from sandbox.langfuse.times import iso, milliseconds

MONDAY = milliseconds("2026-11-02T00:00:00Z")
DAY = 86_400_000


def score(number: int, at: int, **fields: Any) -> dict[str, Any]:
    made = {"id": f"s{number}", "name": "helpful", "value": 1, "traceId": f"t{number}", "timestamp": iso(at)}
    return made | fields


def holding(*scores: dict[str, Any]) -> LangfuseStandIn:
    langfuse = LangfuseStandIn()
    langfuse.load_scores(scores)
    return langfuse


def query(**changes: Any) -> dict[str, Any]:
    return {
        "view": "scores-numeric",
        "metrics": [{"measure": "count", "aggregation": "count"}, {"measure": "value", "aggregation": "avg"}],
        "fromTimestamp": iso(MONDAY),
        "toTimestamp": iso(MONDAY + 21 * DAY),
    } | changes


def ask(langfuse: LangfuseStandIn, **changes: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = langfuse.metrics(json.dumps(query(**changes)))["data"]
    return rows


def test_counts_and_averages() -> None:
    langfuse = holding(score(1, MONDAY, value=1), score(2, MONDAY, value=2), score(3, MONDAY + 30 * DAY, value=9))
    assert ask(langfuse) == [{"count_count": 2, "avg_value": 1.5}]


@pytest.mark.parametrize(("aggregation", "expected"), [("sum", 6.0), ("min", 1.0), ("max", 3.0), ("avg", 2.0)])
def test_aggregations(aggregation: str, expected: float) -> None:
    langfuse = holding(*(score(n, MONDAY, value=n) for n in (1, 2, 3)))
    (row,) = ask(langfuse, metrics=[{"measure": "value", "aggregation": aggregation}])
    assert row == {f"{aggregation}_value": expected}


def test_views_choose_the_types() -> None:
    langfuse = holding(
        score(1, MONDAY, value=3),
        score(2, MONDAY, value=1, dataType="BOOLEAN"),
        score(3, MONDAY, value="good"),
    )
    counted = [{"measure": "count", "aggregation": "count"}]
    assert ask(langfuse, metrics=counted) == [{"count_count": 2}], "numeric counts booleans too"
    assert ask(langfuse, view="scores-boolean", metrics=counted) == [{"count_count": 1}]
    assert ask(langfuse, view="scores-categorical", metrics=counted) == [{"count_count": 1}]


def test_one_score_on_two_days_counts_twice() -> None:
    langfuse = holding(score(1, MONDAY), score(1, MONDAY + DAY))
    assert ask(langfuse)[0]["count_count"] == 2


def test_dimensions() -> None:
    langfuse = holding(
        score(1, MONDAY, value=1), score(2, MONDAY, name="tone", value=3), score(3, MONDAY, name="tone", value=5)
    )
    assert ask(langfuse, dimensions=[{"field": "name"}]) == [
        {"name": "helpful", "count_count": 1, "avg_value": 1.0},
        {"name": "tone", "count_count": 2, "avg_value": 4.0},
    ]
    assert len(ask(langfuse, dimensions=[{"field": "name"}], config={"row_limit": 1})) == 1


def test_weeks_without_scores_are_zeros_unless_ordered() -> None:
    langfuse = holding(score(1, MONDAY + 3 * DAY, value=4), score(2, MONDAY + 15 * DAY, value=2))
    weekly = {"timeDimension": {"granularity": "week"}}
    rows = ask(langfuse, **weekly)
    assert [row["time_dimension"] for row in rows] == [iso(MONDAY + n * 7 * DAY) for n in range(3)]
    assert [(row["count_count"], row["avg_value"]) for row in rows] == [(1, 4.0), (0, 0.0), (1, 2.0)]
    assert len(ask(langfuse, **weekly, orderBy=[{"field": "count_count", "direction": "desc"}])) == 2


@given(st.integers(0, 4_000_000_000_000))
def test_weeks_begin_on_monday_midnight_utc(ms: int) -> None:
    langfuse = holding(score(1, ms))
    bounds = {"fromTimestamp": iso(ms), "toTimestamp": iso(ms + 1)}
    (row,) = ask(langfuse, **bounds, timeDimension={"granularity": "week"})
    began = datetime.fromisoformat(row["time_dimension"])
    assert (began.weekday(), began.hour, began.minute, began.tzinfo) == (0, 0, 0, UTC)
    assert 0 <= ms - milliseconds(row["time_dimension"]) < 7 * DAY


@pytest.mark.parametrize(("granularity", "rows"), [("hour", 48), ("day", 2), ("auto", 2)])
def test_other_granularities(granularity: str, rows: int) -> None:
    found = ask(holding(), toTimestamp=iso(MONDAY + 2 * DAY), timeDimension={"granularity": granularity})
    assert len(found) == rows


def test_filters_by_column_and_metadata() -> None:
    langfuse = holding(
        score(1, MONDAY, metadata={"model": "small"}),
        score(2, MONDAY, metadata={"model": "large"}),
        score(3, MONDAY, name="tone", environment="staging"),
    )

    def count(**condition: Any) -> int:
        return int(sum(row["count_count"] for row in ask(langfuse, filters=[condition])))

    assert count(type="string", column="name", operator="=", value="tone") == 1
    assert count(type="stringOptions", column="name", operator="any of", value=["tone", "helpful"]) == 3
    assert count(type="stringOptions", column="environment", operator="none of", value=["staging"]) == 2
    assert count(type="stringObject", column="metadata", key="model", operator="=", value="small") == 1
    assert count(type="string", column="promptName", operator="=", value="tone") == 1, "taken for the score's name"


@pytest.mark.parametrize(
    "changes",
    [
        {"view": "traces"},
        {"metrics": []},
        {"metrics": [{"measure": "value", "aggregation": "stddev"}]},
        {"metrics": [{"measure": "cost", "aggregation": "avg"}]},
        {"metrics": 3},
        {"dimensions": [{"field": "traceId"}]},
        {"dimensions": [{"field": "colour"}]},
        {"fromTimestamp": "2026-11-02"},
        {"fromTimestamp": iso(MONDAY + 21 * DAY)},
        {"timeDimension": {"granularity": "fortnight"}},
        {"config": {"row_limit": 1001}},
        {"filters": [{"type": "string", "column": "colour", "operator": "=", "value": "x"}]},
        {"filters": [{"column": "name"}]},
    ],
)
def test_what_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        ask(holding(), **changes)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3"])
def test_a_query_that_is_no_query_is_refused(text: str | None) -> None:
    with pytest.raises(Refusal):
        holding().metrics(text)


def test_the_limit_is_by_the_day() -> None:
    langfuse = LangfuseStandIn(Behaviour(metrics_per_day=2, window_seconds=1))
    langfuse.take(Bucket.METRICS)
    with pytest.raises(Refusal) as caught:
        langfuse.take(Bucket.METRICS)
    assert int(caught.value.headers["Retry-After"]) > 86_000
