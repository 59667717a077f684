from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rules.base import Rule
from rules.style import (
    LANGUAGES,
    Language,
    MaxReadingDifficulty,
    MaxRepetition,
    ReadingDifficulty,
    Repetition,
    TextLength,
    _identifier,
)
from rules.text import Length
from rules.words import LONGEST, runs, sentences, without_code, words
from tests.building import trace
from traces import NotApplicable, Path, Verdict

GERMAN = "Ihre Bestellung ist unterwegs und kommt morgen an."
ENGLISH = "Your order is on its way and will arrive tomorrow."
FEW_WORDS = NotApplicable("too few words")


def said(rule: Rule, output: Any, **fields: Any) -> Verdict:
    found = rule.check(trace(output=output, **fields))
    assert isinstance(found, Verdict), found
    return found


class TestWords:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Don\u2019t stop, it's re-used.", ["don't", "stop", "it's", "re-used"]),
            ("漢字 and かな", ["漢", "字", "and", "か", "な"]),
            ("x" * 41, ["x"] * 41),
            ("a_b 3.5", ["a_b", "3", "5"]),
            ("\ud800 \x00", []),
        ],
    )
    def test_words(self, text: str, expected: list[str]) -> None:
        assert words(text) == expected

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("", 0),
            ("...", 0),
            ("One. Two! Three?", 3),
            ("No end", 1),
            ("Version 3.5 is out.", 1),
            ('He said "Go." Then left.', 2),
            ("第一。第二\uff01", 2),
            ("." * (LONGEST - 1) + "a", 1),
        ],
    )
    def test_sentences(self, text: str, number: int) -> None:
        assert sentences(text) == number

    def test_runs(self) -> None:
        assert runs(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
        assert runs(["a"], 2) == []

    @given(st.text(alphabet="a`\n "))
    def test_without_code_keeps_every_place(self, text: str) -> None:
        left = without_code(text)
        assert len(left) == len(text)
        assert all(now in {before, " "} for now, before in zip(left, text, strict=True))

    def test_endless_texts_are_read_so_far(self) -> None:
        assert len(words("a " * LONGEST)) == LONGEST / 2


class TestTextLength:
    @pytest.mark.parametrize(
        ("unit", "expected"),
        [("chars", 10.0), ("words", 2.0), ("sentences", 2.0)],
    )
    def test_units(self, unit: Any, expected: float) -> None:
        assert said(TextLength(unit=unit), "One. Two. ").value == expected

    def test_tokens_are_an_estimate(self) -> None:
        assert said(TextLength(unit="tokens"), "") == Verdict(0.0, "about 0 tokens")
        assert 8 < float(said(TextLength(unit="tokens"), ENGLISH).value) < 16

    def test_limits_in_the_new_units(self) -> None:
        assert said(Length(max=1, unit="sentences"), "One. Two.") == Verdict(False, "2 sentences, at most 1 allowed")
        assert said(Length(max=20, unit="tokens"), "Short.").value is True


class TestReadingDifficulty:
    EASY = "The cat sat on the mat. It was red. The dog ran to it. " * 3
    HARD = "Notwithstanding aforementioned contractual obligations, counterparties acknowledge jurisdictional " * 5

    def test_the_formula(self) -> None:
        # 42 words in 9 sentences, none long; then 35 words in one, all of them long.
        assert said(ReadingDifficulty(), self.EASY).value == pytest.approx(42 / 9)
        assert said(ReadingDifficulty(), self.HARD).value == pytest.approx(35 + 100)

    def test_the_limit(self) -> None:
        assert said(MaxReadingDifficulty(), self.EASY).value is True
        found = said(MaxReadingDifficulty(), self.HARD)
        assert found.value is False
        assert found.reason.endswith("; at most 55 allowed")

    def test_code_and_short_texts_are_left_out(self) -> None:
        assert ReadingDifficulty().check(trace(output="Short.")) == FEW_WORDS
        assert ReadingDifficulty().check(trace(output=f"```\n{self.HARD}\n```")) == FEW_WORDS


class TestRepetition:
    PROSE = " ".join(f"word{number} and" for number in range(40))

    def test_prose_repeats_little_and_a_loop_all(self) -> None:
        assert said(Repetition(), self.PROSE).value == 0.0
        for loop in ("I am sorry about that. " * 50, "a" * 5000, "漢字仮名" * 50):
            assert float(said(Repetition(), loop).value) > 0.9

    def test_the_limit(self) -> None:
        assert said(MaxRepetition(), self.PROSE).value is True
        found = said(MaxRepetition(at_most=0.25), f"{self.PROSE} {'again and again and again ' * 40}")
        assert found.value is False
        assert "runs of 4 words were there before; at most 0.25 allowed" in found.reason

    def test_a_short_text_is_not_scored(self) -> None:
        assert Repetition().check(trace(output="ha ha ha ha ha ha")) == FEW_WORDS


class TestLanguage:
    @pytest.mark.parametrize(
        ("rule", "output", "expected"),
        [
            (Language(allowed=("de",)), GERMAN, Verdict(True, "the language is de; de allowed")),
            (Language(allowed=("de", "fr")), ENGLISH, Verdict(False, "the language is en; de or fr allowed")),
        ],
    )
    def test_one_of_some(self, rule: Language, output: str, expected: Verdict) -> None:
        assert said(rule, output) == expected

    def test_the_language_of_the_question(self) -> None:
        rule = Language(same_as=Path.parse("$.root.input"))
        assert said(rule, GERMAN, input="Wo bleibt denn meine Bestellung von gestern?").value is True
        assert said(rule, ENGLISH, input="Wo bleibt denn meine Bestellung von gestern?").value is False

    @pytest.mark.parametrize(
        "output", ["", "OK, done!", "12345 " * 20, f"```\n{ENGLISH}\n```", {"a": 1}, "\ud800" * 50]
    )
    def test_what_cannot_be_told_is_not_scored(self, output: Any) -> None:
        assert Language(allowed=("en",)).check(trace(output=output)) == NotApplicable("language not certain")

    @pytest.mark.parametrize(
        ("fields", "why"), [({}, "needs allowed"), ({"allowed": ["xx"]}, "no language we can tell")]
    )
    def test_what_allows_nothing_is_refused(self, fields: dict[str, Any], why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Language.model_validate(fields)

    def test_the_languages_are_those_of_the_model(self) -> None:
        assert {label for label in _identifier().labels if len(label) == 2} == LANGUAGES
