from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.building import ANY_TEXT, nested, step, tool, trace
from traces import BadPath, Path

RECORDED = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
HARMLESS = [
    "$",
    "$..*",
    "$.root.output",
    "$..output",
    "$.observations[?@.type == 'TOOL'].output",
    "$.observations[?@.output == $.root.output].name",
    "$..[?search(@, '(a|aa)+$')]",
    "$..[?match(@.name, @.type)]",
    "$..[?length(@) > 1]",
    "$..[?count(@.*) > 1]",
    "$..[?value(@.a) == value($.root.output)]",
    "$.root.output[-1]",
    "$.root.output[::2]",
]


PLAIN = [
    "$",
    "$.*",
    "$.root.output",
    "$.root.output.a",
    "$.root.output[0]",
    "$.root.output[-2]",
    "$.root.output.*.a",
    "$.root.output[*][1].b",
    "$.root.output[?@.a == 'b']",
    "$.root.output[?'b' == @.a.b].a",
    "$.root.output[?@.a == 'b'][*]",
    "$.observations[?@.type == 'TOOL'].output",
]
KEYED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=20,
)


@given(KEYED)
def test_the_plain_half_of_the_language_answers_as_the_library_does(output: Any) -> None:
    built = trace(tool("a", 1, output="first"), tool("c", 2, output=output), output=output)
    for text in PLAIN:
        path = Path.parse(text)
        assert path._steps is not None
        assert path.values(built) == [each.value for each in path.located(built)]


@pytest.mark.parametrize("text", ["$..a", "$['a','b']", "$[::2]", "$[?@.a]", "$[?@.a != 'b']", "$[?@[0] == 'b']"])
def test_the_rest_of_the_language_is_left_to_the_library(text: str) -> None:
    assert Path.parse(text)._steps is None


class TestSelecting:
    def test_values_come_in_document_order(self) -> None:
        built = trace(tool("a", 1, output="first"), step("b", output="no"), tool("c", 2, output="second"))
        assert Path.parse("$.observations[?@.type == 'TOOL'].output").values(built) == ["first", "second"]

    def test_nothing_selected_is_an_empty_list(self) -> None:
        assert Path.parse("$.root.output.answer").values(trace()) == []
        assert Path.parse("$.root.output.answer").first(trace()) is None

    def test_null_is_a_value(self) -> None:
        assert Path.parse("$.root.output").values(trace(output=None)) == [None]

    def test_first_takes_the_first(self) -> None:
        assert Path.parse("$.root.output[*]").first(trace(output=[3, 4])) == 3

    def test_values_are_located(self) -> None:
        located = Path.parse("$.root.output.items[*]").located(trace(output={"items": ["x", "y"]}))
        assert [(each.where, each.value) for each in located] == [
            ("$['root']['output']['items'][0]", "x"),
            ("$['root']['output']['items'][1]", "y"),
        ]

    def test_what_a_descent_finds_is_located_from_the_root(self) -> None:
        built = trace(output={"a": [{"x": 1}, {"b": {"x": 2}}]})
        for text in ("$.root.output..x", "$.root..x", "$['root']..[?@.x].x"):
            assert [(each.where, each.value) for each in Path.parse(text).located(built)] == [
                ("$['root']['output']['a'][0]['x']", 1),
                ("$['root']['output']['a'][1]['b']['x']", 2),
            ]

    @pytest.mark.parametrize("levels", [99, 101, 500, 1024])
    def test_descent_goes_as_deep_as_the_value(self, levels: int) -> None:
        built = trace(output=nested(levels, {"needle": "found"}))
        assert Path.parse("$.root..needle").values(built) == ["found"]

    def test_descent_stops_before_it_fills_the_memory(self) -> None:
        built = trace(output={"deep": nested(20_000, {"needle": "lost"}), "needle": "found"})
        assert Path.parse("$.root..needle").values(built) == ["found"]

    def test_descent_is_in_the_order_of_the_document(self) -> None:
        built = trace(output={"x": 1, "a": {"x": 2, "b": [{"x": 3}, {"x": 4}]}, "c": {"x": 5}})
        assert Path.parse("$.root.output..x").values(built) == [1, 2, 3, 4, 5]

    def test_descent_inside_a_filter_goes_deep_too(self) -> None:
        built = trace(output=[nested(300, {"needle": 1}), {"other": 1}])
        assert len(Path.parse("$.root.output[?@..needle]").values(built)) == 1

    def test_comparing_values_too_deep_to_compare_selects_nothing(self) -> None:
        built = trace(input=nested(20_000), output=nested(20_000))
        assert Path.parse("$.observations[?@.input == @.output]").values(built) == []

    @given(RECORDED, st.sampled_from(HARMLESS))
    def test_odd_content_never_raises(self, recorded: Any, text: str) -> None:
        built = trace(tool("t", recorded, id="t", output=recorded), output=recorded)
        path = Path.parse(text)
        assert [located.value for located in path.located(built)] == path.values(built)

    @given(RECORDED)
    def test_the_answer_is_selected_as_it_is(self, recorded: Any) -> None:
        assert Path.parse("$.root.output").first(trace(output=recorded)) == recorded


