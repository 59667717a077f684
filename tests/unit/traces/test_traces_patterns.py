from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from pydantic import BaseModel, ValidationError

from tests.building import ANY_TEXT
from traces import BadPattern, Pattern
from traces.jsonpath import compile_iregexp
from traces.patterns import LONGEST_PATTERN


class Holder(BaseModel):
    pattern: Pattern


class TestSearching:
    @pytest.mark.parametrize(
        ("pattern", "text", "span"),
        [
            ("b+", "aabbb", (2, 5)),
            ("b", "aaa", None),
            ("", "abc", (0, 0)),
            ("(?i)REFUND", "a refund", (2, 8)),
            (r"\d+", "é漢😀 42", (4, 6)),
            ("b", "a\x00b", (2, 3)),
            ("x.y", "x\ud800y", (0, 3)),
            ("😀", "\ud83d\ude00", (0, 1)),
            ("(?s)a.b", "a\nb", (0, 3)),
            ("a.b", "a\nb", None),
        ],
    )
    def test_places_are_counted_in_characters(self, pattern: str, text: str, span: tuple[int, int] | None) -> None:
        assert Pattern.parse(pattern).search(text) == span

    def test_matches_is_about_the_whole_text(self) -> None:
        assert Pattern.parse("a+").matches("aaa")
        assert not Pattern.parse("a+").matches("aab")

    def test_a_megabyte_is_searched(self) -> None:
        assert Pattern.parse("(x+x+)+y").search("x" * 1_000_000) is None

    @given(ANY_TEXT)
    def test_no_text_raises(self, text: str) -> None:
        Pattern.parse(r"(?is)(\w+\W*)*$").search(text)


class TestParsing:
    @pytest.mark.parametrize("text", ["(?=a)b", "(?!a)b", r"(a)\1"])
    def test_what_needs_backtracking_is_refused_with_the_reason(self, text: str) -> None:
        with pytest.raises(BadPattern, match=r"not supported, since patterns must run in linear time"):
            Pattern.parse(text)

    @pytest.mark.parametrize(
        ("text", "why"),
        [("(", "missing )"), ("[a-", "missing ]"), ("x{2000}", "invalid repetition size"), ("a++", "bad repetition")],
    )
    def test_what_is_wrong_is_said(self, text: str, why: str) -> None:
        with pytest.raises(BadPattern) as caught:
            Pattern.parse(text)
        assert why in str(caught.value)
        assert repr(text) in str(caught.value)

    def test_nothing_is_printed_about_a_bad_pattern(self, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(BadPattern):
            Pattern.parse("(")
        assert capfd.readouterr() == ("", "")

    def test_a_lone_surrogate_is_refused(self) -> None:
        with pytest.raises(BadPattern, match="lone surrogate"):
            Pattern.parse("a\ud800")

    def test_a_pattern_of_inhuman_length_is_refused(self) -> None:
        with pytest.raises(BadPattern, match="this one has 10001"):
            Pattern.parse("a" * (LONGEST_PATTERN + 1))

    def test_a_pattern_too_large_to_compile_is_refused_in_few_words(self) -> None:
        with pytest.raises(BadPattern) as caught:
            Pattern.parse("((a{100}){100}){100}" + "b" * 5000)
        assert len(str(caught.value)) < 300

    @given(ANY_TEXT)
    def test_any_text_is_a_pattern_or_a_bad_one(self, text: str) -> None:
        with suppress(BadPattern):
            assert Pattern.parse(text).text == text

    def test_patterns_are_values(self) -> None:
        assert Pattern.parse("a") == Pattern.parse("a") != Pattern.parse("b")
        assert repr(Pattern.parse(r"\d")) == r"Pattern('\\d')"


class TestAsField:
    def test_text_is_compiled_and_written_back(self) -> None:
        held = Holder.model_validate({"pattern": "a+"})
        assert held.pattern.matches("aa")
        assert held.model_dump(mode="json") == {"pattern": "a+"}

    def test_errors_are_validation_errors(self) -> None:
        with pytest.raises(ValidationError, match=r"look-arounds and backreferences are not supported"):
            Holder.model_validate({"pattern": "(?<=a)b"})
        with pytest.raises(ValidationError, match="expected a regular expression such as"):
            Holder.model_validate({"pattern": 7})

    def test_the_json_schema_is_a_string(self) -> None:
        assert Holder.model_json_schema()["properties"]["pattern"]["type"] == "string"


class TestIRegexp:
    @pytest.mark.parametrize(
        ("text", "matching", "other"),
        [
            ("a.c", ["abc", "a😀c"], ["a\nc", "a\rc"]),
            ("a[.]c", ["a.c"], ["abc"]),
            (r"a\.c", ["a.c"], ["abc"]),
            (r"[\]x.]", ["]", ".", "x"], ["a"]),
            (r"\[.\]", ["[a]"], ["[\r]"]),
            ("[^a]", ["b"], ["a"]),
        ],
    )
    def test_dots_stop_at_line_ends_but_not_inside_classes(
        self, text: str, matching: list[str], other: list[str]
    ) -> None:
        compiled = compile_iregexp(text)
        assert all(compiled.matches(one) for one in matching)
        assert not any(compiled.matches(one) for one in other)
