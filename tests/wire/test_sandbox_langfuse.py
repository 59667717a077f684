"""The Langfuse stand-in over real sockets: plain requests, and the real SDK for what the SDK does."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from langfuse import Langfuse, propagate_attributes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from sandbox.langfuse import LangfuseStandIn, ScoreConfig
from sandbox.langfuse.times import iso, now_ms
from sandbox.server import Sandbox

ALL_FIELDS = "core,basic,io,metadata,model,usage,prompt,metrics,trace_context,time"


class Caller:
    """Plain requests to one base URL, each on its own connection."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.stand_in = sandbox.langfuse
        self.port = urlsplit(sandbox.langfuse_url).port
        pair = f"{sandbox.public_key}:{sandbox.secret_key}".encode()
        self.basic = "Basic " + base64.b64encode(pair).decode()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, wait: float = 10
    ) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=wait)
        try:
            connection.request(method, path, body, {"Authorization": self.basic} | (headers or {}))
            response = connection.getresponse()
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(text) if is_json else text.decode(), dict(response.headers)
        finally:
            connection.close()

    def get(self, path: str, **params: Any) -> tuple[int, Any]:
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
        return self.send("GET", f"/api/public/{path}" + ("?" + urlencode(texts) if texts else ""))[:2]

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return self.send("POST", f"/api/public/{path}", json.dumps(body).encode())[:2]

    def control(self, name: str, body: Any) -> tuple[int, Any]:
        return self.send("POST", f"/_sandbox/{name}", json.dumps(body).encode(), {"Authorization": ""})[:2]

    def counts(self) -> Any:
        return self.send("GET", "/_sandbox/counts")[1]


@pytest.fixture
def api() -> Iterator[Caller]:
    with Sandbox() as running:
        yield Caller(running)


BEGAN = now_ms() - 60_000


def observation(number: int = 0, **fields: Any) -> dict[str, Any]:
    start = BEGAN + number
    times = {"startTime": iso(start), "endTime": iso(start + 100)}
    return {"id": f"o{number}", "traceId": f"t{number}", "name": "step"} | times | fields


def score(number: int = 0, **fields: Any) -> dict[str, Any]:
    moment = "2026-11-20T10:00:00.000Z"
    return {"id": f"s{number}", "name": "helpful", "value": 0.5, "traceId": f"t{number}", "timestamp": moment} | fields


# --- health, projects, keys ---


def test_health_needs_no_key_and_tells_the_version(api: Caller) -> None:
    assert api.send("GET", "/api/public/health", headers={"Authorization": ""})[:2] == (
        200,
        {"status": "OK", "version": "4.60.0"},
    )


def test_projects(api: Caller) -> None:
    status, answer = api.get("projects")
    assert status == 200
    assert answer["data"][0]["id"] == api.stand_in.project_id


@pytest.mark.parametrize(
    ("header", "status", "text"),
    [
        ("", 401, "No authorization header"),
        ("Basic !!", 401, "Invalid credentials. Confirm that you've configured the correct host."),
        ("Basic " + base64.b64encode(b"pk-lf-sandbox:wrong").decode(), 401, "Invalid credentials"),
        ("Basic " + base64.b64encode(b"pk:sk-lf-organisation").decode(), 403, "Project ID not found for API token"),
        ("Bearer pk-lf-sandbox", 403, "Access denied - insufficient permissions for this endpoint"),
        ("Bearer nobody", 401, "Invalid credentials"),
    ],
)
def test_wrong_keys(api: Caller, header: str, status: int, text: str) -> None:
    answered, body, _ = api.send("GET", "/api/public/v2/observations", headers={"Authorization": header})
    assert answered == status
    assert body["message"].startswith(text)


def test_a_wrong_public_key_goes_unnoticed(api: Caller) -> None:
    header = "Basic " + base64.b64encode(b"pk-wrong:sk-lf-sandbox").decode()
    assert api.send("GET", "/api/public/projects", headers={"Authorization": header})[0] == 200


