"""What an evaluator looks at beside a whole trace: some of its steps, a session."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.building import START, step, trace
from traces import Observe, Path, Session, Trace
from traces.targets import KEYS

AGENT = step("agent", type="AGENT", at=1, took=5, output="found it")
MODEL = step("plan", type="GENERATION", parent="agent", at=2, model="small", prompt_name="plan", prompt_version=2)
TOOL = step("search", type="TOOL", parent="plan", at=3, took=0.5, input={"q": 1}, output="one hit", level="ERROR")
OTHER = step("answer", type="GENERATION", at=7, model="big", output="done")


def whole(**fields: Any) -> Trace:
    return trace(AGENT, MODEL, TOOL, OTHER, name="help", **fields)


def values(path: str, of: Trace | Session) -> list[Any]:
    return Path.parse(path).values(of)


class TestStep:
    def test_a_path_sees_the_step_and_the_whole_trace(self) -> None:
        part = whole().at(TOOL)
        assert values("$.observation.output", part) == ["one hit"]
        assert values("$.root.output", part) == ["All done."]
        assert len(values("$.observations[*].name", part)) == 5
        assert values("$.observation", whole()) == []

    def test_its_root_is_the_step_and_its_rest_what_is_below(self) -> None:
        part = whole().at(AGENT)
        assert [each.name for each in part.observations] == ["agent", "plan", "search"]
        assert (part.latency, part.model, part.prompt) == (5, "small", ("plan", 2))
        assert [each.name for each in part.errors] == ["search"]
        assert "answer" not in part.transcript()
        assert "one hit" in part.transcript()

    def test_its_reference_is_its_own(self) -> None:
        part = whole().at(TOOL)
        assert (part.ref.id, part.ref.root_id, part.ref.ended) == ("t1", "search", START + timedelta(seconds=3.5))

    def test_what_it_does_not_tell_of_itself_is_the_whole_traces(self) -> None:
        of = whole(tags=("vip",), release="r1")
        assert of.at(TOOL).segments() == {**of.segments(), "observation_name": "search"}
        assert of.at(AGENT).segments()["model"] == "small"
        assert of.segments()["model"] == "big"
        assert "observation_name" not in of.segments()

    def test_broken_data_may_have_a_step_below_itself(self) -> None:
        first, second = step("first", parent="second"), step("second", parent="first")
        assert len(trace(first, second).at(first).observations) == 2

    @given(st.lists(st.integers(0, 12), max_size=12))
    def test_a_step_and_what_is_below_each_of_its_children_make_it_up(self, parents: list[int]) -> None:
        steps = [step(f"s{n}", parent=f"s{p}" if p < n else "root", at=n) for n, p in enumerate(parents)]
        of = trace(*steps)
        for each in of.observations:
            children = [o for o in of.observations if o.parent_id == each.id]
            below = {o.id for child in children for o in of.at(child).observations}
            assert {o.id for o in of.at(each).observations} == {each.id} | below


class TestObserve:
    @pytest.mark.parametrize(
        ("observe", "names"),
        [
            ({"type": "TOOL"}, ["search"]),
            ({"type": "tool"}, ["search"]),
            ({"type": ["GENERATION", "TOOL"]}, ["plan", "search", "answer"]),
            ({"name": "search"}, ["search"]),
            ({"name": ["search", "pl*"]}, ["plan", "search"]),
            ({"name": "?????"}, ["agent"]),
            ({"type": "GENERATION", "name": "a*"}, ["answer"]),
            ({"name": "S*"}, []),
        ],
    )
    def test_observations_are_chosen_by_type_and_name(self, observe: dict[str, Any], names: list[str]) -> None:
        chosen = Observe.model_validate(observe)
        assert [
            each.name for each in whole().observations if each is not whole().root and chosen.matches(each)
        ] == names

    def test_a_name_with_brackets_means_itself(self) -> None:
        assert Observe(name=("tool[1]",)).matches(step("tool[1]"))

    @pytest.mark.parametrize(
        ("observe", "said"),
        [
            ({}, "needs type, name or both"),
            ({"at_most": 3}, "needs type, name or both"),
            ({"type": "TOOLS"}, "Input should be 'GENERATION', 'SPAN'"),
            ({"type": "TOOL", "at_most": 0}, "greater than or equal to 1"),
            ({"typ": "TOOL"}, "not permitted"),
        ],
    )
    def test_what_is_wrong_is_told(self, observe: dict[str, Any], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            Observe.model_validate(observe)


def session(*outputs: str, **fields: Any) -> Session:
    return Session("s", tuple(trace(input=f"question {n}", output=o) for n, o in enumerate(outputs)), **fields)


class TestSession:
    def test_a_path_sees_its_traces_in_order(self) -> None:
        of = session("one", "two")
        assert values("$.traces[*].root.output", of) == ["one", "two"]
        assert values("$.traces[-1].root.input", of) == ["question 1"]
        assert values("$.root.output", of) == []

    def test_a_transcript_tells_all_traces_one_after_the_other(self) -> None:
        text = session("one", "two").transcript()
        assert text.index("[TRACE 1 of 2]") < text.index("one") < text.index("[TRACE 2 of 2]") < text.index("two")
        assert "left out" not in text
        assert (
            session("one", older_left_out=True).transcript().startswith("[older traces of this session are left out]")
        )

    def test_segments_are_those_of_its_end_and_all_tags(self) -> None:
        early = trace(step("g", type="GENERATION", model="old"), tags=("a",), release="r1", name="chat")
        late = trace(step("g", type="GENERATION", model="new"), tags=("b",), name="chat")
        assert Session("s", (early, late)).segments() == {
            "trace_name": "chat",
            "model": "new",
            "release": "r1",
            "environment": "default",
            "tags": "a,b",
        }

    def test_its_time_and_cost_are_of_all_its_traces(self) -> None:
        of = Session("s", (trace(step("g", cost=0.5)), trace(step("g", cost=0.25))))
        assert (of.latency, of.cost, of.ended) == (10, 0.75, START + timedelta(seconds=10))


def test_what_a_path_may_begin_with_is_what_documents_hold() -> None:
    assert tuple(whole().document()) == KEYS["trace"]
    assert tuple(whole().at(TOOL).document()) == KEYS["observation"]
    assert tuple(session("one").document()) == KEYS["session"]


@pytest.mark.parametrize(
    ("text", "key"),
    [("$.root.output", "root"), ("$['root']", "root"), ("$", None), ("$.*.output", None), ("$..output", None)],
)
def test_a_path_tells_what_it_begins_with(text: str, key: str | None) -> None:
    assert Path.parse(text).key == key
