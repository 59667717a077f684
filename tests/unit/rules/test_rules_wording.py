from __future__ import annotations

from typing import Any

import pytest

from rules.text import TextRule
from rules.wording import Boilerplate, Placeholder, Profanity, Refusal
from tests.building import trace
from traces import NotApplicable, Verdict


def passes(rule: TextRule, output: Any) -> bool:
    found = rule.check(trace(output=output))
    assert isinstance(found, Verdict)
    return bool(found.value)


@pytest.mark.parametrize("rule", [Refusal(), Boilerplate(), Profanity(), Placeholder()], ids=lambda rule: rule.kind)
class TestEveryOne:
    @pytest.mark.parametrize(
        "output", ["", "Your order is on its way.", "Ich habe Ihre Bestellung storniert.", {"a": 1}]
    )
    def test_ordinary_answers_pass(self, rule: TextRule, output: Any) -> None:
        assert passes(rule, output)

    def test_what_is_not_there_is_not_scored(self, rule: TextRule) -> None:
        assert rule.check(trace(output=None)) == NotApplicable("value not found")


class TestRefusal:
    @pytest.mark.parametrize(
        "output",
        [
            "I'm sorry, but I can\u2019t assist with that request.",
            "Unfortunately I am unable to help you.",
            "I must decline.",
            "Dabei kann ich nicht helfen.",
            "Désolé, je ne peux pas vous aider.",
            "Lo siento, pero no puedo hacerlo.",
            "Mi dispiace, ma non posso farlo.",
            "Desculpe, mas não posso ajudar.",
            "Daar kan ik je niet mee helpen.",
            "抱歉, 我无法帮助您。",
            "申し訳ありませんが、お手伝いできません。",
        ],
    )
    def test_refusals_in_several_languages(self, output: str) -> None:
        assert not passes(Refusal(), output)

    def test_the_phrase_is_named_with_its_place(self) -> None:
        found = Refusal().check(trace(output="Well, I can't assist with that."))
        assert found == Verdict(False, "found 'i can't assist' at character 6")

    @pytest.mark.parametrize(
        "output", ["The refund was declined by the bank.", "You can't assist others in this game."]
    )
    def test_what_only_looks_like_one(self, output: str) -> None:
        assert passes(Refusal(), output)

    def test_only_the_beginning_is_looked_at(self) -> None:
        late = "Here is the story. " * 30 + "He said: I can't assist you."
        assert passes(Refusal(), late)
        assert not passes(Refusal(within=10_000), late)
        assert not passes(Refusal(), " \n" * 400 + "I can't assist you.")

    def test_the_list_can_be_changed(self) -> None:
        assert passes(Refusal(but_not=("I must decline",)), "I must decline.")
        assert not passes(Refusal(also=("computer says no",)), "Computer says no!")


class TestBoilerplate:
    @pytest.mark.parametrize(
        "output",
        [
            "As an AI, I have no feelings.",
            "My knowledge cutoff is 2023",
            "Als KI-Sprachmodell habe ich …",
            "En tant qu\u2019IA, je",
            "作为一个AI语言模型",
        ],
    )
    def test_models_speaking_of_themselves(self, output: str) -> None:
        assert not passes(Boilerplate(), output)

    @pytest.mark.parametrize("output", ["as an airline we", "was an AI", "als Kind", "como iam"])
    def test_whole_words_only(self, output: str) -> None:
        assert passes(Boilerplate(), output)


class TestProfanity:
    @pytest.mark.parametrize("output", ["What the FUCK", "so ein Scheiss", "Scheiße!", "vete a la mierda", "kurwa."])
    def test_swear_words(self, output: str) -> None:
        assert not passes(Profanity(), output)

    @pytest.mark.parametrize(
        "output", ["Scunthorpe", "a shitake mushroom", "assess the class", "mishit", "Dick Cheney"]
    )
    def test_innocent_words(self, output: str) -> None:
        assert passes(Profanity(), output)


class TestPlaceholder:
    @pytest.mark.parametrize(
        "output",
        [
            "Dear {{ customer.name }},",
            "Hello ${userName}!",
            "Hi <%= name %>",
            "Hi %(name)s",
            "Dear [Your Name],",
            "Call [insert phone number]",
            "on <insert date>",
            "T\x4fDO: write this",
            "FIX\x4dE",
            "Lorem ipsum dolor",
            "Your order [object Object] is",
        ],
    )
    def test_what_was_left_open(self, output: str) -> None:
        assert not passes(Placeholder(), output)

    @pytest.mark.parametrize(
        "output",
        [
            "todo list",
            "{a: 1}",
            "$5 {net}",
            "[1]",
            "[youth]",
            "<b>bold</b>",
            "array[insertIndex]",
            "$ {x}",
        ],
    )
    def test_what_is_none(self, output: str) -> None:
        assert passes(Placeholder(), output)

    def test_code_is_skipped_unless_asked_for(self) -> None:
        text = "Write `{{name}}` or\n```jinja\nHello {{ name }}\n```\nand save."
        assert passes(Placeholder(), text)
        assert not passes(Placeholder(code=True), text)
        assert not passes(Placeholder(), f"{text} Regards, {{{{me}}}}")

    def test_the_first_is_named_and_the_others_counted(self) -> None:
        found = Placeholder().check(trace(output="Hi {{a}}, {{b}} and {{c}}"))
        assert found == Verdict(False, "'{{a}}' at character 3, and 2 more")