def test_the_public_key_alone_may_write_scores(api: Caller) -> None:
    bearer = {"Authorization": "Bearer pk-lf-sandbox"}
    assert api.send("POST", "/api/public/scores", json.dumps(score()).encode(), bearer)[0] == 200


@pytest.mark.parametrize("path", ["traces", "traces/t1", "observations", "sessions", "scores", "v2/scores"])
def test_legacy_reads_are_off_and_say_so_before_looking_at_keys(api: Caller, path: str) -> None:
    status, body, _ = api.send("GET", f"/api/public/{path}", headers={"Authorization": ""})
    assert status == 404
    assert "events_only mode" in body["message"]


def test_wrong_methods_and_unknown_paths(api: Caller) -> None:
    assert api.send("PUT", "/api/public/v2/observations")[1]["error"] == "MethodNotAllowedError"
    assert api.send("GET", "/api/public/nothing")[0] == 404


def test_an_older_server_has_no_v4_reads(api: Caller) -> None:
    api.stand_in.behaviour.version = "3.179.0"
    status, body = api.get("v2/observations", limit="1")
    assert (status, body["error"]) == (404, "LangfuseNotFoundError")
    assert "v4 write mode" in body["message"]


# --- observations ---


def test_what_is_loaded_is_read_page_by_page_newest_first(api: Caller) -> None:
    lines = b"\n".join(json.dumps(observation(n)).encode() for n in range(25))
    status, loaded, _ = api.send("POST", "/_sandbox/load", lines)
    assert (status, loaded) == (200, {"observations": 25, "scores": 0})
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        status, page = api.get("v2/observations", limit="10", **cursor)
        assert status == 200
        seen += [found["id"] for found in page["data"]]
        if "cursor" not in page["meta"]:
            break
        cursor = {"cursor": page["meta"]["cursor"]}
    assert seen == [f"o{n}" for n in reversed(range(25))]


def test_fifty_traces_in_one_request(api: Caller) -> None:
    api.stand_in.load_observations([observation(n, traceId=f"{n:032x}") for n in range(80)])
    wanted = [f"{n:032x}" for n in range(50)]
    condition = {"type": "stringOptions", "column": "traceId", "operator": "any of", "value": wanted}
    status, page = api.get("v2/observations", filter=[condition], limit="1000", fields=ALL_FIELDS)
    assert status == 200
    assert {found["traceId"] for found in page["data"]} == set(wanted)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "1001"},
        {"cursor": "garbage"},
        {"parseIoAsJson": "true"},
        {"filter": "["},
        {"filter": [{"type": "datetime", "column": "updatedAt", "operator": ">", "value": "2026-01-01T00:00:00Z"}]},
        {"filter": [{"type": "string", "column": "endTime", "operator": "=", "value": "x"}]},
    ],
)
def test_bad_questions_are_400(api: Caller, params: dict[str, Any]) -> None:
    assert api.get("v2/observations", **params)[0] == 400


def test_visibility_lag_and_late_rows(api: Caller) -> None:
    api.stand_in.load_observations([observation(0), observation(1, visibleAfter=3600)])
    assert [found["id"] for found in api.get("v2/observations")[1]["data"]] == ["o0"]
    assert api.counts()["observations"] == 2


def test_duplicates_share_their_id_and_the_newest_is_complete(api: Caller) -> None:
    api.control("behaviour", {"duplicates": 1.0})
    api.stand_in.load_observations([observation(n, output="whole") for n in range(20)])
    rows = api.get("v2/observations", limit="100", fields="core,io,time")[1]["data"]
    assert len(rows) == 40
    newest = {row["id"]: row for row in sorted(rows, key=lambda row: row["updatedAt"])}
    assert len(newest) == 20
    assert {row["output"] for row in newest.values()} == {"whole"}
    assert (api.counts()["observations"], api.counts()["observation_rows"]) == (20, 40)


