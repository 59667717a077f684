from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.behaviour import Behaviour
from sandbox.langfuse.query import GROUPS, answer_query, read_query
from sandbox.langfuse.rows import row
from sandbox.langfuse.store import Observations, older_version
from sandbox.langfuse.times import iso, milliseconds
from sandbox.langfuse.xxhash import trace_hash

START = milliseconds("2026-11-23T09:00:00Z")
ENRICHED = {"modelId", "inputPrice", "outputPrice", "totalPrice"}


def table(*documents: dict[str, Any]) -> Observations:
    made = Observations()
    for number, document in enumerate(documents):
        fields = {"id": f"o{number}", "traceId": "t0", "startTime": iso(START + number * 1000)} | document
        made.add(row(fields, project="p", now=START, visible_at=0))
    return made


def ask(
    observations: Observations, behaviour: Behaviour | None = None, now: int = START, **params: Any
) -> dict[str, Any]:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
    return answer_query(read_query(MultiDict(texts)), observations, behaviour or Behaviour(), now)


def ids(observations: Observations, **params: Any) -> list[str]:
    return [found["id"] for found in ask(observations, **params)["data"]]


def status(**params: Any) -> int:
    with pytest.raises(Refusal) as caught:
        ask(table(), **params)
    return caught.value.status


def time_condition(column: str, operator: str, ms: int) -> dict[str, Any]:
    return {"type": "datetime", "column": column, "operator": operator, "value": iso(ms)}


# --- order and pages ---


def test_newest_first() -> None:
    assert ids(table({}, {}, {})) == ["o2", "o1", "o0"]


def test_one_moment_is_ordered_by_the_hash_of_the_trace_then_the_id() -> None:
    made = table(*({"id": f"o{n}", "traceId": f"t{n % 4}", "startTime": iso(START)} for n in range(12)))
    expected = sorted(range(12), key=lambda n: (trace_hash(f"t{n % 4}"), f"o{n}"), reverse=True)
    assert ids(made) == [f"o{n}" for n in expected]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60),
    st.integers(1, 7),
    st.booleans(),
)
def test_pages_meet_every_observation_once_in_order(places: list[tuple[int, int]], limit: int, by_trace: bool) -> None:
    made = table(*({"startTime": iso(START + at), "traceId": f"t{trace}"} for at, trace in places))
    extra: dict[str, Any] = {}
    if by_trace:
        wanted = {"type": "stringOptions", "column": "traceId", "operator": "any of", "value": ["t0", "t1", "t2"]}
        extra["filter"] = [wanted]
    whole = ids(made, limit="1000", **extra)
    walked: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = ask(made, limit=str(limit), **extra, **cursor)
        walked += [found["id"] for found in page["data"]]
        if "cursor" not in page["meta"]:
            break
        assert len(page["data"]) == limit
        cursor = {"cursor": page["meta"]["cursor"]}
    assert walked == whole
    assert len(whole) == sum(trace <= 2 or not by_trace for _, trace in places)


def test_a_full_last_page_has_no_cursor() -> None:
    made = table({}, {})
    assert "cursor" in ask(made, limit="1")["meta"]
    assert ask(made, limit="2")["meta"] == {}


def test_the_cursor_is_the_documented_json() -> None:
    made = table({}, {})
    content = json.loads(base64.b64decode(ask(made, limit="1")["meta"]["cursor"]))
    assert content == {"lastStartTimeTo": iso(START + 1000), "lastTraceId": "t0", "lastId": "o1"}


@pytest.mark.parametrize("cursor", ["x", "e30=", base64.b64encode(b"[1]").decode(), base64.b64encode(b'{"a"').decode()])
def test_a_broken_cursor_is_refused(cursor: str) -> None:
    assert status(cursor=cursor) == 400


@pytest.mark.parametrize("limit", ["1001", "-1", "many"])
def test_a_limit_outside_its_range_is_refused(limit: str) -> None:
    assert status(limit=limit) == 400


def test_limits_at_the_edge_and_the_default() -> None:
    made = table(*({} for _ in range(60)))
    assert len(ids(made)) == 50
    assert len(ids(made, limit="1000")) == 60
    assert ask(made, limit="0") == {"data": [], "meta": {}}


# --- fields ---


