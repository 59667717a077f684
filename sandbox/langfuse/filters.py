"""Filter conditions of GET /v2/observations: which column takes which type, and what each operator means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sandbox.langfuse.answers import Issue, bad_request, invalid, issue
from sandbox.langfuse.rows import Row
from sandbox.langfuse.times import milliseconds

Predicate = Callable[[Row], bool]
Getter = Callable[[Row], Any]

OPERATORS: Final[Mapping[str, frozenset[str]]] = {
    "datetime": frozenset({">", "<", ">=", "<="}),
    "string": frozenset({"=", "contains", "does not contain", "starts with", "ends with", "matches"}),
    "stringOptions": frozenset({"any of", "none of"}),
    "arrayOptions": frozenset({"any of", "none of", "all of"}),
    "number": frozenset({"=", ">", "<", ">=", "<="}),
    "boolean": frozenset({"=", "<>"}),
    "stringObject": frozenset({"=", "contains", "does not contain", "starts with", "ends with", "matches"}),
    "numberObject": frozenset({"=", ">", "<", ">=", "<="}),
    "null": frozenset({"is null", "is not null"}),
}
_LISTS: Final = {"stringOptions", "arrayOptions"}
_TEXT: Final = ("string", "stringOptions")


@dataclass(frozen=True, slots=True)
class Condition:
    """One validated condition; `value` of a datetime is in milliseconds, of a list a frozenset."""

    type: str
    column: str
    operator: str
    value: Any
    key: str = ""


def _field(name: str) -> Getter:
    return lambda row: row.body.get(name)


def _detail(group: str, key: str) -> Getter:
    return lambda row: row.body[group].get(key)


def _tokens_per_second(row: Row) -> float | None:
    tokens, seconds = row.body["usageDetails"].get("output"), row.body["latency"]
    return tokens / seconds if tokens and seconds else None


# (types a column accepts beside `null`, where its value is)
_PLAIN = (
    "id traceId name type environment version release userId sessionId traceName level statusMessage promptName "
    "modelId model parentObservationId experimentId experimentName experimentDatasetId ingestionSdkName "
    "ingestionSdkVersion ingestionSource evaluatorId ruleId"
)
COLUMNS: Final[Mapping[str, tuple[tuple[str, ...], Getter]]] = {
    **{name: (_TEXT, _field(name)) for name in _PLAIN.split()},
    "providedModelName": (_TEXT, _field("model")),
    "input": (("string",), _field("input")),
    "output": (("string",), _field("output")),
    "startTime": (("datetime",), lambda row: row.start),
    "endTime": (("datetime",), lambda row: row.end),
    **{name: (("number",), _field(name)) for name in ("promptVersion", "totalCost", "latency", "timeToFirstToken")},
    "inputCost": (("number",), _detail("costDetails", "input")),
    "outputCost": (("number",), _detail("costDetails", "output")),
    "inputTokens": (("number",), _detail("usageDetails", "input")),
    "outputTokens": (("number",), _detail("usageDetails", "output")),
    "totalTokens": (("number",), _detail("usageDetails", "total")),
    "tokens": (("number",), _detail("usageDetails", "total")),
    "tokensPerSecond": (("number",), _tokens_per_second),
    "toolDefinitions": (("number",), lambda _row: 0),
    "toolCalls": (("number",), lambda _row: 0),
    "hasParentObservation": (("boolean",), lambda row: bool(row.body["parentObservationId"])),
    "isRootObservation": (("boolean",), _field("isRootObservation")),
    "hasInput": (("boolean",), lambda row: bool(row.body["input"])),
    "hasOutput": (("boolean",), lambda row: bool(row.body["output"])),
    "traceTags": (("arrayOptions",), _field("tags")),
    "tags": (("arrayOptions",), _field("tags")),
    "toolNames": (("arrayOptions",), lambda _row: ()),
    "calledToolNames": (("arrayOptions",), lambda _row: ()),
    "metadata": (("stringObject", "numberObject"), _field("metadata")),
}
_TEXT_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "=": lambda have, want: have == want,
    "contains": lambda have, want: want in have,
    "does not contain": lambda have, want: want not in have,
    "starts with": str.startswith,
    "ends with": str.endswith,
    "matches": lambda have, want: want.lower() in have.lower(),
}
_NUMBER_TESTS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda have, want: have == want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
}
_SET_TESTS: Final[Mapping[str, Callable[[frozenset[str], frozenset[str]], bool]]] = {
    "any of": lambda have, want: not have.isdisjoint(want),
    "none of": lambda have, want: have.isdisjoint(want),
    "all of": lambda have, want: want <= have,
}


def parse(text: str) -> list[Condition]:
    """Return the conditions of the `filter` parameter.

    Raises:
        Refusal: 400 in zod's form when the JSON or a condition is malformed, 400 InvalidRequestError when a column is
            unknown, does not take that type, or input/output are filtered without an exact condition.
    """
    try:
        items = orjson.loads(text)
    except orjson.JSONDecodeError:
        invalid([issue("Invalid JSON in filter parameter", "filter")])
    if not isinstance(items, list):
        invalid([issue("Expected array", "filter", code="invalid_type")])
    issues = [found for place, item in enumerate(items) for found in _issues(item, place)]
    if issues:
        invalid(issues)
    conditions = [_condition(item) for item in items]
    _refuse_open_text_search(conditions)
    return conditions


def _issues(item: Any, place: int) -> list[Issue]:
    if not isinstance(item, dict):
        return [issue("Expected object", "filter", place, code="invalid_type")]
    kind: Any = item.get("type")
    value: Any = item.get("value")
    if kind not in OPERATORS:
        return [issue("Invalid discriminator value", "filter", place, "type", code="invalid_union_discriminator")]
    if item.get("operator") not in OPERATORS[kind]:
        return [issue("Invalid enum value", "filter", place, "operator", code="invalid_enum_value")]
    if not isinstance(item.get("column"), str):
        return [issue("Expected string", "filter", place, "column", code="invalid_type")]
    if kind.endswith("Object") and not isinstance(item.get("key"), str):
        return [issue("Expected string", "filter", place, "key", code="invalid_type")]
    wrong = _wrong_value(kind, value)
    return [issue(wrong, "filter", place, "value", code="invalid_type")] if wrong else []


def _wrong_value(kind: str, value: Any) -> str:
    if kind == "datetime":
        try:
            milliseconds(value)
        except ValueError as error:
            return str(error)
    elif kind in _LISTS:
        if not isinstance(value, list) or not value or not all(isinstance(option, str) for option in value):
            return "Expected a non-empty array of strings"
    elif kind in {"number", "numberObject"}:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return "Expected number"
    elif kind == "boolean":
        return "" if isinstance(value, bool) else "Expected boolean"
    elif kind != "null" and not isinstance(value, str):
        return "Expected string"
    return ""


def _condition(item: Mapping[str, Any]) -> Condition:
    kind, column = item["type"], item["column"]
    value: Any = item.get("value")
    if column not in COLUMNS:
        bad_request(f"Column {column} does not match a UI / CH table mapping.")
    accepted, _ = COLUMNS[column]
    if kind != "null" and kind not in accepted:
        bad_request(f"Invalid filter type {kind} for column {column}. Expected {' or '.join(accepted)}.")
    if item["operator"] == "matches" and column not in {"input", "output", "metadata"}:
        bad_request(f"Operator matches is not supported for column {column}.")
    if kind == "datetime":
        value = milliseconds(value)
    elif kind in _LISTS:
        value = frozenset(value)
    return Condition(kind, column, item["operator"], value, item.get("key") or "")


def _refuse_open_text_search(conditions: list[Condition]) -> None:
    searched = [c for c in conditions if c.column in {"input", "output"} and c.type == "string"]
    if searched and not any(c.operator in {"=", "matches"} for c in searched):
        bad_request("Filters on input or output need at least one condition with operator = or matches.")


def predicate(condition: Condition) -> Predicate:
    """Return the test of one condition. An absent number or time never matches; an absent text is the empty text."""
    want, operator = condition.value, condition.operator
    _, get = COLUMNS[condition.column]
    match condition.type:
        case "null":
            return lambda row: (get(row) in (None, "")) == (operator == "is null")
        case "string":
            text_test = _TEXT_TESTS[operator]
            return lambda row: text_test(get(row) or "", want)
        case "stringOptions":
            return lambda row: ((get(row) or "") in want) == (operator == "any of")
        case "arrayOptions":
            set_test = _SET_TESTS[operator]
            return lambda row: set_test(frozenset(get(row) or ()), want)
        case "boolean":
            return lambda row: (get(row) is want) == (operator == "=")
        case "stringObject":
            return _object_predicate(condition, _TEXT_TESTS[operator])
        case "numberObject":
            return _object_predicate(condition, _NUMBER_TESTS[operator])
        case _:
            number_test = _NUMBER_TESTS[operator]
            return lambda row: (have := get(row)) is not None and number_test(have, want)


def _object_predicate(condition: Condition, test: Callable[[Any, Any], bool]) -> Predicate:
    wants_number = condition.type == "numberObject"

    def matches(row: Row) -> bool:
        have = row.body["metadata"].get(condition.key)
        if wants_number:
            return isinstance(have, (int, float)) and test(have, condition.value)
        text = "" if have is None else have if isinstance(have, str) else orjson.dumps(have).decode()
        return test(text, condition.value)

    return matches
