"""Times, the hash, environments, the sorted timeline, rate limits, prices, set-up of the stand-in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.langfuse.answers import Refusal, bad_request, invalid, issue, narrow, not_found, server_error
from sandbox.langfuse.behaviour import Behaviour
from sandbox.langfuse.environments import environment_name
from sandbox.langfuse.limits import Bucket, RateLimiter
from sandbox.langfuse.prices import enrich
from sandbox.langfuse.timeline import Timeline
from sandbox.langfuse.times import day, iso, javascript_date, milliseconds, now_ms
from sandbox.langfuse.xxhash import trace_hash, xxh32

# --- times ---


def test_iso_has_milliseconds_and_a_z() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_764_000_000_123) == "2025-11-24T16:00:00.123Z"


@given(st.integers(0, 4_000_000_000_000))
def test_iso_and_milliseconds_are_inverse(ms: int) -> None:
    assert milliseconds(iso(ms)) == ms


@pytest.mark.parametrize("text", ["2026-11-23T10:00:00+01:00", "2026-11-23T09:00:00Z", "2026-11-23T09:00:00.000000Z"])
def test_offsets_are_honoured(text: str) -> None:
    assert milliseconds(text) == milliseconds("2026-11-23T09:00:00.000Z")


def test_microseconds_are_cut_not_rounded() -> None:
    assert milliseconds("2026-11-23T09:00:00.123999Z") % 1000 == 123


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-11-23", "2026-11-23T10:00:00", None, 5, "2026-13-40T00:00:00Z"]
)
def test_what_is_no_moment_with_an_offset_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        milliseconds(text)


def test_day_changes_at_midnight_utc() -> None:
    before, after = milliseconds("2026-11-23T23:59:59.999Z"), milliseconds("2026-11-24T00:00:00Z")
    assert day(after) == day(before) + 1


def test_javascript_date_is_a_string_no_client_parses_as_a_number() -> None:
    text = javascript_date(milliseconds("2026-11-23T09:05:07Z"))
    assert text == "Mon Nov 23 2026 09:05:07 GMT+0000 (Coordinated Universal Time)"


def test_now_is_now() -> None:
    assert abs(now_ms() - time.time() * 1000) < 5000


# --- xxHash32: vectors published with the algorithm ---


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", 0x02CC5D05),
        (b"a", 0x550D7456),
        (b"abc", 0x32D153FF),
        (b"Nobody inspects the spammish repetition", 0xE2293B2F),
    ],
)
def test_hash_vectors(data: bytes, digest: int) -> None:
    assert xxh32(data) == digest


@given(st.binary(max_size=100))
def test_hash_is_32_bits(data: bytes) -> None:
    assert 0 <= xxh32(data) < 2**32


def test_trace_hash_is_of_the_text() -> None:
    assert trace_hash("abc") == xxh32(b"abc")


# --- environments ---


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("production", "production"),
        ("Production", "production"),
        (None, "default"),
        ("", "default"),
        ("with space", "default"),
        ("langfuse-llm-as-a-judge", "llm-as-a-judge"),
        ("langfuse-langfuse_x", "x"),
        ("LANGFUSE-x", "x"),
        ("langfuse", "langfuse"),
        ("e" * 60, "e" * 40),
        ("ünïcode", "default"),
    ],
)
def test_environment_names(given_name: str | None, stored: str) -> None:
    assert environment_name(given_name) == stored


@given(st.text())
def test_nobody_writes_into_langfuse_environments(text: str) -> None:
    assert not environment_name(text).startswith(("langfuse-", "langfuse_"))


# --- timeline ---


@dataclass(eq=False)
class Thing:
    order: tuple[Any, ...]
    gone: bool = False


def timeline(keys: list[tuple[int, str]]) -> Timeline[Thing]:
    made: Timeline[Thing] = Timeline()
    for key in keys:
        made.add(Thing(key))
    return made


KEYS = st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abcdef")), max_size=40)


@given(KEYS, st.integers(0, 20), st.integers(0, 20))
def test_newest_first_is_what_sorting_and_filtering_gives(keys: list[tuple[int, str]], since: int, before: int) -> None:
    found = [thing.order for thing in timeline(keys).newest_first((since,), (before,))]
    assert found == sorted((key for key in keys if since <= key[0] < before), reverse=True)


@given(KEYS)
def test_walking_by_cursor_meets_every_key_once(keys: list[tuple[int, str]]) -> None:
    line = timeline(keys)
    walked: list[tuple[Any, ...]] = []
    while (thing := next(line.newest_first(None, walked[-1] if walked else None), None)) is not None:
        walked.append(thing.order)
    assert walked == sorted(set(keys), reverse=True)


def test_rows_added_between_reads_are_found_in_their_place() -> None:
    line = timeline([(1, "a"), (5, "a")])
    assert len(list(line.newest_first(None, None))) == 2
    line.add(Thing((3, "a")))
    assert [thing.order[0] for thing in line.newest_first(None, None)] == [5, 3, 1]


def test_gone_rows_are_skipped() -> None:
    line: Timeline[Thing] = Timeline()
    old, new = Thing((1, "a")), Thing((2, "a"))
    line.add(old)
    line.add(new)
    old.gone = True
    assert list(line.newest_first(None, None)) == [new]


def test_count_is_the_size_of_the_range() -> None:
    line = timeline([(n, "a") for n in range(10)])
    assert line.count((3,), (7,)) == 4
    assert line.count(None, None) == 10
    assert line.count((7,), (3,)) == 0


# --- rate limits ---


def passed(
    limiter: RateLimiter, number: int, *, limit: int | None, now: int = 0, bucket: Bucket = Bucket.GENERAL
) -> int:
    through = 0
    for _ in range(number):
        try:
            limiter.take(bucket, limit, 60, now)
        except Refusal:
            continue
        through += 1
    return through


def test_a_limit_of_n_lets_n_minus_one_through() -> None:
    limiter = RateLimiter()
    assert passed(limiter, 50, limit=30) == 29
    assert limiter.refused == 21


def test_the_window_begins_with_its_first_request_and_is_fixed() -> None:
    limiter = RateLimiter()
    assert passed(limiter, 40, limit=30, now=30_000) == 29
    assert passed(limiter, 40, limit=30, now=89_999) == 0
    assert passed(limiter, 40, limit=30, now=90_000) == 29


def test_buckets_are_counted_apart_and_none_is_never_limited() -> None:
    limiter = RateLimiter()
    assert passed(limiter, 10, limit=5) == 4
    assert passed(limiter, 10, limit=5, bucket=Bucket.INGESTION) == 4
    assert passed(limiter, 10, limit=5, bucket=Bucket.NONE) == 10


def test_no_limit_counts_nothing() -> None:
    limiter = RateLimiter()
    assert passed(limiter, 1000, limit=None) == 1000


def test_the_refusal_has_the_real_headers_and_body() -> None:
    limiter = RateLimiter()
    with pytest.raises(Refusal) as caught:
        limiter.take(Bucket.GENERAL, 1, 60, milliseconds("2026-11-23T09:00:00.500Z"))
    refusal = caught.value
    assert refusal.status == 429
    assert refusal.headers == {
        "Retry-After": "60",
        "X-RateLimit-Limit": "1",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "Mon Nov 23 2026 09:01:00 GMT+0000 (Coordinated Universal Time)",
    }
    assert refusal.body["code"] == "rate_limited"
    assert refusal.body["details"] == {
        "retryAfterSeconds": 60,
        "limit": 1,
        "remaining": 0,
        "resetAt": "2026-11-23T09:01:00.500Z",
    }


def test_retry_after_is_never_zero() -> None:
    limiter = RateLimiter()
    with pytest.raises(Refusal) as caught:
        limiter.take(Bucket.GENERAL, 1, 0.05, 0)
    assert caught.value.headers["Retry-After"] == "1"


# --- prices ---


def enriched(**values: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"model": None, "usageDetails": None, "costDetails": None, "totalCost": None} | values
    enrich(body)
    return body


def test_a_known_model_gets_prices_as_text_and_a_cost() -> None:
    body = enriched(model="gpt-5.4-mini", usageDetails={"input": 1_000_000, "output": 500_000})
    assert body["usageDetails"]["total"] == 1_500_000
    assert body["totalCost"] == pytest.approx(1.25)
    assert isinstance(body["inputPrice"], str)
    assert isinstance(body["outputPrice"], str)


def test_a_cost_that_was_sent_is_kept() -> None:
    body = enriched(model="gpt-4o", usageDetails={"input": 10}, costDetails={"input": 3.0, "output": 1.0})
    assert body["totalCost"] == 4.0
    assert enriched(costDetails={"total": 2.0})["totalCost"] == 2.0


def test_an_unknown_model_has_neither_price_nor_cost() -> None:
    body = enriched(model="home-grown", usageDetails={"input": 10})
    assert (body["modelId"], body["inputPrice"], body["totalCost"]) == (None, None, None)


# --- set-up ---


@pytest.mark.parametrize(
    ("version", "reads", "batches", "key"),
    [
        ("3.179.0", False, False, "providedModelName"),
        ("4.16.0", True, False, "providedModelName"),
        ("4.58.9", True, False, "providedModelName"),
        ("4.59.0", True, True, "model"),
        ("5.0", True, True, "model"),
    ],
)
def test_the_version_decides(version: str, reads: bool, batches: bool, key: str) -> None:
    set_up = Behaviour(version=version)
    assert (set_up.has_v4_reads, set_up.batches_scores, set_up.model_key) == (reads, batches, key)


def test_behaviour_changes_by_name() -> None:
    set_up = Behaviour()
    set_up.change({"requests_per_minute": 30, "version": "4.16.0", "late": 0.5})
    assert (set_up.requests_per_minute, set_up.version, set_up.late) == (30, "4.16.0", 0.5)
    set_up.change({"requests_per_minute": None})
    assert set_up.requests_per_minute is None


@pytest.mark.parametrize(
    "values",
    [{"lag": 1}, {"version": 4}, {"version": "new"}, {"late": "often"}, {"late": [1]}, {"late": None}, {"late": -1}],
)
def test_behaviour_refuses_what_it_does_not_know(values: dict[str, Any]) -> None:
    set_up = Behaviour()
    with pytest.raises(ValueError, match=r"known|cannot be"):
        set_up.change(values)
    assert set_up == Behaviour()


# --- refusals ---


def test_error_bodies() -> None:
    with pytest.raises(Refusal) as caught:
        invalid([issue("Expected number", "limit", code="invalid_type")])
    assert caught.value.body == {
        "message": "Invalid request data",
        "error": [{"code": "invalid_type", "path": ["limit"], "message": "Expected number"}],
    }
    with pytest.raises(Refusal) as caught:
        bad_request("no")
    assert caught.value.body == {"message": "no", "error": "InvalidRequestError"}
    with pytest.raises(Refusal) as caught:
        not_found("gone")
    assert (caught.value.status, caught.value.body["error"]) == (404, "LangfuseNotFoundError")
    with pytest.raises(Refusal) as caught:
        narrow()
    assert (caught.value.status, caught.value.body["error"]) == (422, "Request timed out")


def test_server_errors_look_like_server_and_proxy() -> None:
    assert server_error(500).content_type == "application/json"
    assert server_error(503).content_type == "application/json"
    assert server_error(502).content_type == "text/html"


def test_the_clock_of_these_tests_is_utc() -> None:
    assert datetime.fromisoformat(iso(0)).tzinfo == UTC