def test_default_groups_are_core_and_basic() -> None:
    found = ask(table({}))["data"][0]
    assert set(found) == set(GROUPS["core"]) | set(GROUPS["basic"]) | ENRICHED


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_group_that_is_not_asked_for_is_absent(group: str) -> None:
    found = ask(table({"model": "gpt-4o"}), fields=group)["data"][0]
    assert set(found) == set(GROUPS["core"]) | set(GROUPS[group]) | ENRICHED


def test_unknown_groups_are_dropped_silently() -> None:
    assert set(ask(table({}), fields="nothing")["data"][0]) == set(GROUPS["core"]) | ENRICHED


def test_enrichment_is_null_without_the_model_group() -> None:
    made = table({"model": "gpt-4o"})
    assert ask(made)["data"][0]["inputPrice"] is None
    assert ask(made, fields="model")["data"][0]["inputPrice"] == "0.0000025"


def test_the_model_has_another_name_on_older_servers() -> None:
    made = table({"model": "gpt-4o"})
    assert ask(made, fields="model")["data"][0]["model"] == "gpt-4o"
    old = ask(made, Behaviour(version="4.16.0"), fields="model")["data"][0]
    assert old["providedModelName"] == "gpt-4o"
    assert "model" not in old


def test_input_and_output_are_raw_text() -> None:
    found = ask(table({"input": {"a": 1}, "output": "plain"}), fields="io")["data"][0]
    assert (found["input"], found["output"]) == ('{"a":1}', "plain")


def test_parsing_io_is_refused() -> None:
    assert status(parseIoAsJson="true") == 400
    assert ids(table({}), parseIoAsJson="false") == ["o0"]


def test_metadata_alone_is_cut_and_with_io_whole() -> None:
    made = table({"metadata": {"long": "x" * 300, "short": 1, "deep": {"y": "z" * 300}}})
    alone = ask(made, fields="metadata")["data"][0]["metadata"]
    assert (len(alone["long"]), alone["short"], len(alone["deep"])) == (200, 1, 200)
    assert len(ask(made, fields="metadata", expandMetadata="long")["data"][0]["metadata"]["long"]) == 300
    assert len(ask(made, fields="metadata,io")["data"][0]["metadata"]["long"]) == 300


# --- parameters ---


@pytest.mark.parametrize("name", ["traceId", "name", "level", "userId", "sessionId", "version", "type"])
def test_plain_parameters_are_exact(name: str) -> None:
    wanted = {"level": "ERROR", "type": "TOOL"}.get(name, "x")
    made = table({name: wanted}, {})
    assert ids(made, **{name: wanted}) == ["o0"]


def test_parents() -> None:
    made = table({}, {"parentObservationId": "o0"}, {"parentObservationId": "o1"})
    assert ids(made, parentObservationId="o0") == ["o1"]
    assert ids(made, parentObservationId="") == ["o0"]


def test_a_root_may_have_a_parent_elsewhere() -> None:
    made = table({}, {"parentObservationId": "o0"}, {"parentObservationId": "far", "isRootObservation": True})
    assert ids(made, isRootObservation="true") == ["o2", "o0"]
    assert ids(made, isRootObservation="false") == ["o1"]
    assert status(isRootObservation="yes") == 400


def test_environments_are_repeatable() -> None:
    made = table({"environment": "a"}, {"environment": "b"}, {"environment": "c"})
    query = read_query(MultiDict([("environment", "a"), ("environment", "c")]))
    assert [found["id"] for found in answer_query(query, made, Behaviour(), START)["data"]] == ["o2", "o0"]


def test_time_range_is_half_open() -> None:
    made = table({}, {}, {})
    assert ids(made, fromStartTime=iso(START + 1000), toStartTime=iso(START + 2000)) == ["o1"]
    assert status(fromStartTime="2026-11-23") == 400


def test_unknown_parameters_are_ignored() -> None:
    assert ids(table({}), colour="red") == ["o0"]


def test_a_start_time_condition_drops_both_plain_bounds() -> None:
    made = table({}, {}, {})
    bounds = {"fromStartTime": iso(START + 1000), "toStartTime": iso(START + 2000)}
    assert ids(made, **bounds, filter=[time_condition("startTime", ">=", START)]) == ["o2", "o1", "o0"]
    assert ids(made, **bounds, filter=[time_condition("endTime", ">=", START)]) == []


