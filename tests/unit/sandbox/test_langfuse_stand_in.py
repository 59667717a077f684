"""The stand-in without its sockets: ingestion, delays, doubles and counts, from one thread and from many."""

from __future__ import annotations

import base64
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sandbox.faults import Faults
from sandbox.langfuse import Behaviour, LangfuseStandIn
from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.control import load_lines
from sandbox.langfuse.limits import Bucket
from sandbox.langfuse.times import iso, milliseconds, now_ms

START = milliseconds("2026-11-20T09:00:00Z")
PROTOBUF = "application/x-protobuf"


def observation(number: int, **fields: Any) -> dict[str, Any]:
    times = {"startTime": iso(START + number * 100_000), "endTime": iso(START + number * 100_000 + 50)}
    return {"id": f"o{number}", "traceId": f"t{number}", "output": "whole"} | times | fields


def score(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {"id": f"s{number}", "name": "n", "value": 1, "traceId": f"t{number}", "timestamp": iso(START)} | fields


def read(langfuse: LangfuseStandIn, **params: Any) -> list[dict[str, Any]]:
    texts = {"fields": "core,basic,io,time", "limit": "1000"} | params
    found: list[dict[str, Any]] = langfuse.observations(MultiDict(texts))["data"]
    return found


def read_all(langfuse: LangfuseStandIn, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        params = {"fields": "core,io,time", "limit": str(limit)} | cursor
        page = langfuse.observations(MultiDict(params))
        rows += page["data"]
        if "cursor" not in page["meta"]:
            return rows
        cursor = {"cursor": page["meta"]["cursor"]}


def an_export(number: int, seed: int = 0) -> bytes:
    random = Random(seed)
    export = ExportTraceServiceRequest()
    scope = export.resource_spans.add().scope_spans.add()
    for place in range(number):
        span = scope.spans.add(trace_id=random.randbytes(16), span_id=random.randbytes(8), name=f"step {place}")
        span.start_time_unix_nano = (START + place) * 1_000_000
        span.end_time_unix_nano = (START + place + 5) * 1_000_000
    return export.SerializeToString()


# --- ingestion ---


def test_spans_become_observations() -> None:
    langfuse = LangfuseStandIn()
    assert langfuse.ingest(an_export(20), PROTOBUF) == 20
    assert [row["name"] for row in read(langfuse)] == [f"step {n}" for n in reversed(range(20))]


def test_the_same_export_twice_changes_nothing() -> None:
    langfuse = LangfuseStandIn()
    for _ in range(2):
        langfuse.ingest(an_export(20), PROTOBUF)
    assert len(read(langfuse)) == 20
    assert langfuse.counts()["observation_rows"] == 20


def test_a_refused_export_stores_nothing() -> None:
    langfuse = LangfuseStandIn()
    broken = ExportTraceServiceRequest.FromString(an_export(3))
    broken.resource_spans[0].scope_spans[0].spans[2].span_id = b""
    with pytest.raises(Refusal):
        langfuse.ingest(broken.SerializeToString(), PROTOBUF)
    assert langfuse.counts()["observations"] == 0


def test_some_spans_come_late() -> None:
    langfuse = LangfuseStandIn(Behaviour(late=0.3, late_seconds=3600, seed=5))
    langfuse.ingest(an_export(200), PROTOBUF)
    assert 110 < len(read(langfuse)) < 170
    assert langfuse.counts()["observations"] == 200


def test_until_an_update_is_visible_the_old_version_is() -> None:
    langfuse = LangfuseStandIn()
    langfuse.load_observations([observation(0, endTime=None)])
    langfuse.load_observations([observation(0, visibleAfter=3600)])
    assert [row["endTime"] for row in read(langfuse)] == [None]


def test_a_loaded_row_replaces_unless_older_ones_are_kept() -> None:
    langfuse = LangfuseStandIn()
    for name in ("first", "second"):
        langfuse.load_observations([observation(0, name=name)])
    assert [row["name"] for row in read(langfuse)] == ["second"]
    newer = observation(0, name="third", updatedAt=iso(now_ms() + 1000))
    langfuse.load_observations([newer], keep_older=True)
    assert [row["name"] for row in read(langfuse)] == ["third", "second"]


@pytest.mark.parametrize(
    "document",
    [
        {"id": "o", "traceId": "t"},
        {"id": "o", "startTime": iso(START)},
        {"traceId": "t", "startTime": iso(START)},
        {"id": "o", "traceId": "t", "startTime": "yesterday"},
        {"id": "o", "traceId": "t", "startTime": iso(START), "type": "STEP"},
        {"id": "o", "traceId": "t", "startTime": iso(START), "level": "FATAL"},
    ],
)
def test_rows_that_cannot_be_stored_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        LangfuseStandIn().load_observations([document])


# --- doubles ---


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 9), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_whatever_doubles_there_are_the_newest_of_each_id_is_met(
    seed: int, limit: int, doubles: float, far: float
) -> None:
    langfuse = LangfuseStandIn(Behaviour(duplicates=doubles, far_duplicates=far, seed=seed))
    langfuse.load_observations(observation(n, startTime=iso(START + n * 7000)) for n in range(25))
    newest: dict[str, dict[str, Any]] = {}
    for row in read_all(langfuse, limit):
        if row["id"] not in newest or row["updatedAt"] > newest[row["id"]]["updatedAt"]:
            newest[row["id"]] = row
    assert {id_: row["output"] for id_, row in newest.items()} == {f"o{n}": "whole" for n in range(25)}


def test_far_doubles_are_met_before_and_after_the_newest_version() -> None:
    langfuse = LangfuseStandIn(Behaviour(duplicates=1.0, far_duplicates=1.0))
    langfuse.load_observations(observation(n) for n in range(50))
    first_seen = {row["id"]: row["output"] for row in reversed(read_all(langfuse, 1000))}
    assert set(Counter(first_seen.values())) == {"whole", None}


def test_one_seed_doubles_the_same_rows() -> None:
    pictures = []
    for _ in range(2):
        langfuse = LangfuseStandIn(Behaviour(duplicates=0.5, seed=9))
        langfuse.load_observations(observation(n) for n in range(30))
        pictures.append([(row["id"], row["startTime"]) for row in read(langfuse)])
    assert pictures[0] == pictures[1]


# --- scores ---

WRITES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 9)),
    max_size=30,
)


