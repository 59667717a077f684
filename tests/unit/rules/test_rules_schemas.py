from __future__ import annotations

import itertools
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.schemas import BadSchema, Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KEYS = st.sampled_from(["a", "ab", "b", "x-a", "x-b", ""])
OBJECTS = st.dictionaries(KEYS, st.integers(-3, 3) | st.text(max_size=3) | st.none(), max_size=5)
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(KEYS, st.sampled_from([{"type": "integer"}, {"minLength": 2}, True]), max_size=3),
        "patternProperties": st.dictionaries(
            st.sampled_from(["^x-", "b$", "a", "^$"]),
            st.sampled_from([{"type": "string"}, {"minimum": 0}, False]),
            max_size=3,
        ),
        "additionalProperties": st.sampled_from([True, False, {"type": "null"}]),
        "required": st.lists(KEYS, unique=True, max_size=2),
        "propertyNames": st.just({"pattern": "^[a-z-]*$"}),
    },
)


@given(SCHEMAS, OBJECTS)
def test_it_agrees_with_the_reference_on_what_it_replaces(document: dict[str, Any], value: dict[str, Any]) -> None:
    fits = jsonschema.Draft202012Validator(document).is_valid(value)
    assert (Schema(document).problem(value) is None) is fits


@pytest.mark.parametrize("value", ["text", 7, None, [], True])
def test_keywords_of_objects_leave_other_values_alone(value: object) -> None:
    assert Schema({"patternProperties": {"a": False}, "additionalProperties": False}).problem(value) is None


def test_patterns_leave_other_values_alone() -> None:
    assert Schema({"pattern": "^a"}).problem(7) is None


@given(st.lists(st.sampled_from([0, 1, 1.0, 0.0, True, False, None, "1", [1], [True], {"a": 1}, {"a": 1.0}, {}, []])))
def test_items_are_unique_when_no_two_are_equal_as_json(value: list[Any]) -> None:
    # The reference is no help here: it sorts first, and takes [[1], [true], [1]] for unique.
    pairs = itertools.combinations(value, 2)
    unique = not any(equal_as_json(one, other) for one, other in pairs)
    assert (Schema({"uniqueItems": True}).problem(value) is None) is unique


def equal_as_json(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal_as_json, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal_as_json(one[key], other[key]) for key in one)
    return bool(one == other)


class TestRefused:
    @pytest.mark.parametrize(
        ("document", "why"),
        [
            ({"type": "objekt"}, r"not a JSON Schema \(2020-12\): \$\.type"),
            ({"items": [{}]}, r"not a JSON Schema \(2020-12\): \$\.items"),
            ({"required": "name"}, r"\$\.required"),
            ({"$schema": "http://json-schema.org/draft-07/schema#"}, "only JSON Schema 2020-12"),
            ({"$ref": "https://example.com/schema.json"}, r"\$\.\$ref: .* leads outside"),
            ({"$ref": DIALECT}, "leads outside"),
            ({"items": {"$ref": "#/$defs/missing"}}, r"\$\.items\.\$ref: '#/\$defs/missing' leads nowhere"),
            ({"items": {"$ref": "#anchor"}}, "leads nowhere"),
            ({"$ref": "file:///etc/passwd"}, "leads outside"),
            ({"$ref": "#"}, "refers to itself without end"),
            ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "without end"),
            ({"pattern": "(?=a)"}, "look-arounds and backreferences are not supported"),
            ({"pattern": "("}, r"\$: '\(' is not a regular expression: missing \)"),
            ({"properties": {"a": {"patternProperties": {r"(a)\1": {}}}}}, r"\$\.properties\.a: .*not supported"),
            ({"anyOf": [{}, {"pattern": "(?!a)"}]}, r"\$\.anyOf\[1\]: "),
            ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "is not supported"),
            ({"allOf": [{"patternProperties": {"a": {}}}], "unevaluatedProperties": False}, "is not supported"),
            ({"properties": {"const": {"pattern": "("}}}, r"\$\.properties\.const: "),
            ({"properties": {"default": {"$ref": "#/nowhere"}}}, "leads nowhere"),
            ({"x-notes": {"pattern": "(?=a)"}, "$ref": "#/x-notes"}, "not supported"),
            ({"x-notes": {"type": "objekt"}, "$ref": "#/x-notes"}, "does not lead to a JSON Schema"),
            ({"x-notes": "text", "$ref": "#/x-notes"}, "does not lead to a JSON Schema"),
            ({"$dynamicRef": "#nowhere"}, "leads nowhere"),
            ({"$defs": {"a": {"$id": "https://example.com/a"}}}, "may not have its own"),
        ],
    )
    def test_with_the_place_and_the_reason(self, document: dict[str, Any], why: str) -> None:
        with pytest.raises(BadSchema, match=why):
            Schema(document)

    def test_when_it_is_nested_too_deeply(self) -> None:
        document: dict[str, Any] = {}
        for _ in range(5000):
            document = {"not": document}
        with pytest.raises(BadSchema, match="nested too deeply"):
            Schema(document)


