"""Rows of Langfuse become values: what is unknown is ignored, what is broken spoils nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from evaluator.langfuse.reading import moment, newest, observation_of, readable, root_of, score_of_row, trace_of
from evaluator.langfuse.scanning import is_excluded, roots_in
from traces import TraceRef

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
REF = TraceRef("t", "root", "production", START, START + timedelta(seconds=2))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
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


def score_row(**fields: Any) -> dict[str, Any]:
    shared = {"id": "s", "name": "helpfulness", "value": 4, "timestamp": "2026-11-20T12:00:00Z"}
    return {**shared, "subject": {"kind": "trace", "id": "t"}, **fields}


class TestObservations:
    def test_little_is_needed_and_what_is_unknown_is_ignored(self) -> None:
        read = observation_of({"id": "o", "traceId": "t", "startTime": "2026-11-20T12:00:00Z", "inTheFuture": {"a": 1}})
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
        assert observation_of(row(**fields)).model == model

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
        assert dict(observation_of(row(usageDetails=usage)).usage) == read

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
        assert dict(observation_of(row(metadata=metadata)).metadata) == read

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
        got = observation_of(row(input=raw, output=raw))
        assert (got.input, got.output) == (read, read)

    @pytest.mark.parametrize("version", ["three", "inf", "nan", None, [3]])
    def test_a_prompt_version_that_is_no_number_costs_no_row(self, version: Any) -> None:
        assert observation_of(row(promptVersion=version)).prompt_version is None

    def test_a_prompt_version_may_be_text(self) -> None:
        assert observation_of(row(promptVersion="3")).prompt_version == 3


class TestBrokenRows:
    @pytest.mark.parametrize("broken", [{"startTime": None}, {"startTime": "soon"}, {"endTime": "soon"}])
    def test_one_is_left_out_named_and_spoils_no_other(self, broken: dict[str, Any]) -> None:
        with structlog.testing.capture_logs() as logs:
            trace = trace_of([row(), row(id="bad", input="secret", **broken)], REF)
        assert trace is not None
        assert [o.id for o in trace.observations] == ["root"]
        assert [(log["event"], log["id"]) for log in logs] == [("a row of Langfuse cannot be read", "bad")]
        assert "secret" not in str(logs)

    def test_a_trace_of_nothing_readable_is_none(self) -> None:
        assert trace_of([], REF) is None
        assert trace_of([row(startTime="soon")], REF) is None

    @given(st.dictionaries(st.sampled_from(OBSERVATION_KEYS), ANY_JSON))
    def test_any_observation_is_read_or_left_out(self, fields: dict[str, Any]) -> None:
        assert readable(observation_of, row(**fields)) is None or observation_of(row(**fields)).id == "root"
        list(roots_in([row(**fields)]))

    @given(st.dictionaries(st.sampled_from(SCORE_KEYS), ANY_JSON))
    def test_any_score_is_read_or_left_out(self, fields: dict[str, Any]) -> None:
        assert readable(score_of_row, score_row(**fields)) is None or score_of_row(score_row(**fields)).id == "s"


class TestTraces:
    def test_the_root_named_by_the_reference_counts_and_comes_first(self) -> None:
        child = row(id="a-child", parentObservationId="root")
        other = row(id="other-root", startTime="2026-11-20T11:59:00Z")
        trace = trace_of([child, other, row(traceName="chat", tags=["x"], version="v1")], REF)
        assert trace is not None
        assert trace.root.id == "root"
        assert (trace.name, trace.tags, trace.version) == ("chat", ("x",), "v1")
        assert [o.id for o in trace.observations] == ["other-root", "root", "a-child"]

    def test_without_it_the_earliest_root_counts(self) -> None:
        late = row(id="late", startTime="2026-11-20T12:00:01Z")
        child = row(id="child", parentObservationId="gone", startTime="2026-11-20T11:00:00Z")
        trace = trace_of([late, child, row(id="early")], REF)
        assert trace is not None
        assert trace.root.id == "early"

    def test_user_and_session_may_stand_at_any_observation(self) -> None:
        child = row(id="child", parentObservationId="root", userId="ada", sessionId="s1", release="r1")
        trace = trace_of([row(), child], REF)
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
        assert {root.ref.id: root.ref.root_id for root in roots_in(rows)} == {"t": "b", "u": "z"}

    @given(st.permutations(["a", "b", "c", "d"]))
    def test_the_order_of_rows_does_not_matter(self, ids: list[str]) -> None:
        assert [root.ref.root_id for root in roots_in([row(id=name) for name in ids])] == ["a"]

    @pytest.mark.parametrize("missing", ["endTime", "startTime"])
    def test_one_that_is_open_is_none_yet(self, missing: str) -> None:
        assert root_of(row(**{missing: None})) is None

    def test_one_without_a_trace_is_left_out(self) -> None:
        bare = row(id="bare")
        del bare["traceId"]
        assert [root.ref.root_id for root in roots_in([bare, row()])] == ["root"]


class TestVersionsOfARow:
    @pytest.mark.parametrize("order", [1, -1])
    def test_the_one_changed_last_is_kept(self, order: int) -> None:
        old, new = row(name="old", updatedAt="2026-11-20T12:00:00Z"), row(name="new", updatedAt="2026-11-20T12:00:05Z")
        assert newest([old, new][::order])["root"]["name"] == "new"

    @pytest.mark.parametrize("order", [1, -1])
    def test_one_without_a_time_is_the_older(self, order: int) -> None:
        assert newest([row(name="old"), row(name="new", updatedAt="2026-11-20")][::order])["root"]["name"] == "new"


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
