from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rules.base import Rule
from rules.structure import JsonRule, JsonSchema, JsonValid, NumberInRange, NumberValue, OneOf
from tests.building import nested, tool, trace
from traces import NotApplicable, Path, Verdict

PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def verdict(rule: JsonRule, output: Any) -> Verdict:
    found = rule.check(trace(output=output))
    assert isinstance(found, Verdict)
    return found


def schema(document: object, **fields: Any) -> JsonSchema:
    return JsonSchema.model_validate({"schema": document, **fields})


class TestJsonValid:
    @pytest.mark.parametrize("output", ['{"a": 1}', " [1, 2]\n", "7", '"text"', "null", {"a": 1}, [], 7, True])
    def test_json_passes(self, output: object) -> None:
        assert verdict(JsonValid(), output) == Verdict(True, "1 value in order")

    @pytest.mark.parametrize(
        ("output", "place"),
        [
            ('{"a": 1,}', "line 1 column 8"),
            ("{'a': 1}", "line 1 column"),
            ("NaN", "line 1 column 1"),
            ("", "line 1 column 1"),
            ('{"a": 1}\n{"b": 2}', "line 2 column 1"),
            ("[1, 2", "line 1 column"),
            ('```json\n{"a": 1}\n```', "line 1 column 1"),
            ("[" * 100_000 + "]" * 100_000, "line 1 column"),
        ],
    )
    def test_anything_else_fails_with_its_place(self, output: str, place: str) -> None:
        found = verdict(JsonValid(), output)
        assert found.value is False
        assert found.reason.startswith("$['root']['output']: not JSON: ")
        assert place in found.reason

    def test_half_a_character_is_one_to_replace_not_an_error(self) -> None:
        assert verdict(JsonValid(), '"\ud800"').value is True

    def test_nothing_there_is_not_scored(self) -> None:
        assert JsonValid().check(trace(output=None)) == NotApplicable("value not found")

    @pytest.mark.parametrize(
        "output", ['```json\n{"a": 1}\n```', "```\n[1]\n```\n", '  ```JSON\n{"a":\n1}\n  ```  ', '{"no": "fence"}']
    )
    def test_a_fence_may_be_allowed(self, output: str) -> None:
        assert verdict(JsonValid(fenced=True), output).value is True

    @pytest.mark.parametrize(
        "output",
        ["```\nno\n```", "```", '```json\n{"a": 1}', '```json\n{"a": 1}\nDone.', 'Sure:\n```\n{"a": 1}\n```'],
    )
    def test_a_fence_must_hold_json_and_nothing_beside(self, output: str) -> None:
        assert verdict(JsonValid(fenced=True), output).value is False

    def test_every_value_is_checked_and_the_first_bad_one_named(self) -> None:
        rule = JsonValid(value=Path.parse("$.observations[?@.type == 'TOOL'].output"))
        good, bad = tool("a", 1, output="[]"), tool("b", 2, output="no")
        assert rule.check(trace(good, tool("c", 3))) == Verdict(True, "1 value in order")
        found = rule.check(trace(good, bad))
        assert isinstance(found, Verdict)
        assert found.value is False
        assert found.reason.startswith("$['observations'][2]['output']: not JSON")

    @given(JSON)
    def test_whatever_json_writes_is_valid(self, value: Any) -> None:
        assert verdict(JsonValid(), json.dumps(value)).value is True