class TestAccepted:
    @pytest.mark.parametrize(
        "document",
        [
            True,
            {},
            {"$schema": DIALECT},
            {"$schema": DIALECT + "#"},
            {"$id": "https://example.com/root", "$ref": "#/$defs/a", "$defs": {"a": {}}},
            {"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"},
            {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}, "$id": {}}},
            {"const": {"$ref": "nowhere", "pattern": "("}},
            {"enum": [{"$ref": "nowhere"}]},
            {"default": {"pattern": "("}, "examples": [{"$id": "x"}]},
            {"x-notes": {"pattern": "(", "$ref": "nowhere"}},
            {"x-notes": {"type": "object"}, "$ref": "#/x-notes"},
            {"unevaluatedProperties": False},
        ],
    )
    def test_what_is_in_order(self, document: dict[str, Any] | bool) -> None:
        assert Schema(document) == Schema(document)

    def test_what_only_looks_like_a_reference_is_data(self) -> None:
        data = {"$ref": "nowhere", "pattern": "("}
        assert Schema({"const": data}).problem(data) is None
        assert Schema({"enum": [data]}).problem({}) is not None

    @pytest.mark.parametrize(
        ("document", "place"),
        [
            ({"properties": {"a": False}}, "$.a"),
            ({"patternProperties": {"a": False}}, "$.a"),
            ({"additionalProperties": False}, "$.a"),
            ({"additionalProperties": {"additionalProperties": False}}, "$.a.b"),
        ],
    )
    def test_what_is_forbidden_is_named(self, document: dict[str, Any], place: str) -> None:
        assert Schema(document).problem({"a": {"b": 1}}) == f"{place} is not allowed"

    def test_patterns_are_those_of_re2(self) -> None:
        letters = Schema({"pattern": r"^\p{L}+\z"})
        assert letters.problem("é漢") is None
        assert letters.problem("é7") is not None

    def test_recursive_schemas_work(self) -> None:
        tree = Schema({"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"})
        assert tree.problem([[], [[]]]) is None
        assert tree.problem([[], [[7]]]) == "$[1][0][0] is a number, expected array"


class TestHostileValues:
    def test_a_pattern_that_would_stall_does_not(self) -> None:
        # Python's engine would need longer than the sun has left.
        assert Schema({"pattern": "^(a|a)*$"}).problem("a" * 50_000 + "b") == "$ breaks pattern: ^(a|a)*$"

    def test_keys_that_would_stall_patterns_do_not(self) -> None:
        document = {"patternProperties": {"^(a|a)*$": False}, "additionalProperties": True}
        assert Schema(document).problem({"a" * 50_000 + "b": 1}) is None

    def test_many_items_are_compared_in_linear_time(self) -> None:
        # Each with each would be half a billion comparisons.
        assert Schema({"uniqueItems": True}).problem([{"n": number} for number in range(30_000)]) is None
        assert Schema({"uniqueItems": False}).problem([1, 1]) is None

    @pytest.mark.parametrize("levels", [400, 1000, 10_000])
    def test_depth_is_a_problem_not_an_exception(self, levels: int) -> None:
        value: list[Any] = []
        for _ in range(levels):
            value = [value]
        tree = Schema({"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"})
        assert tree.problem(value) in {None, "$ is nested too deeply to be checked"}

    def test_equal_deep_values_are_no_exception(self) -> None:
        value: list[Any] = []
        for _ in range(5000):
            value = [value]
        assert Schema({"uniqueItems": True}).problem([value, value]) is not None

    def test_numbers_beyond_floats_are_no_exception(self) -> None:
        assert Schema({"multipleOf": 0.1}).problem(10**400) is not None

    def test_long_schemas_and_keys_are_cut(self) -> None:
        found = Schema({"enum": ["x" * 5000]}).problem("y" * 5000)
        assert found is not None
        assert len(found) < 200