class TestMatching:
    @pytest.mark.parametrize(
        ("pattern", "matched", "searched"),
        [
            ("b.d", [], ["a b-d", "xbxdx"]),
            ("a b.d", ["a b-d"], ["a b-d"]),
            (".*", ["a b-d", "xbxdx", "", "é"], ["a b-d", "xbxdx", "\r", "", "é"]),
            ("[.]", [], []),
            (r"\\.", [], []),
            (r"\\p{Ll}", ["é"], ["a b-d", "xbxdx", "é"]),
        ],
    )
    def test_match_is_the_whole_text_and_search_any_part(
        self, pattern: str, matched: list[str], searched: list[str]
    ) -> None:
        built = trace(output=["a b-d", "xbxdx", "\r", "", 7, None, ["é"], "é"])
        assert Path.parse(f"$.root.output[?match(@, '{pattern}')]").values(built) == matched
        assert Path.parse(f"$.root.output[?search(@, '{pattern}')]").values(built) == searched

    def test_a_pattern_that_stalls_backtracking_engines_does_not_stall_this_one(self) -> None:
        # Any engine that backtracks would need longer than the sun has left.
        built = trace(output=["a" * 5_000 + "b"])
        assert Path.parse("$.root.output[?match(@, '(a|a)*(a|a)*(a|a)*c')]").values(built) == []

    def test_halves_of_characters_match_as_replacement_characters(self) -> None:
        assert Path.parse("$.root.output[?search(@, 'x.y')]").values(trace(output=["x\ud800y"])) == ["x\ud800y"]

    @pytest.mark.parametrize("pattern", ["[", "(?=a)", "a{9999}", 7, None, "a" * 20_000])
    def test_a_recorded_pattern_that_is_none_matches_nothing(self, pattern: object) -> None:
        built = trace(output=[{"text": "a", "pattern": pattern}])
        assert Path.parse("$.root.output[?search(@.text, @.pattern)]").values(built) == []

    def test_recorded_patterns_are_used_without_end_to_memory(self) -> None:
        built = trace(output=[{"text": f"n{i}", "pattern": f"n{i}"} for i in range(600)])
        path = Path.parse("$.root.output[?match(@.text, @.pattern)]")
        assert len(path.values(built)) == 600

    @pytest.mark.parametrize(
        ("pattern", "why"),
        [
            ("[", "missing ]"),
            ("(?=a)b", "look-arounds and backreferences are not supported"),
            (r"(a)\\1", "look-arounds and backreferences are not supported"),
            (r"\\bword", "not an I-Regexp"),
        ],
    )
    def test_a_written_pattern_that_is_none_is_refused(self, pattern: str, why: str) -> None:
        with pytest.raises(BadPath) as caught:
            Path.parse(f"$.observations[?search(@.name, '{pattern}')]")
        assert why in str(caught.value)
        assert "column" in str(caught.value)


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "root.output",
            "$.",
            "$[",
            "$.root output",
            "$[?@.a ==]",
            "$[?nothing(@)]",
            "\ud800",
            "$\x00",
            "$[" * 5000,
        ],
    )
    def test_what_is_no_path_says_so(self, text: str) -> None:
        with pytest.raises(BadPath, match="is not a JSONPath"):
            Path.parse(text)

    @pytest.mark.parametrize("text", ["$[?" + "(" * 20_000, "$[?" + "!" * 20_000 + "@.a]", "$" + "[?@" * 20_000])
    def test_a_path_too_deep_to_read_is_refused_in_few_words(self, text: str) -> None:
        with pytest.raises(BadPath) as caught:
            Path.parse(text)
        assert len(str(caught.value)) < 500

    @given(st.text(max_size=30))
    def test_any_text_is_a_path_or_a_bad_one(self, text: str) -> None:
        with suppress(BadPath):
            assert Path.parse(text).text == text

    def test_paths_are_values(self) -> None:
        one, same, other = Path.parse("$.a"), Path.parse("$.a"), Path.parse("$.b")
        assert one == same != other
        assert len({one, same, other}) == 2
        assert repr(one) == "Path('$.a')"
        assert one != "$.a"


class Chooser(BaseModel):
    value: Path = Path.parse("$.root.output")


class TestAsField:
    def test_text_is_compiled_and_written_back(self) -> None:
        chosen = Chooser.model_validate({"value": "$.root.input"})
        assert chosen.value.first(trace()) == "Please help."
        assert chosen.model_dump() == {"value": "$.root.input"}
        assert Chooser.model_validate_json(chosen.model_dump_json()) == chosen

    def test_a_compiled_path_is_taken_as_it_is(self) -> None:
        path = Path.parse("$.a")
        assert Chooser(value=path).value is path

    @pytest.mark.parametrize("value", ["output", "$["])
    def test_a_bad_path_is_a_validation_error_with_its_reason(self, value: str) -> None:
        with pytest.raises(ValidationError, match="is not a JSONPath"):
            Chooser.model_validate({"value": value})

    @pytest.mark.parametrize("value", [7, None, ["$.a"], {"path": "$.a"}])
    def test_what_is_no_text_is_a_validation_error(self, value: object) -> None:
        with pytest.raises(ValidationError, match=r"expected a JSONPath such as \$\.root\.output"):
            Chooser.model_validate({"value": value})

    def test_the_json_schema_shows_a_string_and_its_default(self) -> None:
        schema = Chooser.model_json_schema()["properties"]["value"]
        assert (schema["type"], schema["default"]) == ("string", "$.root.output")

    def test_several_are_read_in_a_mapping(self) -> None:
        read = TypeAdapter(dict[str, Path]).validate_python({"q": "$.root.input", "a": "$.root.output"})
        assert [path.text for path in read.values()] == ["$.root.input", "$.root.output"]
