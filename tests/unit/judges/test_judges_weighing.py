"""A score weighed by the probabilities of its levels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges import BooleanScale, CategoricalScale, NumericScale
from judges.answer import BaseScale
from judges.weighing import Token, score_token, unweighable, weighed
from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict

FIVE = NumericScale(type="numeric", min=1, max=5, step=1)
YES_NO = BooleanScale(type="boolean")
USED = Usage("gpt", 1, 100, 20, 0.01)
SAID = Verdict(4.0, "Because.", usage=USED, details={"cut": 7})


def reply(score: str, likely: Mapping[str, float]) -> list[Token]:
    """An answer in tokens, with probabilities at its score."""
    before = ['{"', "reasoning", '":', ' "', "The", " score", ":", " 5", '?",', ' "', "score", '":']
    certain = dict.fromkeys(before, 0.0)
    logarithms = {text: math.log(p) if p > 0 else -9999.0 for text, p in likely.items()}
    return [*(Token(text, {text: certain[text]}) for text in before), Token(score, logarithms), Token("}", {"}": 0.0})]


def verdict(likely: Mapping[str, float], scale: BaseScale = FIVE, said: Verdict = SAID, score: str = " 4") -> Verdict:
    outcome = weighed(said, reply(score, likely), scale)
    assert isinstance(outcome, Verdict)
    return outcome


class TestWeights:
    def test_a_number_is_the_mean_of_its_levels(self) -> None:
        found = verdict({" 4": 0.6, " 5": 0.3, " 3": 0.1})
        assert found.value == pytest.approx(4.2)
        assert found.confidence == pytest.approx(1 - 2 * 0.6 / 4)
        assert found.details == {"cut": 7, "weighed": True, "outside": 0.0, "said": 4.0}
        assert (found.reason, found.usage) == ("Because.", USED)

    def test_what_is_outside_is_left_out_of_the_mean_and_told(self) -> None:
        found = verdict({" 4": 0.57, " 2": 0.38, ' "': 0.04, " 7": 0.01})
        assert found.value == pytest.approx((4 * 0.57 + 2 * 0.38) / 0.95)
        assert found.details["outside"] == 0.05
        assert found.confidence == pytest.approx(1 - 2 * math.sqrt(0.6 * 0.4 * 4) / 4)

    @pytest.mark.parametrize(
        ("likely", "outside"), [({" 4": 0.89}, 11), ({" 4": 0.5, ' "': 0.5}, 50), ({" 4": 0.85, " 6": 0.15}, 15)]
    )
    def test_with_too_much_outside_there_is_no_score(self, likely: dict[str, float], outside: int) -> None:
        failure = weighed(SAID, reply(" 4", likely), FIVE)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.retryable, failure.usage) == ("off_scale", False, USED)
        assert failure.reason.startswith(f"{outside}% of the judge's probability")

    def test_one_level_may_be_written_in_several_ways(self) -> None:
        assert verdict({" 4": 0.4, "4": 0.3, ' "4': 0.1, "2": 0.2}).value == pytest.approx(3.6)

    def test_a_token_that_only_begins_like_a_level_is_none(self) -> None:
        assert verdict({" 4": 0.95, " 4.5": 0.02, " 45": 0.02, "٤": 0.01}).details["outside"] == 0.05

    def test_yes_or_no_is_the_likelier(self) -> None:
        said = Verdict(True, usage=USED)
        found = verdict({" true": 0.3, " false": 0.6, " True": 0.05}, YES_NO, said, " true")
        assert found.value is False
        assert found.confidence == pytest.approx(0.6 / 0.95)

    @given(st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda parts: sum(parts) > 0.01))
    def test_it_is_the_expectation_and_on_the_scale(self, parts: list[float]) -> None:
        shares = [part / sum(parts) for part in parts]
        found = verdict({f" {level}": share for level, share in enumerate(shares, start=1)})
        assert isinstance(found.value, float)
        assert 1 <= found.value <= 5
        assert found.value == pytest.approx(sum(k * p for k, p in enumerate(shares, start=1)))
        assert found.confidence is not None
        assert 0 <= found.confidence <= 1

    @given(st.dictionaries(st.text(max_size=3) | st.sampled_from([" 4", "4", "5"]), st.floats(-50, 1), max_size=20))
    def test_any_tokens_are_weighed_without_an_error(self, likely: dict[str, float]) -> None:
        outcome = weighed(SAID, [Token('"score": '), Token("4", likely)], FIVE)
        assert isinstance(outcome, Verdict | Failure)
        assert not isinstance(outcome, Verdict) or FIVE.min <= float(outcome.value) <= FIVE.max


class TestTokens:
    @pytest.mark.parametrize(
        ("texts", "found"),
        [
            (['{"score"', ": ", "4", "}"], "4"),
            (['{"', "score", '":', " 4", "}"], " 4"),
            (['{"sco', 're":', "4}"], "4}"),
            (["Good.\n", "Score", ":", " ", "4"], "4"),
            (["**Score", ":** ", "4", "/5"], "4"),
            (["a score", ": 5; ", '{"score": ', '"4', '"}'], '"4'),
            (["no", " number"], None),
            (['"score":'], None),
            ([], None),
        ],
    )
    def test_the_last_score_is_found(self, texts: list[str], found: str | None) -> None:
        token = score_token([Token(text) for text in texts])
        assert (token.text if token else None) == found

    @pytest.mark.parametrize(
        "tokens",
        [
            [],
            [Token('{"score": 4}')],
            [Token('{"score":'), Token(" 4"), Token("}")],
            [Token('{"score":'), Token(" 5", {" 5": 0.0}), Token("}")],
            [Token("four", {" 4": 0.0})],
        ],
    )
    def test_without_probabilities_of_what_was_said_the_verdict_stays(self, tokens: list[Token]) -> None:
        found = weighed(SAID, tokens, FIVE)
        assert isinstance(found, Verdict)
        assert (found.value, found.confidence) == (4.0, None)
        assert found.details == {"cut": 7, "weighed": False}

    @pytest.mark.parametrize("outcome", [Unscored("no"), Failure("bad_answer", "x"), NotApplicable("no answer")])
    def test_what_is_no_verdict_is_left_alone(self, outcome: Outcome) -> None:
        assert weighed(outcome, reply(" 4", {" 4": 1.0}), FIVE) is outcome


@pytest.mark.parametrize(
    ("written", "fits"),
    [
        ({"min": 1, "max": 5, "step": 1}, True),
        ({"min": 0, "max": 9, "step": 1}, True),
        ({"min": 0, "max": 8, "step": 2}, True),
        ({"min": 1, "max": 5}, False),
        ({"min": 1, "max": 10, "step": 1}, False),
        ({"min": -1, "max": 1, "step": 1}, False),
        ({"min": 0, "max": 1, "step": 0.5}, False),
    ],
)
def test_levels_are_single_digits(written: dict[str, Any], fits: bool) -> None:
    problem = unweighable(NumericScale(type="numeric", **written))
    assert (problem is None) is fits
    assert fits or "whole numbers from 0 to 9" in str(problem)


def test_yes_and_no_can_be_weighed_and_labels_cannot() -> None:
    assert unweighable(YES_NO) is None
    assert unweighable(CategoricalScale(type="categorical", labels=("a", "b")))