def test_other_columns_are_anded() -> None:
    made = table({"name": "a"}, {"name": "b"}, {"name": "a", "userId": "u"})
    user = {"type": "string", "column": "userId", "operator": "=", "value": "u"}
    assert ids(made, name="a", filter=[user]) == ["o2"]


def test_a_json_condition_wins_over_the_parameter_on_its_column() -> None:
    made = table({"name": "a"}, {"name": "b"})
    named = {"type": "string", "column": "name", "operator": "=", "value": "b"}
    assert ids(made, name="a", filter=[named]) == ["o1"]


def test_by_id() -> None:
    one = {"type": "string", "column": "id", "operator": "=", "value": "o1"}
    assert ids(table({}, {}, {}), filter=[one]) == ["o1"]


@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from([">", ">="]), st.sampled_from(["<", "<="]))
def test_the_index_on_start_time_agrees_with_the_conditions(low: int, high: int, lower: str, upper: str) -> None:
    made = table(*({} for _ in range(10)))
    conditions = [time_condition("startTime", lower, START + low * 1000)]
    conditions.append(time_condition("startTime", upper, START + high * 1000))
    expected = [
        n for n in range(10) if (n > low if lower == ">" else n >= low) and (n < high if upper == "<" else n <= high)
    ]
    assert ids(made, filter=conditions) == [f"o{n}" for n in reversed(expected)]


# --- how storage shows through ---


def test_rows_are_invisible_until_their_time() -> None:
    made = Observations()
    fields = {"id": "o", "traceId": "t", "startTime": iso(START)}
    made.add(row(fields, project="p", now=START, visible_at=START + 500))
    assert ask(made, now=START + 499)["data"] == []
    assert len(ask(made, now=START + 500)["data"]) == 1


def test_too_many_rows_in_the_window_are_a_422_and_a_narrower_one_is_not() -> None:
    made = table(*({} for _ in range(10)))
    small = Behaviour(most_rows=5)
    with pytest.raises(Refusal) as caught:
        ask(made, small)
    assert caught.value.status == 422
    assert len(ask(made, small, fromStartTime=iso(START + 5000))["data"]) == 5


def test_a_trace_without_time_bounds_is_a_422_too() -> None:
    made = table(*({} for _ in range(10)))
    with pytest.raises(Refusal) as caught:
        ask(made, Behaviour(most_rows=5), traceId="t0")
    assert caught.value.status == 422


def test_a_rewritten_observation_replaces_its_older_version() -> None:
    made = table({"id": "same", "name": "old", "startTime": iso(START)})
    made.add(
        row(
            {"id": "same", "traceId": "t0", "startTime": iso(START), "name": "new"},
            project="p",
            now=START,
            visible_at=0,
        )
    )
    assert [found["name"] for found in ask(made)["data"]] == ["new"]
    assert made.rows == made.observations == 1


def test_one_id_in_two_traces_is_two_observations() -> None:
    made = table({"id": "root", "traceId": "t1"}, {"id": "root", "traceId": "t2"})
    assert made.observations == made.traces == 2
    assert len(ids(made)) == 2


@pytest.mark.parametrize("far", [0.0, 1.0])
def test_an_older_version_is_older_and_lacks_the_output(far: float) -> None:
    made = Observations()
    newest = row(
        {"id": "o", "traceId": "t", "startTime": iso(START), "endTime": iso(START + 5), "output": "x"},
        project="p",
        now=START,
        visible_at=0,
    )
    made.add(newest)
    made.add(older_version(newest, Behaviour(far_duplicates=far), Random(1)), keep_older=True)
    found = ask(made, fields="io,time")["data"]
    assert len(found) == made.rows == 2
    by_update = sorted(found, key=lambda one: str(one["updatedAt"]))
    assert [one["output"] for one in by_update] == [None, "x"]
    assert {one["endTime"] for one in found} == {iso(START + 5)}
    assert (len({one["startTime"] for one in found}) == 2) is bool(far)
    if not far:
        assert found[0]["output"] == "x", "of one key the newest comes first, so no page can hide it"


def test_deleted_traces_are_gone_from_every_index() -> None:
    made = table({"traceId": "t1"}, {"traceId": "t2"}, {"traceId": "t1"})
    made.remove_traces(["t1", "unknown"])
    assert ids(made) == ids(made, isRootObservation="true") == ["o1"]
    assert ids(made, traceId="t1") == []
    assert (made.traces, made.observations) == (1, 1)
