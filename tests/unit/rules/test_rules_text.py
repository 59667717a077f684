from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rules.text import Contains, Forbids, Length, NotEmpty, Regex, TextRule
from tests.building import tool, trace
from traces import NotApplicable, Path, Pattern, Verdict

NOT_FOUND = NotApplicable("value not found")
READERS: list[TextRule] = [
    Length(min=1),
    Regex(pattern=Pattern.parse("a")),
    Contains(any=("a",)),
    Forbids(phrases=("a",)),
]
MESSAGE = {"role": "assistant", "content": "Your refund is on its way."}


def verdict(rule: TextRule | NotEmpty, output: Any) -> Verdict:
    found = rule.check(trace(output=output))
    assert isinstance(found, Verdict)
    return found


class TestNotEmpty:
    @pytest.mark.parametrize("output", ["x", " x ", 0, False, ["x"], {"a": None}, [None], "\u200b", MESSAGE])
    def test_something_is_there(self, output: object) -> None:
        assert verdict(NotEmpty(), output) == Verdict(True, "$.root.output is not empty")

    @pytest.mark.parametrize("output", ["", " \n\t\u00a0", [], {}])
    def test_nothing_is_there(self, output: object) -> None:
        assert verdict(NotEmpty(), output) == Verdict(False, "$.root.output is empty")

    def test_null_is_not_there(self) -> None:
        assert verdict(NotEmpty(), None) == Verdict(False, "$.root.output is not there")

    def test_a_path_that_selects_nothing_fails(self) -> None:
        assert NotEmpty(value=Path.parse("$.root.output.answer")).check(trace()).value is False

    def test_of_several_values_one_is_enough(self) -> None:
        rule = NotEmpty(value=Path.parse("$.observations[?@.type == 'TOOL'].output"))
        assert rule.check(trace(tool("a", 1, output=""), tool("b", 2, output="found"))).value is True
        assert rule.check(trace(tool("a", 1, output=""), tool("b", 2))).value is False


class TestSelectedText:
    @pytest.mark.parametrize("rule", READERS, ids=lambda rule: rule.kind)
    def test_what_is_not_there_is_not_scored(self, rule: TextRule) -> None:
        assert rule.check(trace(output=None)) == NOT_FOUND
        assert rule.model_copy(update={"value": Path.parse("$.root.nothing")}).check(trace()) == NOT_FOUND

    def test_a_message_is_read_as_text(self) -> None:
        assert verdict(Contains(any=("assistant: your refund",)), MESSAGE).value is True

    def test_an_object_is_read_as_json(self) -> None:
        assert verdict(Regex(pattern=Pattern.parse(r'"total": \d+')), {"total": 7}).value is True

    def test_several_values_are_one_text_in_order(self) -> None:
        outputs = Path.parse("$.observations[?@.type == 'TOOL'].output")
        built = trace(tool("a", 1, output="one"), tool("b", 2, output=None), tool("c", 3, output="two"))
        assert Regex(value=outputs, pattern=Pattern.parse(r"\Aone\ntwo\z")).check(built) != NOT_FOUND
        assert Length(value=outputs, min=7, max=7).check(built) == Verdict(True, "7 characters")