class TestJsonSchema:
    @pytest.mark.parametrize("output", [{"name": "Ada"}, '{"name": "Ada", "age": 36}'])
    def test_what_fits_passes_parsed_or_not(self, output: object) -> None:
        assert verdict(schema(PERSON), output).value is True

    @pytest.mark.parametrize(
        ("output", "why"),
        [
            ({}, "$: 'name' is a required property"),
            ({"name": 7}, "$.name is a number, expected string"),
            ({"name": None}, "$.name is null, expected string"),
            ({"name": "ada"}, "$.name breaks pattern: ^[A-Z]"),
            ({"name": "Ada", "age": -1}, "$.age breaks minimum: 0"),
            ({"name": "Ada", "age": True}, "$.age is a boolean, expected integer"),
            ({"name": "Ada", "secret": 1}, "$.secret is not allowed"),
            ([], "$ is an array, expected object"),
            ("[]", "$ is an array, expected object"),
            ('"text"', "$ is a string, expected object"),
        ],
    )
    def test_what_does_not_fit_says_where_and_why(self, output: object, why: str) -> None:
        assert verdict(schema(PERSON), output) == Verdict(False, f"$['root']['output']: {why}")

    def test_several_problems_are_hinted_at(self) -> None:
        assert verdict(schema(PERSON), {"age": -1}).reason.endswith(", and more")

    def test_text_that_is_no_json_fails(self) -> None:
        assert "not JSON" in verdict(schema(PERSON), "Sure, here you are").reason

    def test_content_is_not_copied_into_the_comment(self) -> None:
        found = verdict(
            schema({"type": "object", "properties": {"card": {"maxLength": 3}}}), {"card": "4111111111111111"}
        )
        assert found.value is False
        assert "4111" not in found.reason

    def test_a_fence_may_be_allowed(self) -> None:
        assert verdict(schema(PERSON, fenced=True), '```json\n{"name": "Ada"}\n```').value is True

    @pytest.mark.parametrize("levels", [500, 900, 1020])
    def test_a_deep_value_gets_a_verdict(self, levels: int) -> None:
        tree = {"$defs": {"node": {"anyOf": [{"type": "string"}, {"items": {"$ref": "#/$defs/node"}}]}}}
        rule = schema({**tree, "$ref": "#/$defs/node"})
        assert verdict(rule, nested(levels)).value in {True, False}

    @given(JSON)
    def test_any_json_gets_a_verdict(self, value: Any) -> None:
        rule = schema(PERSON)
        assert verdict(rule, json.dumps(value)).value in {True, False}

    def test_true_and_false_are_schemas(self) -> None:
        assert verdict(schema(True), "7").value is True
        assert verdict(schema(False), "7").reason == "$['root']['output']: $ is not allowed"

    def test_a_bad_schema_is_refused_when_it_is_read(self) -> None:
        with pytest.raises(ValidationError, match=r"not a JSON Schema \(2020-12\): \$\.properties\.a\.type") as caught:
            schema({"properties": {"a": {"type": "strin"}}})
        assert caught.value.errors()[0]["loc"] == ("schema",)

    @pytest.mark.parametrize("document", ["{}", 7, None, []])
    def test_what_is_no_object_is_refused(self, document: object) -> None:
        with pytest.raises(ValidationError):
            schema(document)

    def test_it_is_written_back_under_its_name(self) -> None:
        rule = schema(PERSON)
        assert rule.model_dump(mode="json")["schema"] == PERSON
        assert JsonSchema.model_validate(rule.model_dump(mode="json")) == rule


def outcome(rule: Rule, output: Any) -> tuple[object, str]:
    found = rule.check(trace(output=output))
    return (found.value, found.reason) if isinstance(found, Verdict) else (None, found.reason)


class TestOneOf:
    RULE = OneOf(values=("refund", "change", "3", "true"))

    @pytest.mark.parametrize("output", ["refund", " change\n", 3, True, "3"])
    def test_what_is_in_the_list(self, output: Any) -> None:
        assert outcome(self.RULE, output)[0] is True

    @pytest.mark.parametrize("output", ["Refund", "refunds", "", 3.0, False, ["refund"], {"a": "refund"}, "\ud800"])
    def test_what_is_not(self, output: Any) -> None:
        assert outcome(self.RULE, output)[0] is False

    def test_case_need_not_count(self) -> None:
        assert outcome(OneOf(values=("Refund",), ignore_case=True), "REFUND") == (True, "'REFUND' is allowed")

    def test_of_several_values_each_must_be_in_it(self) -> None:
        rule = OneOf(value=Path.parse("$.root.output[*]"), values=("a", "b"))
        assert outcome(rule, ["a", None, "b"]) == (True, "2 values allowed")
        assert outcome(rule, ["a", "c"]) == (False, "'c' is none of 2 allowed values")
        assert outcome(rule, []) == (None, "value not found")

    def test_a_list_is_needed(self) -> None:
        with pytest.raises(ValidationError):
            OneOf.model_validate({"values": []})


class TestNumbers:
    @pytest.mark.parametrize(
        ("output", "number"), [(3, 3.0), (0.5, 0.5), ("3", 3.0), (" -1.5e3\n", -1500.0), (".5", 0.5), ("+7.", 7.0)]
    )
    def test_what_is_a_number(self, output: Any, number: float) -> None:
        assert outcome(NumberValue(), output)[0] == number
        assert outcome(NumberInRange(min=number, max=number), output)[0] is True

    @pytest.mark.parametrize(
        "output",
        [
            "",
            "three",
            "3 apples",
            "1,000",
            "nan",
            "inf",
            "1e999",
            "9" * 5000,
            True,
            [3],
            float("nan"),
            10**400,
            "\u0663x",
        ],
    )
    def test_what_is_none(self, output: Any) -> None:
        assert outcome(NumberValue(), output) == (None, "no number")
        assert outcome(NumberInRange(min=0), output) == (False, "$.root.output is no number")

    def test_both_limits_are_allowed(self) -> None:
        rule = NumberInRange(min=0, max=1)
        assert [outcome(rule, value)[0] for value in (-0.1, 0, 1, 1.1)] == [False, True, True, False]
        assert outcome(rule, 7) == (False, "7, at most 1 allowed")
        assert outcome(rule, -7) == (False, "-7, at least 0 expected")
        assert outcome(rule, None) == (None, "value not found")

    @pytest.mark.parametrize("fields", [{}, {"min": 2, "max": 1}, {"min": float("nan")}])
    def test_senseless_limits_are_refused(self, fields: dict[str, float]) -> None:
        with pytest.raises(ValidationError):
            NumberInRange.model_validate(fields)
