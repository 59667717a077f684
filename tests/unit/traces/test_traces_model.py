from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.building import START, step, tool, trace
from traces import Observation, Session, Trace, TraceRef

MODEL_CALL: dict[str, Any] = {"type": "GENERATION", "model": "gpt-5.4-mini", "usage": {"input": 100.0, "output": 20.0}}


class TestObservation:
    def test_latency_is_in_seconds(self) -> None:
        assert step(took=2.5).latency == 2.5

    def test_latency_of_an_open_step_is_unknown(self) -> None:
        assert step(took=None).latency is None

    @pytest.mark.parametrize(
        ("usage", "tokens"),
        [
            ({}, 0.0),
            ({"input": 3.0}, 3.0),
            ({"input": 3.0, "output": 4.0}, 7.0),
            ({"input": 3.0, "output": 4.0, "total": 9.0}, 9.0),
            ({"total": 0.0, "input": 3.0}, 0.0),
        ],
    )
    def test_recorded_total_goes_before_the_sum(self, usage: dict[str, float], tokens: float) -> None:
        assert step(usage=usage).tokens == tokens

    if TYPE_CHECKING:  # where it is frozen: an ignored error that is none would be one itself

        def test_is_frozen(self) -> None:
            step().name = "other"  # type: ignore[misc]

    def test_those_with_the_same_values_are_equal_and_hash_alike(self) -> None:
        ref = TraceRef("t", "r", "production", START, START)
        assert {ref, replace(ref), replace(ref, id="u")} == {ref, TraceRef("u", "r", "production", START, START)}

    def test_document_is_plain_json(self) -> None:
        document = step(metadata={"a": [1]}, usage={"input": 1.0}, output={"b": None}, cost=0.1).document()
        assert json.loads(json.dumps(document)) == document
        assert document["output"] == {"b": None}
        assert document["latency"] == 1.0


class TestTrace:
    def test_ref_takes_the_end_of_the_root(self) -> None:
        built = trace(step(at=30), environment="production")
        assert built.ref == TraceRef("t1", "root", "production", START, START + timedelta(seconds=10))

    def test_ref_of_an_open_root_takes_the_last_moment(self) -> None:
        built = trace(step(at=30, took=5), root_took=None)
        assert built.ref.ended == START + timedelta(seconds=35)

    def test_last_moment_counts_starts_of_open_steps(self) -> None:
        assert trace(step(at=60, took=None)).last_moment == START + timedelta(seconds=60)

    def test_is_open_while_a_step_has_no_end(self) -> None:
        assert trace(step(took=None)).is_open
        assert not trace(step()).is_open

    def test_events_never_end_and_keep_nothing_open(self) -> None:
        assert not trace(step(type="EVENT", took=None)).is_open

    def test_duration_is_that_of_the_root(self) -> None:
        built = trace(step(at=50))
        assert (built.duration, built.latency) == (timedelta(seconds=10), 10.0)

    def test_generations_tools_and_errors_are_picked_in_order(self) -> None:
        steps = (tool("b", 1), step("g", **MODEL_CALL), tool("a", 2, level="ERROR"), step("w", level="WARNING"))
        built = trace(*steps)
        assert [o.name for o in built.tool_calls] == ["b", "a"]
        assert [o.name for o in built.generations] == ["g"]
        assert [o.name for o in built.errors] == ["a"]

    def test_tokens_are_those_of_generations(self) -> None:
        built = trace(step("g1", **MODEL_CALL), step("g2", **MODEL_CALL), step("s", usage={"total": 5.0}))
        assert built.tokens == 240.0

    def test_cost_is_the_sum_of_what_is_known(self) -> None:
        assert trace(step(cost=0.5), step("b"), step("c", cost=0.25)).cost == 0.75

    def test_cost_is_unknown_when_no_step_has_one(self) -> None:
        assert trace(step()).cost is None
        assert trace(step(cost=0.0)).cost == 0.0

    def test_model_is_that_of_the_last_generation_which_has_one(self) -> None:
        steps = (step("1", type="GENERATION", model="a"), step("2", type="GENERATION", model="b"))
        built = trace(*steps, step("3", type="GENERATION"), step("4", model="not a generation"))
        assert built.model == "b"
        assert trace().model is None

    def test_prompt_is_the_last_linked_one(self) -> None:
        steps = (step("1", prompt_name="p", prompt_version=1), step("2", prompt_name="q", prompt_version=0))
        assert trace(*steps, step("3", prompt_name="no version")).prompt == ("q", 0)
        assert trace().prompt is None

    def test_segments_leave_out_what_is_unknown(self) -> None:
        assert trace().segments() == {"environment": "default"}

    def test_segments_are_text(self) -> None:
        call = step(type="GENERATION", model="m", prompt_name="answer", prompt_version=3)
        built = trace(call, name="chat", tags=("b", "a"), release="r1", version="2")
        assert built.segments() == {
            "trace_name": "chat",
            "model": "m",
            "prompt_version": "answer:3",
            "release": "r1",
            "version": "2",
            "environment": "default",
            "tags": "a,b",
        }

    def test_document_is_made_once(self) -> None:
        built = trace()
        assert built.document() is built.document()

    def test_document_holds_every_step_and_the_root_twice(self) -> None:
        document = trace(tool("search", {"q": 1}), user_id="u", tags=("x",)).document()
        assert document["root"] == document["observations"][0]
        assert [o["type"] for o in document["observations"]] == ["SPAN", "TOOL"]
        assert (document["user_id"], document["tags"], document["latency"]) == ("u", ["x"], 10.0)

    def test_a_made_document_changes_neither_equality_nor_repr(self) -> None:
        seen, unseen = trace(), trace()
        seen.document()
        assert seen == unseen
        assert repr(seen) == repr(unseen)

    def test_a_session_keeps_its_traces(self) -> None:
        first = trace()
        assert Session("s", (first,)).traces == (first,)


def test_the_newest_types_need_no_defaults_beyond_what_langfuse_sends() -> None:
    bare = Observation("o", "t", "SPAN", "n", START)
    assert Trace("t", bare, (bare,)).ref.ended == START
