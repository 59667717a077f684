"""Rows of Langfuse become values: what is unknown is ignored, what is broken spoils nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from evaluator.langfuse.reading import (
    Row,
    moment,
    newest,
    object_page,
    observation_of,
    observation_page,
    readable,
    root_of,
    score_of_row,
    trace_of,
)
from evaluator.langfuse.scanning import is_excluded, roots_in
from traces import Observation, TooDeep, TraceRef

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
REF = TraceRef("t", "root", "production", START, START + timedelta(seconds=2))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OBSERVATION_KEYS = [
    "type",
    "name",
    "startTime",
    "endTime",
    "parentObservationId",
    "isRootObservation",
    "input",
    "output",
    "level",
    "statusMessage",
    "metadata",
    "model",
    "providedModelName",
    "usageDetails",
    "totalCost",
    "promptName",
    "promptVersion",
    "timeToFirstToken",
    "updatedAt",
    "traceName",
    "environment",
    "userId",
    "sessionId",
    "tags",
    "release",
    "version",
]
SCORE_KEYS = ["name", "value", "dataType", "source", "timestamp", "subject", "environment", "comment", "metadata"]


def row(**fields: Any) -> dict[str, Any]:
    return {
        "id": "root",
        "traceId": "t",
        "type": "SPAN",
        "name": "answer",
        "startTime": "2026-11-20T12:00:00.000Z",
        "endTime": "2026-11-20T12:00:02.000Z",
        **fields,
    }


def written(*rows: Any, **answer: Any) -> bytes:
    return json.dumps({"data": rows, "meta": {}, **answer}).encode()


def page(*rows: Any) -> list[Row]:
    return observation_page(written(*rows)).rows


def observed(**fields: Any) -> Observation:
    (only,) = page(row(**fields))
    return observation_of(only)


def score_row(**fields: Any) -> dict[str, Any]:
    shared = {"id": "s", "name": "helpfulness", "value": 4, "timestamp": "2026-11-20T12:00:00Z"}
    return {**shared, "subject": {"kind": "trace", "id": "t"}, **fields}


class TestObservations:
    def test_little_is_needed_and_what_is_unknown_is_ignored(self) -> None:
        (only,) = page({"id": "o", "traceId": "t", "startTime": "2026-11-20T12:00:00Z", "inTheFuture": {"a": 1}})
        read = observation_of(only)
        assert (read.type, read.name, read.level, read.start, read.end) == ("SPAN", "", "DEFAULT", START, None)
        assert (read.input, read.output, read.model, dict(read.usage), read.cost) == (None, None, None, {}, None)

    @pytest.mark.parametrize(
        ("fields", "model"),
        [
            ({"model": "new", "providedModelName": "old"}, "new"),
            ({"model": None, "providedModelName": "old"}, "old"),
            ({"model": "", "providedModelName": ""}, None),
            ({}, None),
        ],
    )
    def test_a_model_has_two_names(self, fields: dict[str, Any], model: str | None) -> None:
        assert observed(**fields).model == model

    @pytest.mark.parametrize(
        ("usage", "read"),
        [
            ({"input": 0.5, "output": "12", "total": 12.5}, {"input": 0.5, "output": 12.0, "total": 12.5}),
            ({"input": None, "output": "many", "total": True, "cached": [1]}, {}),
            ({"input": "NaN", "output": "inf", "total": 3}, {"total": 3.0}),
            ('{"input": 3}', {"input": 3.0}),
            (None, {}),
        ],
    )
    def test_usage_is_numbers_and_nothing_else(self, usage: Any, read: dict[str, float]) -> None:
        assert dict(observed(usageDetails=usage).usage) == read

    @pytest.mark.parametrize(
        ("metadata", "read"),
        [
            ({"a": 1}, {"a": 1}),
            ('{"a": 1}', {"a": 1}),
            ("free text", {"metadata": "free text"}),
            ("[1]", {"metadata": [1]}),
            ("", {}),
            (None, {}),
        ],
    )
    def test_metadata_is_keys_with_values(self, metadata: Any, read: dict[str, Any]) -> None:
        assert dict(observed(metadata=metadata).metadata) == read

    @pytest.mark.parametrize(
        ("raw", "read"),
        [
            ('{"question": "Why?"}', {"question": "Why?"}),
            ("[1, 2]", [1, 2]),
            ('"quoted"', "quoted"),
            ("plain", "plain"),
            ("{not json", "{not json"),
            ("true story", "true story"),
            ("null", None),
            ("42", 42),
            ("-0.5", -0.5),
            ("1e+16", 1e16),
            ("1.10", "1.10"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("", ""),
            ({"already": "parsed"}, {"already": "parsed"}),
        ],
    )
    def test_input_and_output_come_as_raw_text_or_as_values(self, raw: Any, read: Any) -> None:
        got = observed(input=raw, output=raw)
        assert (got.input, got.output) == (read, read)

    @pytest.mark.parametrize("version", ["three", "inf", "nan", None, [3]])
    def test_a_prompt_version_that_is_no_number_costs_no_row(self, version: Any) -> None:
        assert observed(promptVersion=version).prompt_version is None

    def test_a_prompt_version_may_be_text(self) -> None:
        assert observed(promptVersion="3").prompt_version == 3


class TestBrokenRows:
    @pytest.mark.parametrize("broken", [{"startTime": None}, {"startTime": "soon"}, {"endTime": "soon"}])
    def test_one_is_left_out_named_and_spoils_no_other(self, broken: dict[str, Any]) -> None:
        with structlog.testing.capture_logs() as logs:
            trace = trace_of(page(row(), row(id="bad", input="secret", **broken)), REF)
        assert trace is not None
        assert [o.id for o in trace.observations] == ["root"]
        assert [(log["event"], log["id"]) for log in logs] == [("a row of Langfuse cannot be read", "bad")]
        assert "secret" not in str(logs)

    def test_a_trace_of_nothing_readable_is_none(self) -> None:
        assert trace_of([], REF) is None
        assert trace_of(page(row(startTime="soon")), REF) is None

    @given(st.dictionaries(st.sampled_from(OBSERVATION_KEYS), ANY_JSON))
    def test_any_observation_is_read_or_left_out_and_the_one_beside_it_is_read(self, fields: dict[str, Any]) -> None:
        rows = page(row(**fields), row(id="other"))
        trace = trace_of(rows, REF)
        assert trace is not None
        assert {o.id for o in trace.observations} in ({"root", "other"}, {"other"})
        list(roots_in(rows))

    @pytest.mark.parametrize("odd", [{"tags": 1.0}, {"release": 5}, {"environment": {}}, {"isRootObservation": "yes"}])
    def test_a_value_of_an_odd_type_costs_that_value_only(self, odd: dict[str, Any]) -> None:
        (odd_one, _) = page(row(input="kept", **odd), row(id="other"))
        assert observation_of(odd_one).input == "kept"
        assert trace_of([odd_one], REF) == trace_of(page(row(input="kept")), REF)

    @pytest.mark.parametrize("broken", [None, 7, "row", [], {}, {"id": ""}, {"id": 7}, {"traceId": "t"}])
    def test_what_has_no_id_is_left_out_and_counted_as_having_come(self, broken: Any) -> None:
        found = observation_page(written(broken, row(updatedAt=None), meta={"cursor": "next"}))
        assert ([each.id for each in found.rows], found.came, found.cursor) == (["root"], 2, "next")
        others = object_page(written(broken, row()))
        assert ([each["id"] for each in others.rows], others.came, others.cursor) == (["root"], 2, None)

    @pytest.mark.parametrize("content", [b"", b"[]", b"null", b"<html>", b'{"data": [{"id"', b"[" * 100_000])
    @pytest.mark.parametrize("read", [observation_page, object_page])
    def test_what_is_no_object_is_no_page(self, read: Callable[[bytes], object], content: bytes) -> None:
        with pytest.raises(ValueError, match=r"."):
            read(content)

    @pytest.mark.parametrize(
        "answer", [b"{}", b'{"data": null}', b'{"data": {}, "meta": 5}', b'{"data":[],"meta":null}']
    )
    @pytest.mark.parametrize("read", [observation_page, object_page])
    def test_an_answer_without_rows_is_an_empty_page(self, read: Callable[[bytes], object], answer: bytes) -> None:
        assert read(answer) == ([], 0, None)

    @pytest.mark.parametrize("odd", [{}, {"id": "odd", "traceId": 5}])
    @pytest.mark.parametrize("levels", [1_100, 100_000])
    def test_a_value_without_end_is_told_apart_from_half_an_answer(self, levels: int, odd: dict[str, Any]) -> None:
        deep = written(odd, row(metadata=["deep"])).replace(b'"deep"', b"[" * levels + b"]" * levels)
        with pytest.raises(TooDeep):
            observation_page(deep)

    def test_a_character_cut_in_half_costs_that_character_only(self) -> None:
        cut = written(row(input="to be con\ud83d", name="ok \ud83d\ude00"), row(id="other"))
        (first, _) = observation_page(cut.replace(b'"other"', b'"oth\xffer"')).rows
        assert (first.input, first.name) == ("to be con\ufffd", "ok \U0001f600")

    def test_one_within_the_recorded_json_too(self) -> None:
        assert observed(input=json.dumps({"question": "to be con\ud83d"})).input == {"question": "to be con\ufffd"}

    @given(st.dictionaries(st.sampled_from(SCORE_KEYS), ANY_JSON))
    def test_any_score_is_read_or_left_out(self, fields: dict[str, Any]) -> None:
        assert readable(score_of_row, score_row(**fields)) is None or score_of_row(score_row(**fields)).id == "s"


class TestTraces:
    def test_the_root_named_by_the_reference_counts_and_comes_first(self) -> None:
        child = row(id="a-child", parentObservationId="root")
        other = row(id="other-root", startTime="2026-11-20T11:59:00Z")
        trace = trace_of(page(child, other, row(traceName="chat", tags=["x"], version="v1")), REF)
        assert trace is not None
        assert trace.root.id == "root"
        assert (trace.name, trace.tags, trace.version) == ("chat", ("x",), "v1")
        assert [o.id for o in trace.observations] == ["other-root", "root", "a-child"]

    def test_without_it_the_earliest_root_counts(self) -> None:
        late = row(id="late", startTime="2026-11-20T12:00:01Z")
        child = row(id="child", parentObservationId="gone", startTime="2026-11-20T11:00:00Z")
        trace = trace_of(page(late, child, row(id="early")), REF)
        assert trace is not None
        assert trace.root.id == "early"

    def test_user_and_session_may_stand_at_any_observation(self) -> None:
        child = row(id="child", parentObservationId="root", userId="ada", sessionId="s1", release="r1")
        trace = trace_of(page(row(), child), REF)
        assert trace is not None
        assert (trace.user_id, trace.session_id, trace.release) == ("ada", "s1", "r1")


class TestRoots:
    def test_each_trace_has_one_the_earliest_then_the_smallest_id(self) -> None:
        rows = [
            row(id="c"),
            row(id="b"),
            row(id="z", startTime="2026-11-20T11:59:59Z", traceId="u"),
            row(id="a", traceId="u"),
        ]
        assert {root.ref.id: root.ref.root_id for root in roots_in(page(*rows))} == {"t": "b", "u": "z"}

    @given(st.permutations(["a", "b", "c", "d"]))
    def test_the_order_of_rows_does_not_matter(self, ids: list[str]) -> None:
        assert [root.ref.root_id for root in roots_in(page(*(row(id=name) for name in ids)))] == ["a"]

    @pytest.mark.parametrize("missing", ["endTime", "startTime"])
    def test_one_that_is_open_is_none_yet(self, missing: str) -> None:
        (only,) = page(row(**{missing: None}))
        assert root_of(only) is None

    def test_one_without_a_trace_is_left_out(self) -> None:
        bare = row(id="bare")
        del bare["traceId"]
        assert [root.ref.root_id for root in roots_in(page(bare, row()))] == ["root"]


class TestVersionsOfARow:
    @pytest.mark.parametrize("order", [1, -1])
    def test_the_one_changed_last_is_kept(self, order: int) -> None:
        old, new = row(name="old", updatedAt="2026-11-20T12:00:00Z"), row(name="new", updatedAt="2026-11-20T12:00:05Z")
        assert newest(page(old, new)[::order])["root"].name == "new"

    @pytest.mark.parametrize("order", [1, -1])
    def test_one_without_a_time_is_the_older(self, order: int) -> None:
        assert newest(page(row(name="old"), row(name="new", updatedAt="2026-11-20"))[::order])["root"].name == "new"


class TestScores:
    @pytest.mark.parametrize(
        ("subject", "ids"),
        [
            ({"kind": "trace", "id": "t"}, ("t", None, None)),
            ({"kind": "observation", "id": "o", "traceId": "t"}, ("t", "o", None)),
            ({"kind": "session", "id": "s"}, (None, None, "s")),
            (None, (None, None, None)),
        ],
    )
    def test_what_it_is_about(self, subject: Any, ids: tuple[str | None, ...]) -> None:
        read = score_of_row(score_row(subject=subject))
        assert (read.trace_id, read.observation_id, read.session_id) == ids

    @pytest.mark.parametrize(("value", "read"), [(4, 4.0), (True, 1.0), ("good", "good")])
    def test_its_value(self, value: Any, read: Any) -> None:
        got = score_of_row(score_row(value=value)).value
        assert (got, type(got)) == (read, type(read))

    @pytest.mark.parametrize("broken", [{"value": None}, {"timestamp": None}, {"timestamp": "x"}, {"subject": "t"}])
    def test_one_that_is_broken_is_left_out(self, broken: dict[str, Any]) -> None:
        assert readable(score_of_row, score_row(**broken)) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-20T12:00:00Z", START),
        ("2026-11-20T13:00:00+01:00", START),
        ("2026-11-20T12:00:00", START),
        ("2026-11-20 12:00:00.000", START),
        ("", None),
        (None, None),
        (17, None),
    ],
)
def test_times_without_a_zone_are_utc(text: Any, at: datetime | None) -> None:
    assert moment(text) == at


@pytest.mark.parametrize(
    ("environment", "excluded"),
    [
        ("llm-as-a-judge", True),
        ("sdk-experiment", True),
        ("code-eval", True),
        ("langfuse-llm-as-a-judge", True),
        ("staging", True),
        ("production", False),
        ("my-langfuse", False),
        ("default", False),
    ],
)
def test_environments_of_judges_and_those_named_are_left_out(environment: str, excluded: bool) -> None:
    assert is_excluded(environment, ["staging"]) is excluded
