"""What is frozen and thawed is the same material: nothing that a path or a transcript sees is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.building import START, step, tool, trace
from traces import Session, Trace, frozen, thawed

TEXT = st.text(st.characters(codec="utf-8"))
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def through_langfuse(material: Trace | Session) -> Trace | Session:
    return thawed(orjson.loads(orjson.dumps(frozen(material))))


def whole(**fields: Any) -> Trace:
    steps = (
        tool("search", {"q": "boots"}, usage={"input": 3.0}, cost=0.1, updated=START + timedelta(seconds=3)),
        step("answer", at=2, type="GENERATION", model="gpt", prompt_name="support", prompt_version=3, level="ERROR"),
        step("event", at=3, took=None, type="EVENT", status_message="late", time_to_first_token=0.2),
        step("below", at=2.5, parent="search-{'q': 'boots'}", metadata={"k": [1, {"a": None}]}),
    )
    known = {"session_id": "s1", "user_id": "u", "tags": ("a", "b"), "release": "r", "version": "v", "name": "ask"}
    return trace(*steps, **{**known, **fields})


@given(JSON, JSON)
def test_a_trace_is_what_it_was_whatever_it_holds(asked: Any, answered: Any) -> None:
    before = whole(input=asked, output=answered)
    after = through_langfuse(before)
    assert after == before
    assert after.document() == before.document()
    assert after.transcript() == before.transcript()


def test_a_step_knows_its_whole_trace() -> None:
    before = whole().at(whole().observations[1])
    after = through_langfuse(before)
    assert isinstance(after, Trace)
    assert (after, after.whole) == (before, before.whole)
    assert after.document() == before.document()


def test_a_session_is_its_traces() -> None:
    before = Session("s1", (whole(), whole(name="second")), older_left_out=True)
    after = through_langfuse(before)
    assert after == before
    assert after.transcript() == before.transcript()


@pytest.mark.parametrize(
    "broken", [{}, {"form": 2}, {"form": 1, "traces": [{}]}, {"form": 1, "traces": []}, {"form": 1, "traces": "x"}]
)
def test_what_is_no_frozen_trace_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"frozen|form|unpack"):
        thawed(broken)


def test_a_step_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="frozen"):
        thawed({**frozen(whole()), "step": "gone"})
