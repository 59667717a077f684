from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.filters import COLUMNS, OPERATORS, parse, predicate
from sandbox.langfuse.rows import Row, row

VALUES: dict[str, Any] = {
    "datetime": "2026-11-23T09:00:00Z",
    "string": "x",
    "stringOptions": ["x"],
    "arrayOptions": ["x"],
    "number": 1,
    "boolean": True,
    "stringObject": "x",
    "numberObject": 1,
    "null": "",
}


def observation(**fields: Any) -> Row:
    given_fields = {"id": "o1", "traceId": "t1", "startTime": "2026-11-23T09:00:00Z"} | fields
    return row(given_fields, project="p", now=0, visible_at=0)


def condition(kind: str, column: str, operator: str, value: Any = None, key: str | None = None) -> dict[str, Any]:
    made = {"type": kind, "column": column, "operator": operator, "value": VALUES[kind] if value is None else value}
    return made | ({"key": key} if key is not None else {})


def matches(found: Row, *conditions: dict[str, Any]) -> bool:
    return all(predicate(parsed)(found) for parsed in parse(json.dumps(conditions)))


def refusal(*conditions: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(json.dumps(conditions))
    assert caught.value.status == 400
    return caught.value


# --- which column takes which type ---


@pytest.mark.parametrize("column", sorted(COLUMNS))
@pytest.mark.parametrize("kind", sorted(set(OPERATORS) - {"null"}))
def test_a_column_takes_its_types_and_refuses_all_others(column: str, kind: str) -> None:
    accepted, _ = COLUMNS[column]
    operator = "=" if "=" in OPERATORS[kind] else min(OPERATORS[kind])
    made = condition(kind, column, operator, key="k")
    if kind in accepted:
        assert parse(json.dumps([made]))[0].column == column
    else:
        found = refusal(made)
        assert found.body["error"] == "InvalidRequestError"
        assert f"Invalid filter type {kind} for column {column}" in found.body["message"]


@pytest.mark.parametrize("column", sorted(COLUMNS))
def test_every_column_can_be_asked_for_null(column: str) -> None:
    parsed = parse(json.dumps([condition("null", column, "is null")]))
    predicate(parsed[0])(observation())


@pytest.mark.parametrize("column", ["createdAt", "updatedAt", "score", "scores_avg", "trace_id", ""])
def test_an_unknown_column_is_refused_by_name(column: str) -> None:
    found = refusal(condition("string", column, "="))
    assert found.body == {
        "message": f"Column {column} does not match a UI / CH table mapping.",
        "error": "InvalidRequestError",
    }


@pytest.mark.parametrize(
    "bad",
    [
        7,
        {"type": "text", "column": "name", "operator": "=", "value": "x"},
        {"type": "string", "column": "name", "operator": "~", "value": "x"},
        {"type": "string", "column": "name", "operator": "=", "value": 3},
        {"type": "string", "column": 4, "operator": "=", "value": "x"},
        {"type": "string", "column": "name", "operator": "="},
        {"type": "stringOptions", "column": "name", "operator": "any of", "value": []},
        {"type": "stringOptions", "column": "name", "operator": "any of", "value": "x"},
        {"type": "stringOptions", "column": "name", "operator": "=", "value": ["x"]},
        {"type": "number", "column": "latency", "operator": ">", "value": "3"},
        {"type": "number", "column": "latency", "operator": ">", "value": True},
        {"type": "boolean", "column": "isRootObservation", "operator": "=", "value": "true"},
        {"type": "datetime", "column": "endTime", "operator": ">=", "value": "2026-11-23T09:00:00"},
        {"type": "datetime", "column": "endTime", "operator": "=", "value": "2026-11-23T09:00:00Z"},
        {"type": "stringObject", "column": "metadata", "operator": "=", "value": "x"},
    ],
)
def test_malformed_conditions_are_zod_issues(bad: Any) -> None:
    found = refusal(bad)
    assert found.body["message"] == "Invalid request data"
    assert found.body["error"][0]["path"][:2] == ["filter", 0]


@pytest.mark.parametrize("text", ["{", "{}", "3"])
def test_a_filter_that_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert caught.value.body["message"] == "Invalid request data"


def test_all_issues_come_at_once() -> None:
    found = refusal(7, condition("string", "name", "="), 8)
    assert [issue["path"][1] for issue in found.body["error"]] == [0, 2]


def test_input_and_output_need_an_exact_condition() -> None:
    assert "input or output" in refusal(condition("string", "output", "contains")).body["message"]
    both = [condition("string", "output", "contains"), condition("string", "input", "matches")]
    assert len(parse(json.dumps(both))) == 2


def test_matches_is_for_texts_only() -> None:
    assert "matches" in refusal(condition("string", "name", "matches")).body["message"]


# --- what they mean ---


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("=", "support answer", True),
        ("=", "support", False),
        ("contains", "port a", True),
        ("contains", "PORT", False),
        ("does not contain", "x", True),
        ("does not contain", "answer", False),
        ("starts with", "support", True),
        ("starts with", "answer", False),
        ("ends with", "answer", True),
        ("ends with", "support", False),
    ],
)
def test_text_operators(operator: str, value: str, expected: bool) -> None:
    assert matches(observation(name="support answer"), condition("string", "name", operator, value)) is expected