@given(WRITES)
def test_the_table_keeps_the_last_row_of_each_day_name_and_id(writes: list[tuple[int, int, str, int]]) -> None:
    langfuse = LangfuseStandIn()
    expected: dict[tuple[int, int, str], int] = {}
    for number, days, name, value in writes:
        langfuse.put_score(score(number, timestamp=iso(START + days * 86_400_000), name=name, value=value))
        expected[number, days, name] = value
    counts = langfuse.counts()
    assert counts["score_rows"] == len(expected)
    assert counts["scores"] == len({number for number, _, _ in expected})
    stored = {
        (int(row["id"][1:]), (milliseconds(row["timestamp"]) - START) // 86_400_000, row["name"]): row["value"]
        for row in langfuse.all_scores()
    }
    assert stored == expected


@given(WRITES)
def test_one_page_shows_each_id_once_with_its_newest_timestamp(writes: list[tuple[int, int, str, int]]) -> None:
    langfuse = LangfuseStandIn()
    newest: dict[str, str] = {}
    for number, days, name, value in writes:
        moment = iso(START + days * 86_400_000)
        langfuse.put_score(score(number, timestamp=moment, name=name, value=value))
        newest[f"s{number}"] = max(moment, newest.get(f"s{number}", ""))
    page = langfuse.scores(MultiDict({"limit": "100"}))["data"]
    assert {found["id"]: found["timestamp"] for found in page} == newest
    assert len(page) == len(newest)


def test_an_update_never_hides_a_score() -> None:
    langfuse = LangfuseStandIn()
    langfuse.put_score(score(value=1))
    langfuse.behaviour.scores_visible_after = 3600
    langfuse.put_score(score(value=2))
    assert [found["value"] for found in langfuse.scores(MultiDict())["data"]] == [2.0]


def test_loaded_scores_keep_their_time_even_on_an_old_server() -> None:
    langfuse = LangfuseStandIn(Behaviour(version="4.16.0"))
    langfuse.load_scores([score()])
    assert langfuse.all_scores()[0]["timestamp"] == iso(START)


def test_unknown_configs_drop_in_silence() -> None:
    langfuse = LangfuseStandIn()
    assert langfuse.put_score(score(configId="nobody")) == "s0"
    assert (langfuse.counts()["scores"], langfuse.counts()["dropped_scores"]) == (0, 1)


# --- access, limits, control ---


def test_keys_are_checked_by_their_secret_half() -> None:
    langfuse = LangfuseStandIn(secret_key="sk-mine")
    langfuse.authorise("Basic " + base64.b64encode(b"anything:sk-mine").decode())
    with pytest.raises(Refusal) as caught:
        langfuse.authorise("Basic " + base64.b64encode(b"pk-lf-sandbox:sk-lf-sandbox").decode())
    assert caught.value.status == 401


def test_ingestion_has_a_limit_of_its_own() -> None:
    langfuse = LangfuseStandIn(Behaviour(requests_per_minute=2, ingestion_per_minute=3))
    langfuse.take(Bucket.GENERAL)
    with pytest.raises(Refusal):
        langfuse.take(Bucket.GENERAL)
    for _ in range(2):
        langfuse.take(Bucket.INGESTION)
    with pytest.raises(Refusal):
        langfuse.take(Bucket.INGESTION)


def test_lines_of_both_kinds_load_together() -> None:
    langfuse = LangfuseStandIn()
    lines = b'{"id":"o","traceId":"t","startTime":"2026-11-20T09:00:00Z"}\n\n{"name":"n","value":1,"traceId":"t"}'
    assert load_lines(langfuse, lines) == {"observations": 1, "scores": 1}


def test_a_broken_line_is_named() -> None:
    with pytest.raises(Refusal, match="line 2"):
        load_lines(LangfuseStandIn(), b'{"name":"n","value":1,"traceId":"t"}\n{')


def test_counts_group_requests_by_route_and_status() -> None:
    langfuse = LangfuseStandIn()
    for status in ("200", "429", "429"):
        langfuse.note_request("GET /x", status)
    assert langfuse.counts()["requests"] == {"GET /x": {"200": 1, "429": 2}}
    assert langfuse.counts()["rate_limited"] == 2


def test_reset_empties_it() -> None:
    langfuse = LangfuseStandIn(faults=Faults(errors=1.0))
    langfuse.load_observations([observation(0)])
    langfuse.put_score(score())
    langfuse.reset()
    assert langfuse.counts() == LangfuseStandIn().counts()
    assert langfuse.faults.errors == 0


def test_many_threads_may_use_it_at_once() -> None:
    langfuse = LangfuseStandIn()

    def work(worker: int) -> None:
        for turn in range(20):
            number = worker * 1000 + turn
            langfuse.load_observations([observation(number)])
            langfuse.put_score(score(number))
            langfuse.counts()
            read(langfuse)
            langfuse.all_scores()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    counts = langfuse.counts()
    assert (counts["observations"], counts["scores"], counts["duplicates"]) == (160, 160, 0)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.integers(0, 40))