def test_a_window_that_is_too_large_is_a_422(api: Caller) -> None:
    api.control("behaviour", {"most_rows": 10})
    rows = [observation(n) for n in range(20)]
    api.stand_in.load_observations(rows)
    status, body = api.get("v2/observations")
    assert (status, body["error"]) == (422, "Request timed out")
    status, page = api.get("v2/observations", fromStartTime=rows[12]["startTime"])
    assert (status, len(page["data"])) == (200, 8)


def test_deleted_traces_vanish_with_their_scores(api: Caller) -> None:
    api.stand_in.load_observations([observation(n) for n in range(4)])
    api.stand_in.load_scores([score(n) for n in range(4)])
    assert api.send("DELETE", "/api/public/traces/t0")[0] == 200
    assert api.send("DELETE", "/api/public/traces", b'{"traceIds": ["t1", "t2"]}')[0] == 200
    assert api.send("DELETE", "/api/public/traces", b'{"traceIds": []}')[0] == 400
    counts = api.counts()
    assert (counts["traces"], counts["observations"], counts["scores"]) == (1, 1, 1)


# --- OTLP ---


def an_export(spans: int = 1) -> ExportTraceServiceRequest:
    export = ExportTraceServiceRequest()
    scope = export.resource_spans.add().scope_spans.add()
    now = time.time_ns()
    for _ in range(spans):
        span = scope.spans.add(trace_id=uuid.uuid4().bytes, span_id=uuid.uuid4().bytes[:8], name="step")
        span.start_time_unix_nano, span.end_time_unix_nano = now - 10**9, now
    return export


@pytest.mark.parametrize("zipped", [True, False])
def test_protobuf_with_and_without_gzip(api: Caller, zipped: bool) -> None:
    body = an_export(10).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf", "x-langfuse-ingestion-version": "4"}
    if zipped:
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    assert api.send("POST", "/api/public/otel/v1/traces", body, headers)[:2] == (200, {})
    assert api.counts()["observations"] == 10


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-protobuf", "x-langfuse-ingestion-version": "5"},
        {"Content-Type": "application/x-protobuf", "x-langfuse-ingestion-version": "new"},
    ],
)
def test_exports_that_are_refused(api: Caller, headers: dict[str, str]) -> None:
    assert api.send("POST", "/api/public/otel/v1/traces", an_export().SerializeToString(), headers)[0] == 400
    assert api.counts()["observations"] == 0


def test_ingested_spans_wait_for_the_lag(api: Caller) -> None:
    api.stand_in.behaviour.visible_after = 3600
    api.send(
        "POST",
        "/api/public/otel/v1/traces",
        an_export(3).SerializeToString(),
        {"Content-Type": "application/x-protobuf"},
    )
    assert api.get("v2/observations")[1]["data"] == []
    assert api.counts()["observations"] == 3


# --- scores ---


def test_one_object_is_answered_with_its_id(api: Caller) -> None:
    assert api.post("scores", score(7)) == (200, {"id": "s7"})
    made_up = api.post("scores", {"name": "n", "value": 1, "traceId": "t"})[1]["id"]
    assert str(uuid.UUID(made_up)) == made_up


def test_an_array_is_accepted_without_ids(api: Caller) -> None:
    assert api.post("scores", [score(n) for n in range(5)]) == (202, {"message": "Accepted"})
    assert api.counts()["scores"] == 5


def test_a_mixed_array_is_a_207_that_does_not_say_which(api: Caller) -> None:
    status, answer = api.post("scores", [score(0), score(1, value=None), score(2, name=""), score(3)])
    assert (status, answer["accepted"], answer["rejected"]) == (207, 2, 2)
    assert all(set(error) == {"message"} for error in answer["errors"])
    assert api.counts()["scores"] == 2


def test_servers_before_4_59_refuse_arrays_and_ignore_timestamps(api: Caller) -> None:
    api.control("behaviour", {"version": "4.58.0"})
    assert api.post("scores", [score()])[0] == 400
    assert api.post("scores", score())[0] == 200
    stored = api.get("v3/scores")[1]["data"][0]
    assert stored["timestamp"] > "2026-11-20T10:00:00.000Z"


