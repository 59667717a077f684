"""What people read of outcomes, filters and rates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from evaluator.definitions import Evaluator
from evaluator.messages.figures import dollars
from evaluator.messages.words import (
    answer_of,
    conditions,
    is_priced,
    percent,
    reason_of,
    seen,
    shortened,
    usage_of,
    usd,
)
from traces import DataType, Failure, NotApplicable, Observe, Outcome, Unscored, Usage, Verdict, When


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({}, "every trace"),
        ({"level": "ERROR"}, "level ERROR"),
        ({"tags": ["a", "b"], "environment": "production"}, "environment production, tags a or b"),
        ({"score": {"name": "user-feedback", "at_most": 0}}, "score user-feedback at_most 0"),
        ({"score": {"name": "tone", "equals": "rude"}}, "score tone equals rude"),
        ({"score": {"name": "ok", "equals": True}}, "score ok equals true"),
        ({"score": {"name": "s", "at_least": 0.5, "at_most": 1}}, "score s at_most 1 at_least 0.5"),
    ],
)
def test_a_filter_in_words(when: dict[str, Any], said: str) -> None:
    assert conditions(When.model_validate(when)) == said


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ({}, "every trace"),
        ({"when": When(level=("ERROR",))}, "level ERROR"),
        (
            {"when": When.model_validate({"metadata": {"plan": ["pro", "team"], "seats": 7}})},
            "metadata plan pro or team seats 7",
        ),
        (
            {"when": When.model_validate({"observation": {"name": "find*", "type": "TOOL"}, "cost": {"at_least": 1}})},
            "cost at_least 1, observation find* type TOOL",
        ),
        ({"observe": Observe(type=("TOOL",))}, "TOOL, at most 20 a trace; every trace"),
        (
            {"observe": Observe(type=("TOOL", "RETRIEVER"), name=("find*",), at_most=3), "when": When(tags=("a",))},
            "TOOL or RETRIEVER find*, at most 3 a trace; tags a",
        ),
        ({"idle": timedelta(minutes=30)}, "every session, idle for 30m"),
        ({"idle": timedelta(hours=2), "when": When(tags=("a",))}, "sessions with a trace of tags a, idle for 2h"),
    ],
)
def test_what_an_evaluator_looks_at_in_words(looks: dict[str, Any], said: str) -> None:
    known = {"name": "n", "kind": "rubric", "when": When(), "sample": (), "version": "v", "data_type": DataType.BOOLEAN}
    assert seen(Evaluator(**{**known, **looks})) == said


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Verdict(True), "true"),
        (Verdict(0.0), "0"),
        (Verdict(3.6666667), "3.667"),
        (Verdict("rude"), "rude"),
        (Unscored("no documents"), "cannot_judge"),
        (NotApplicable("no documents"), "skipped"),
        (Failure("bad_answer", "no JSON"), "bad_answer"),
    ],
)
def test_an_answer_in_a_word(outcome: Outcome, said: str) -> None:
    assert answer_of(outcome) == said


def test_a_reason_is_one_line_that_steers_no_terminal() -> None:
    assert reason_of(Verdict(1.0, "First.\n\x1b[2J  Second.")) == "First. \\x1b[2J Second."


def test_what_was_not_asked_cost_nothing_and_what_has_no_price_is_not_free() -> None:
    assert usd(usage_of(NotApplicable("no documents"))) == "-"
    paid = Verdict(1.0, usage=Usage("gpt", 1, 10, 10, 0.00012))
    assert usd(paid.usage, priced=is_priced(paid)) == "0.00012"
    free = Verdict(1.0, usage=Usage("gpt", 1, 10, 10), details={"unpriced": True})
    assert usd(free.usage, priced=is_priced(free)) == "no price"


def test_shares_and_long_texts() -> None:
    assert [percent(share) for share in (0, 0.0005, 0.05, 1)] == ["0%", "0.05%", "5%", "100%"]
    assert [dollars(amount) for amount in (0, 0.00123, 12.345, 1234.5)] == ["0.00", "0.0012", "12.35", "1,234.50"]
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