def test_options() -> None:
    found = observation(environment="production")
    assert matches(found, condition("stringOptions", "environment", "any of", ["staging", "production"]))
    assert not matches(found, condition("stringOptions", "environment", "none of", ["production"]))
    assert matches(found, condition("stringOptions", "userId", "none of", ["anna"]))


def test_trace_id_takes_options() -> None:
    assert matches(observation(), condition("stringOptions", "traceId", "any of", ["t0", "t1"]))


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("any of", ["a", "z"], True),
        ("any of", ["z"], False),
        ("none of", ["z"], True),
        ("none of", ["a"], False),
        ("all of", ["a", "b"], True),
        ("all of", ["a", "z"], False),
    ],
)
def test_tags(operator: str, value: list[str], expected: bool) -> None:
    assert matches(observation(tags=["b", "a"]), condition("arrayOptions", "tags", operator, value)) is expected


@given(st.integers(0, 100), st.integers(0, 100))
def test_numbers_compare(have: int, want: int) -> None:
    found = observation(totalCost=have)
    for operator, expected in (
        ("=", have == want),
        ("<", have < want),
        ("<=", have <= want),
        (">", have > want),
        (">=", have >= want),
    ):
        assert matches(found, condition("number", "totalCost", operator, want)) is expected


@given(st.integers(-5, 5))
def test_end_time_windows_are_half_open(offset: int) -> None:
    end = f"2026-11-23T09:00:{30 + offset:02d}.000Z"
    window = (
        condition("datetime", "endTime", ">=", "2026-11-23T09:00:28Z"),
        condition("datetime", "endTime", "<", "2026-11-23T09:00:32Z"),
    )
    assert matches(observation(endTime=end), *window) is (-2 <= offset < 2)


def test_an_open_observation_matches_no_end_time() -> None:
    for operator in ("<", ">=", "<=", ">"):
        assert not matches(observation(), condition("datetime", "endTime", operator))
    assert matches(observation(), condition("null", "endTime", "is null"))
    assert not matches(observation(), condition("null", "endTime", "is not null"))


def test_booleans() -> None:
    root, child = observation(), observation(parentObservationId="o0")
    assert matches(root, condition("boolean", "isRootObservation", "=", value=True))
    assert matches(child, condition("boolean", "hasParentObservation", "=", value=True))
    assert matches(child, condition("boolean", "isRootObservation", "<>", value=True))
    assert not matches(root, condition("boolean", "isRootObservation", "=", value=False))


def test_metadata_by_key() -> None:
    found = observation(metadata={"tier": "gold", "tries": 3, "nested": {"a": 1}})
    assert matches(found, condition("stringObject", "metadata", "=", "gold", key="tier"))
    assert not matches(found, condition("stringObject", "metadata", "=", "gold", key="other"))
    assert matches(found, condition("numberObject", "metadata", ">", 2, key="tries"))
    assert not matches(found, condition("numberObject", "metadata", ">", 2, key="tier"))
    assert matches(found, condition("stringObject", "metadata", "contains", '"a"', key="nested"))


def test_usage_cost_and_speed() -> None:
    found = observation(
        endTime="2026-11-23T09:00:02Z",
        completionStartTime="2026-11-23T09:00:00.500Z",
        usageDetails={"input": 10, "output": 20},
        costDetails={"input": 0.5, "output": 1.5},
    )
    for column, value in (
        ("inputTokens", 10),
        ("outputTokens", 20),
        ("totalTokens", 30),
        ("tokens", 30),
        ("inputCost", 0.5),
        ("outputCost", 1.5),
        ("totalCost", 2.0),
        ("latency", 2.0),
        ("timeToFirstToken", 0.5),
        ("tokensPerSecond", 10),
    ):
        assert matches(found, condition("number", column, "=", value)), column
    assert not matches(observation(), condition("number", "tokensPerSecond", ">", 0))


def test_both_names_of_the_model() -> None:
    found = observation(model="gpt-4o")
    assert matches(found, condition("string", "model", "=", "gpt-4o"))
    assert matches(found, condition("string", "providedModelName", "=", "gpt-4o"))


def test_search_in_texts_ignores_case() -> None:
    assert matches(observation(output="A Refund is due"), condition("string", "output", "matches", "refund"))