@pytest.mark.parametrize("body", [[], "x", {"name": "n"}, score(source="EVAL")])
def test_bodies_that_are_refused(api: Caller, body: Any) -> None:
    assert api.post("scores", body)[0] == 400


def test_bodies_over_a_megabyte_are_refused(api: Caller) -> None:
    assert api.post("scores", [score(comment="x" * 1_100_000)])[0] == 413
    assert api.send("POST", "/api/public/scores", b"{")[0] == 400


def test_sending_again_replaces_and_another_day_doubles(api: Caller) -> None:
    for _ in range(3):
        api.post("scores", [score(0, value=0.9)])
    assert (api.counts()["scores"], api.counts()["duplicates"]) == (1, 0)
    api.post("scores", [score(0, timestamp="2026-11-21T00:00:00Z")])
    assert (api.counts()["score_rows"], api.counts()["duplicates"]) == (2, 1)
    assert len(api.get("v3/scores")[1]["data"]) == 1


def test_a_score_that_breaks_its_config_is_accepted_and_never_stored(api: Caller) -> None:
    api.stand_in.configs["c1"] = ScoreConfig("c1", "helpful", "NUMERIC", 0, 1)
    assert api.post("scores", score(0, value=7, configId="c1"))[0] == 200
    assert api.post("scores", score(1, value=1, configId="c1"))[0] == 200
    assert api.post("scores", score(2, configId="unknown"))[0] == 200
    assert (api.counts()["scores"], api.counts()["dropped_scores"]) == (1, 2)
    assert [config["id"] for config in api.get("score-configs")[1]["data"]] == ["c1"]
    assert api.get("score-configs/c1")[0] == 200
    assert api.get("score-configs/c2")[0] == 404


def test_scores_are_read_with_strict_parameters(api: Caller) -> None:
    api.post("scores", [score(n) for n in range(3)])
    status, page = api.get("v3/scores", fields="details,subject", name="helpful", limit="2")
    assert status == 200
    assert page["meta"]["limit"] == 2
    assert page["data"][0]["subject"]["kind"] == "trace"
    assert api.get("v3/scores", limit="101")[0] == 400
    assert api.get("v3/scores", tags="x")[0] == 400


def test_scores_lag_behind_their_acceptance(api: Caller) -> None:
    api.stand_in.behaviour.scores_visible_after = 3600
    api.post("scores", [score()])
    assert api.get("v3/scores")[1]["data"] == []
    assert len(api.stand_in.all_scores()) == api.counts()["scores"] == 1


def test_scores_can_be_deleted(api: Caller) -> None:
    api.post("scores", [score()])
    assert api.send("DELETE", "/api/public/scores/s0")[0] == 202
    assert api.counts()["scores"] == 0


def test_legacy_ingestion_takes_scores_with_an_id(api: Caller) -> None:
    moment = "2026-11-01T00:00:00.000Z"
    events = [
        {"id": "e1", "type": "score-create", "timestamp": moment, "body": score(1)},
        {"id": "e2", "type": "score-create", "timestamp": moment, "body": score(2, id=None)},
        {"id": "e3", "type": "trace-create", "timestamp": moment, "body": {}},
        {"id": "e4", "type": "score-create", "timestamp": moment, "body": score(4, name="")},
    ]
    status, answer = api.post("ingestion", {"batch": events})
    assert status == 207
    assert [done["id"] for done in answer["successes"]] == ["e1", "e2"]
    assert [failed["id"] for failed in answer["errors"]] == ["e3", "e4"]
    (stored,) = api.stand_in.all_scores()
    assert (stored["id"], stored["timestamp"]) == ("s1", moment), "the event's time, and nothing without an id"
    assert api.post("ingestion", {"batch": 3})[0] == 400