def test_reading_between_writes_sees_what_is_there(places: list[int], bound: int) -> None:
    langfuse = LangfuseStandIn()
    there: set[int] = set()
    for place in places:
        langfuse.load_observations([observation(place)])
        there.add(place)
        expected = [f"o{n}" for n in sorted(there, reverse=True) if n < bound]
        assert [row["id"] for row in read(langfuse, toStartTime=iso(START + bound * 100_000))] == expected


# --- ways of misbehaving ---


def test_rows_of_a_page_may_come_in_no_order_and_paging_still_meets_each_once() -> None:
    langfuse = LangfuseStandIn(Behaviour(shuffled=1.0))
    langfuse.load_observations(observation(n) for n in range(40))
    ids = [found["id"] for found in read_all(langfuse, limit=10)]
    assert ids != sorted(ids, key=lambda each: -int(each[1:]))
    assert sorted(ids) == sorted(f"o{n}" for n in range(40))


def test_a_replica_that_is_behind_does_not_know_what_just_came() -> None:
    langfuse = LangfuseStandIn(Behaviour(stale=1.0, stale_seconds=60))
    langfuse.load_observations([observation(0)])
    assert read(langfuse) == []
    langfuse.behaviour.change({"stale": 0.0})
    assert len(read(langfuse)) == 1


def test_a_share_of_scores_is_rejected_each_time_and_not_stored() -> None:
    langfuse = LangfuseStandIn(Behaviour(rejected=0.3))
    refused: list[set[int]] = [set(), set()]
    for again in refused:
        for number in range(200):
            try:
                langfuse.put_score(score(number))
            except Refusal:
                again.add(number)
    assert refused[0] == refused[1]
    assert 40 < len(refused[0]) < 80
    assert len(langfuse.all_scores()) == 200 - len(refused[0])
