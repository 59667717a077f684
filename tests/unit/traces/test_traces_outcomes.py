from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import Failure, NotApplicable, Outcome, Unscored, Usage, Verdict, outcome_from_json, outcome_to_json
from traces.outcomes import NOTHING_USED

COUNTS = st.integers(0, 10**12)
USAGES = st.builds(Usage, st.text(), COUNTS, COUNTS, COUNTS, st.floats(0, 1e6))
DETAILS = st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text()), max_size=3)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(
        Verdict,
        st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text(),
        st.text(),
        st.none() | st.floats(0, 1),
        USAGES,
        DETAILS,
    ),
    st.builds(NotApplicable, st.text()),
    st.builds(Unscored, st.text(), USAGES),
    st.builds(Failure, st.text(), st.text(), st.booleans(), USAGES),
)


@given(OUTCOMES)
def test_an_outcome_survives_the_way_through_json(outcome: Outcome) -> None:
    read = outcome_from_json(json.loads(json.dumps(outcome_to_json(outcome))))
    assert read == outcome
    assert type(read) is type(outcome)


@given(st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")))
def test_the_type_of_a_value_survives_the_fast_library_too(value: Any) -> None:
    read = outcome_from_json(orjson.loads(orjson.dumps(outcome_to_json(Verdict(value)))))
    assert isinstance(read, Verdict)
    assert (type(read.value), read.value) == (type(value), value)


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (Verdict(1.0), "verdict"),
        (NotApplicable("x"), "not_applicable"),
        (Unscored("x"), "unscored"),
        (Failure("k", "x"), "failure"),
    ],
)
def test_the_written_form_names_its_kind(outcome: Outcome, name: str) -> None:
    assert outcome_to_json(outcome)["is"] == name


def test_what_is_no_outcome_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        outcome_from_json({"value": 1.0})
    with pytest.raises(KeyError):
        outcome_from_json({"is": "opinion"})


def test_fields_of_a_newer_version_are_left_out() -> None:
    written = {"is": "verdict", "value": 2.0, "mood": "good", "usage": {"calls": 1, "sung_tokens": 5}}
    assert outcome_from_json(written) == Verdict(2.0, usage=Usage(calls=1))


def test_fields_of_an_older_version_take_their_defaults() -> None:
    assert outcome_from_json({"is": "failure", "kind": "k", "reason": "r"}) == Failure("k", "r")


@given(USAGES, USAGES, USAGES)
def test_adding_usage_counts_everything_once(one: Usage, two: Usage, three: Usage) -> None:
    left, right = (one + two) + three, one + (two + three)
    assert (left.calls, left.input_tokens, left.output_tokens) == (right.calls, right.input_tokens, right.output_tokens)
    assert left.calls == one.calls + two.calls + three.calls
    assert left.model == right.model
    assert left.usd == pytest.approx(one.usd + two.usd + three.usd)


@given(USAGES)
def test_nothing_added_changes_nothing(usage: Usage) -> None:
    assert usage + NOTHING_USED == usage == NOTHING_USED + usage


def test_the_last_model_to_answer_gives_its_name() -> None:
    assert (Usage("a", 1) + Usage("b", 1)).model == "b"
    assert (Usage("a", 1) + Usage("", 1)).model == "a"