# --- limits and faults ---


def test_the_rate_limit_lets_one_less_through_and_says_when_to_return(api: Caller) -> None:
    api.control("behaviour", {"requests_per_minute": 5})
    answered = [api.send("GET", "/api/public/v3/scores")[0] for _ in range(3)]
    answered += [api.post("scores", [score()])[0], api.get("v2/observations")[0]]
    assert answered == [200, 200, 200, 202, 429]
    status, body, headers = api.send("GET", "/api/public/v2/observations")
    assert status == 429
    assert body["code"] == "rate_limited"
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("5", "0")
    assert headers["X-RateLimit-Reset"].endswith("GMT+0000 (Coordinated Universal Time)")
    assert api.get("projects")[0] == 200, "never limited"
    assert api.counts()["rate_limited"] == 2


def test_the_window_opens_again(api: Caller) -> None:
    api.control("behaviour", {"requests_per_minute": 2, "window_seconds": 0.2})
    assert [api.get("v3/scores")[0] for _ in range(2)] == [200, 429]
    time.sleep(0.25)
    assert api.get("v3/scores")[0] == 200


def test_a_burst_of_server_errors(api: Caller) -> None:
    api.control("faults", {"burst": 3, "error_statuses": [503]})
    assert [api.get("projects")[0] for _ in range(4)] == [503, 503, 503, 200]
    assert api.counts()["requests"]["GET /api/public/projects"] == {"200": 1, "503": 3}


def test_a_planted_429_has_the_real_form(api: Caller) -> None:
    api.control("faults", {"rate_limited": 1.0, "retry_after": 3})
    status, body, headers = api.send("GET", "/api/public/projects")
    assert (status, headers["Retry-After"], body["code"]) == (429, "3", "rate_limited")


def test_a_reset_carries_nothing_out_and_a_lost_answer_does(api: Caller) -> None:
    for share in ("resets", "lost_answers"):
        api.control("faults", {"resets": 0, "lost_answers": 0} | {share: 1.0})
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            api.post("scores", [score()])
        assert api.counts()["scores"] == (share == "lost_answers")
    assert api.counts()["requests"]["POST /api/public/scores"] == {"reset": 2}


def test_a_hang_outlasts_the_caller_and_the_sandbox_still_stops(api: Caller) -> None:
    api.control("faults", {"hangs": 1.0, "hang_seconds": 600, "paths": "scores"})
    with pytest.raises(TimeoutError):
        api.send("GET", "/api/public/v3/scores", wait=0.2)


def test_faults_and_behaviour_are_checked(api: Caller) -> None:
    assert api.control("faults", {"explosions": 1})[0] == 400
    assert api.control("faults", [])[0] == 400
    assert api.control("behaviour", {"explosions": 1})[0] == 400
    assert api.control("behaviour", 3)[0] == 400
    assert api.send("POST", "/_sandbox/behaviour", b"{")[0] == 400


def test_reset_forgets_everything_but_the_behaviour(api: Caller) -> None:
    api.control("behaviour", {"requests_per_minute": 900})
    api.control("faults", {"latency": 0.001})
    api.stand_in.load_observations([observation()])
    api.post("scores", [score()])
    assert api.control("reset", {})[0] == 200
    assert api.counts() == LangfuseStandIn().counts()
    assert api.stand_in.behaviour.requests_per_minute == 900
    assert api.stand_in.faults.latency == 0


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"startTime": "2026-11-23T00:00:00Z"}', b'{"value": 3}'])
def test_lines_that_cannot_be_loaded_are_refused(api: Caller, line: bytes) -> None:
    assert api.send("POST", "/_sandbox/load", line)[0] == 400


def test_every_stored_score_is_shown_for_checking(api: Caller) -> None:
    api.send("POST", "/_sandbox/load", json.dumps(score(0, metadata={"a": 1})).encode() + b"\n\n")
    (shown,) = api.send("GET", "/_sandbox/scores")[1]
    assert (shown["traceId"], shown["name"], shown["metadata"]) == ("t0", "helpful", {"a": 1})


