"""Which observations of a trace get a score, and under which identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from evaluator.sampling.targets import of_observations, of_session, of_trace
from tests.building import START, step, trace
from traces import Observe, Session, Subject, Trace


def calls(number: int, trace_id: str = "t1") -> Trace:
    steps = (step(f"call-{n}", type="TOOL", at=n / 100) for n in range(number))
    return replace(trace(*steps, step("other")), id=trace_id)


@given(st.integers(0, 40), st.integers(1, 40), st.text())
def test_no_more_than_at_most_are_chosen_in_order_each_with_the_probability_that_is_told(
    number: int, most: int, salt: str
) -> None:
    items = [item for item, _ in of_observations(calls(number), Observe(type=("TOOL",), at_most=most), salt)]
    assert len(items) == min(number, most)
    assert {item.chance for item in items} == ({min(1.0, most / number)} if number else set())
    places = [int(str(item.subject.observation_id).removeprefix("call-")) for item in items]
    assert places == sorted(set(places))
    again = of_observations(calls(number), Observe(type=("TOOL",), at_most=most), salt)
    assert [item.subject for item, _ in again] == [item.subject for item in items]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_what_a_lower_bound_chooses_a_higher_one_chooses_too(number: int, one: int, other: int) -> None:
    few, many = (
        {item.subject for item, _ in of_observations(calls(number), Observe(type=("TOOL",), at_most=most), "s")}
        for most in sorted((one, other))
    )
    assert few <= many


def test_each_observation_is_as_likely_as_any_other() -> None:
    chosen = [0] * 8
    for n in range(2_000):
        for item, _ in of_observations(calls(8, f"{n:032x}"), Observe(type=("TOOL",), at_most=2), "s"):
            chosen[int(str(item.subject.observation_id).removeprefix("call-"))] += 1
    # 2,000 traces, two of eight: 500 each with a standard deviation of 19.
    assert all(405 < count < 595 for count in chosen)


def test_a_score_is_dated_by_what_it_is_about() -> None:
    of = calls(2)
    assert (of_trace(of).subject, of_trace(of).at) == (Subject(trace_id="t1"), START + timedelta(seconds=10))
    ((item, part), _) = of_observations(of, Observe(type=("TOOL",)), "s")
    assert (part.whole, part.root.id) == (of, "call-0")
    assert (item.subject, item.at) == (Subject("t1", "call-0"), START + timedelta(seconds=1))


def test_a_session_keeps_the_time_its_score_was_first_written_with() -> None:
    of, first = Session("s", (calls(1),)), START - timedelta(days=2)
    assert of_session(of, None).at == START + timedelta(seconds=10)
    assert of_session(of, first).at == first
    assert of_session(of, None).subject == Subject(session_id="s")