class TestLength:
    @pytest.mark.parametrize(
        ("limits", "output", "expected"),
        [
            ({"max": 5}, "12345", Verdict(True, "5 characters")),
            ({"max": 5}, "123456", Verdict(False, "6 characters, at most 5 allowed")),
            ({"min": 1}, "", Verdict(False, "0 characters, at least 1 expected")),
            ({"min": 1}, "é", Verdict(True, "1 character")),
            ({"min": 2, "max": 2}, "漢字", Verdict(True, "2 characters")),
            ({"max": 2, "unit": "words"}, " one\n two ", Verdict(True, "2 words")),
            ({"max": 1, "unit": "words"}, "one two", Verdict(False, "2 words, at most 1 allowed")),
            ({"max": 1000}, "x" * 1200, Verdict(False, "1,200 characters, at most 1,000 allowed")),
        ],
    )
    def test_both_limits_are_allowed(self, limits: dict[str, Any], output: str, expected: Verdict) -> None:
        assert verdict(Length.model_validate(limits), output) == expected

    @pytest.mark.parametrize(
        ("limits", "why"),
        [
            ({}, "needs min, max or both"),
            ({"min": 3, "max": 2}, r"min \(3\) is above max \(2\)"),
            ({"min": -1}, "greater than or equal to 0"),
            ({"max": 1, "unit": "lines"}, "'chars', 'words', 'sentences' or 'tokens'"),
        ],
    )
    def test_senseless_limits_are_refused(self, limits: dict[str, Any], why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Length.model_validate(limits)

    @given(st.text(), st.integers(0, 20), st.integers(0, 20))
    def test_the_verdict_is_the_comparison(self, text: str, one: int, two: int) -> None:
        low, high = sorted((one, two))
        assert verdict(Length(min=low, max=high), text).value is (low <= len(text) <= high)


class TestRegex:
    def test_a_required_match_says_where(self) -> None:
        rule = Regex(pattern=Pattern.parse(r"[A-Z]{2}-\d+"))
        assert verdict(rule, "Order AB-123.") == Verdict(True, r"'[A-Z]{2}-\d+' matches 'AB-123' at character 6")

    def test_a_missing_match_says_how_much_was_searched(self) -> None:
        rule = Regex(pattern=Pattern.parse("x"))
        assert verdict(rule, "abc") == Verdict(False, "no match of 'x' in 3 characters")

    def test_a_forbidden_match_fails(self) -> None:
        rule = Regex(pattern=Pattern.parse("(?i)password"), match="forbidden")
        assert verdict(rule, "the PASSWORD is").value is False
        assert verdict(rule, "nothing").value is True

    def test_a_match_is_not_copied_whole(self) -> None:
        rule = Regex(pattern=Pattern.parse(r"\d{16}"), match="forbidden")
        found = verdict(rule, "card 4111111111111111 of Ada")
        assert "4111111111111111" not in found.reason
        assert found.reason == r"'\d{16}' matches '41111111111…' at character 5"

    def test_a_bad_pattern_is_refused_when_it_is_read(self) -> None:
        with pytest.raises(ValidationError, match="look-arounds and backreferences are not supported") as caught:
            Regex.model_validate({"pattern": "(?=a)"})
        assert caught.value.errors()[0]["loc"] == ("pattern",)

    def test_a_pattern_is_needed(self) -> None:
        with pytest.raises(ValidationError, match="Field required"):
            Regex.model_validate({})


class TestContains:
    @pytest.mark.parametrize(
        ("asked", "output", "expected"),
        [
            ({"any": ["refund"]}, "A Refund.", Verdict(True, "found 'refund' at character 2")),
            ({"any": ["a", "b"]}, "xxb", Verdict(True, "found 'b' at character 2")),
            ({"any": ["a", "b"]}, "xx", Verdict(False, "none of 'a', 'b' found")),
            ({"all": ["a", "b"]}, "b a", Verdict(True, "found 'a' at character 2, 'b' at character 0")),
            ({"all": ["a", "b"]}, "a", Verdict(False, "'b' not found")),
            ({"all": ["a"], "any": ["b", "c"]}, "a c", Verdict(True, "found 'b'")),
            ({"all": ["a"], "any": ["b", "c"]}, "a", Verdict(False, "none of 'b', 'c' found")),
            ({"all": ["a"], "any": ["b"]}, "b", Verdict(False, "'a' not found")),
        ],
    )
    def test_any_and_all(self, asked: dict[str, Any], output: str, expected: Verdict) -> None:
        found = verdict(Contains.model_validate(asked), output)
        assert found.value is expected.value
        if "c" not in output:
            assert found.reason == expected.reason

    def test_case_can_count(self) -> None:
        assert verdict(Contains(any=("Refund",), ignore_case=False), "a refund").value is False

    @pytest.mark.parametrize(
        ("phrase", "text"),
        [
            ("I can't help", "Sorry, I can\u2019t help."),
            ("I can\u2019t help", "Sorry, I can't help."),
            ('the "best"', "the \u201cbest\u201d"),
            ("10 km", "10\u00a0km"),
            ("café", "cafe\u0301"),
            ("STRASSE", "Straße"),
            ("ΣΟΦΟΣ", "σοφος"),
        ],
    )
    def test_forms_of_the_same_text_are_the_same(self, phrase: str, text: str) -> None:
        assert verdict(Contains(any=(phrase,)), text).value is True

    @pytest.mark.parametrize(
        ("phrase", "text", "there"),
        [
            ("rate", "generate", False),
            ("rate", "generate at a rate", True),
            ("rate", "rated", False),
            ("rate", "(rate)", True),
            ("rate", "rate_limit", False),
            ("tür", "eintür", False),
            ("Tür", "die Tür.", True),
            ("e", "cafe\u0301", False),
            ("C++", "C++17 and C++", True),
            ("$5", "US$5", True),
            ("$5", "US$55", False),
            ("as an AI", "as an AIR", False),
            ("क", "कि", False),
            ("कि", "यह कि वह", True),
        ],
    )
    def test_whole_words(self, phrase: str, text: str, there: bool) -> None:
        assert verdict(Contains(any=(phrase,), whole_words=True), text).value is there

    def test_many_phrases_are_not_all_listed(self) -> None:
        phrases = tuple(f"phrase{i}" for i in range(100))
        found = verdict(Contains(all=phrases), "nothing")
        assert found.reason.endswith("'phrase4' and 95 more not found")

    @pytest.mark.parametrize(
        ("asked", "why"),
        [({}, "needs any, all or both"), ({"any": ["a", " "]}, "may not be blank"), ({"all": "a"}, "valid tuple")],
    )
    def test_what_asks_for_nothing_is_refused(self, asked: dict[str, Any], why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Contains.model_validate(asked)

    @given(st.text(min_size=1).filter(str.strip), st.text(), st.text())
    def test_a_phrase_is_found_in_any_text_around_it(self, phrase: str, before: str, after: str) -> None:
        exact = Contains(any=(phrase,), ignore_case=False)
        # A mark that follows would become one with the last letter: then the phrase is indeed not there.
        assert verdict(exact, f"{before} {phrase} {after}").value is True


class TestForbids:
    def test_none_found(self) -> None:
        rule = Forbids(phrases=("as an AI", "I cannot"))
        assert verdict(rule, "Here you are.") == Verdict(True, "none of 2 phrases found")

    def test_found_says_which_and_where(self) -> None:
        rule = Forbids(phrases=("as an AI", "I cannot"))
        assert verdict(rule, "Well, as an ai I") == Verdict(False, "found 'as an AI' at character 6")

    def test_whole_words(self) -> None:
        assert verdict(Forbids(phrases=("rate",), whole_words=True), "generate").value is True

    @pytest.mark.parametrize("phrases", [[], [""], ["ok", "\n"]])
    def test_blank_phrases_are_refused(self, phrases: list[str]) -> None:
        with pytest.raises(ValidationError):
            Forbids.model_validate({"phrases": phrases})

    @given(st.text(), st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
    def test_it_is_the_opposite_of_containing_any(self, text: str, phrases: list[str]) -> None:
        some = tuple(phrases)
        assert verdict(Forbids(phrases=some), text).value is not verdict(Contains(any=some), text).value