# --- the real SDK ---


@pytest.fixture
def sdk(api: Caller) -> Iterator[Langfuse]:
    # A public key of its own: the SDK keeps one client a key for the whole process.
    client = Langfuse(
        public_key=f"pk-lf-{uuid.uuid4()}",
        secret_key=api.stand_in.secret_key,
        base_url=f"http://127.0.0.1:{api.port}",
        environment="production",
        release="r7",
        tracer_provider=TracerProvider(),
    )
    yield client
    client.shutdown()


def play(client: Langfuse) -> str:
    with (
        propagate_attributes(user_id="anna", session_id="talk", tags=["b", "a"], trace_name="answer"),
        client.start_as_current_observation(name="root", as_type="agent", input={"question": "why"}) as root,
    ):
        with client.start_as_current_observation(
            name="say", as_type="generation", model="gpt-5.4-mini", usage_details={"input": 10, "output": 5}
        ) as generation:
            generation.update(output="because", metadata={"tries": 2})
        root.update(output={"answer": "because"})
        return str(root.trace_id)


def test_a_trace_sent_by_the_sdk_is_read_back_by_the_sdk(api: Caller, sdk: Langfuse) -> None:
    trace_id = play(sdk)
    sdk.flush()
    rows = sdk.api.observations.get_many(trace_id=trace_id, fields=ALL_FIELDS).data
    generation, root = sorted(rows, key=lambda row: row.type != "GENERATION")
    assert (root.name, root.type, root.is_root_observation) == ("root", "AGENT", True)
    assert (root.user_id, root.session_id, root.tags, root.release) == ("anna", "talk", ["a", "b"], "r7")
    assert (root.trace_name, root.environment) == ("answer", "production")
    assert (json.loads(root.input), json.loads(root.output)) == ({"question": "why"}, {"answer": "because"})
    assert (generation.parent_observation_id, generation.model, generation.output) == (
        root.id,
        "gpt-5.4-mini",
        "because",
    )
    assert generation.usage_details == {"input": 10, "output": 5, "total": 15}
    assert generation.metadata == {"tries": 2}
    assert generation.total_cost == pytest.approx(10 * 0.25e-6 + 5 * 2e-6)
    assert api.counts()["requests"]["POST /api/public/otel/v1/traces"]["200"] >= 1


def test_scores_of_the_sdk_arrive_as_a_batch(api: Caller, sdk: Langfuse) -> None:
    sdk.create_score(name="helpful", value=0.5, trace_id="t" * 32)
    sdk.create_score(name="tone", value="kind", trace_id="t" * 32, data_type="CATEGORICAL", comment="warm")
    sdk.flush()
    assert api.counts()["requests"]["POST /api/public/scores"] == {"202": 1}
    read = sdk.api.scores.get_many(trace_id="t" * 32, fields="details,subject").data
    assert {(found.name, found.value) for found in read} == {("helpful", 0.5), ("tone", "kind")}
    assert {found.environment for found in read} == {"production"}


def test_the_sdk_accepts_project_and_health(sdk: Langfuse) -> None:
    assert sdk.auth_check()
    assert sdk.api.health.health().version == "4.60.0"


def test_metrics_count_what_the_tables_hold(api: Caller, sdk: Langfuse) -> None:
    api.post("scores", [score(n, value=n) for n in range(3)])
    query = {
        "view": "scores-numeric",
        "metrics": [{"measure": "count", "aggregation": "count"}],
        "fromTimestamp": "2026-11-01T00:00:00Z",
        "toTimestamp": "2026-12-01T00:00:00Z",
    }
    assert api.get("v2/metrics", query=query) == (200, {"data": [{"count_count": 3}]})
    assert sdk.api.metrics.metrics(query=json.dumps(query)).data == [{"count_count": 3}]
    assert api.get("v2/metrics")[0] == 400
