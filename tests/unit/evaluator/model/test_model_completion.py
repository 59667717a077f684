from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from evaluator.errors import Unavailable
from evaluator.model.completion import (
    LONGEST_PAUSE,
    Dialect,
    FinalRefusal,
    StatusError,
    complaint,
    pause,
    read,
    refusal,
)
from judges import DECLINED, NO_CHOICE, Prompt
from traces import Usage

SECRET = "Patient 4711 asks about temperature and response_format"
PROMPT = Prompt("gpt", "Judge.", SECRET, {"type": "object"}, temperature=0.0, max_output_tokens=500)


def error(status: int, body: Any = None, headers: dict[str, str] | None = None) -> StatusError:
    return StatusError(status, CIMultiDict(headers or {}), json.dumps(body).encode())


def said(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}


class TestDialect:
    def test_a_request_is_structured_and_strict(self) -> None:
        body = Dialect().body(PROMPT)
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        assert body["response_format"]["json_schema"] == {"name": "verdict", "strict": True, "schema": PROMPT.schema}
        assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("gpt", 0.0, 500)

    def test_a_temperature_may_be_left_to_the_model(self) -> None:
        assert "temperature" not in Dialect().body(Prompt("gpt", "", "", {}, temperature=None))

    def test_each_complaint_leaves_one_thing_out(self) -> None:
        told = ["'temperature' is unsupported", "unknown field max_completion_tokens", "response_format is no good"]
        dialect = Dialect()
        for words in told:
            simpler = dialect.without(words)
            assert simpler is not None
            dialect = simpler
        body = dialect.body(PROMPT)
        assert "temperature" not in body
        assert "max_completion_tokens" not in body
        assert body["max_tokens"] == 500
        assert body["response_format"] == {"type": "json_object"}

    def test_structured_output_falls_back_twice(self) -> None:
        forms = [Dialect()]
        while (simpler := forms[-1].without("json_schema is not supported")) is not None:
            forms.append(simpler)
        assert [dialect.form for dialect in forms] == ["json_schema", "json_object", "text"]
        assert "response_format" not in forms[-1].body(PROMPT)

    @given(st.text())
    def test_no_complaint_can_be_followed_for_ever(self, words: str) -> None:
        dialect: Dialect | None = Dialect()
        for _ in range(7):
            if dialect is not None:
                said = words + " temperature max_completion_tokens response_format logprobs"
                dialect = dialect.without(said, logprobs=True)
        assert dialect is None

    @pytest.mark.parametrize("words", ["", "your request is bad", "messages: too many"])
    def test_other_complaints_leave_nothing_out(self, words: str) -> None:
        assert Dialect().without(words) is None


class TestComplaint:
    @pytest.mark.parametrize("status", [400, 422])
    def test_it_is_what_the_server_says(self, status: int) -> None:
        assert complaint(error(status, said("Response_Format is unknown"))) == "response_format is unknown"
        assert "response_format" in complaint(error(status, {"detail": [{"loc": ["body", "response_format"]}]}))

    def test_the_parameter_counts_more_than_words_that_may_be_quoted(self) -> None:
        assert complaint(error(400, said(f"cannot read {SECRET}", param="messages[1]"))) == "messages[1]"

    @pytest.mark.parametrize("code", ["content_filter", "context_length_exceeded"])
    def test_what_is_refused_for_its_content_is_no_complaint(self, code: str) -> None:
        assert complaint(error(400, said(SECRET, code=code))) == ""

    @pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
    def test_other_refusals_are_none(self, status: int) -> None:
        assert complaint(error(status, said("response_format"))) == ""


class TestRefusal:
    @pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
    def test_what_passes_is_unavailable(self, status: int) -> None:
        assert isinstance(refusal(error(status, said("busy"))), Unavailable)

    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, None, "request_refused"),
            (401, "invalid_api_key", "key_refused"),
            (402, None, "quota_exhausted"),
            (403, None, "access_refused"),
            (404, "model_not_found", "model_refused"),
            (413, None, "context_too_long"),
            (400, "context_length_exceeded", "context_too_long"),
            (400, "content_filter", "content_filter"),
            (429, "insufficient_quota", "quota_exhausted"),
            (422, 422, "request_refused"),
        ],
    )
    def test_what_stays_is_final_and_named(self, status: int, code: Any, kind: str) -> None:
        final = refusal(error(status, said("no", code=code)))
        assert isinstance(final, FinalRefusal)
        assert final.kind == kind
        assert f"answered {status}" in str(final)

    def test_a_context_that_is_too_long_is_known_by_its_words_too(self) -> None:
        words = "This model's maximum context length is 8192 tokens."
        final = refusal(error(400, {"object": "error", "message": words, "code": 400}))
        assert isinstance(final, FinalRefusal)
        assert final.kind == "context_too_long"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
    @pytest.mark.parametrize("code", ["invalid_api_key", "sk-secret", SECRET, 7, None, ["x"]])
    def test_the_servers_words_stay_out(self, status: int, code: Any) -> None:
        found = refusal(error(status, said(f"key sk-secret, prompt {SECRET}", code=code)))
        assert "4711" not in str(found)
        assert "sk-secret" not in str(found)

    @pytest.mark.parametrize("content", [b"", b"<html>\xff", b"null", b"[1]", b'{"error": null}', b'{"message": 7}'])
    def test_it_is_read_as_the_sdk_reads_it(self, content: bytes) -> None:
        bodies = [content, json.dumps(said("no", code="quota", param="model")).encode()]
        client = openai.AsyncOpenAI(api_key="sk-secret", base_url="http://model/v1")
        for body in bodies:
            response = httpx2.Response(400, content=body, request=httpx2.Request("POST", "http://model/v1"))
            theirs, ours = client._make_status_error_from_response(response), StatusError(400, {}, body)
            assert (ours.body or None, ours.code, ours.param) == (theirs.body or None, theirs.code, theirs.param)

    @pytest.mark.parametrize("body", [None, "text", [1], {}, {"error": None}, {"error": "text"}, {"message": 7}])
    def test_any_body_is_sorted(self, body: Any) -> None:
        assert isinstance(refusal(error(400, body)), FinalRefusal)
        assert isinstance(refusal(error(503, body)), Unavailable)

    def test_a_pause_is_passed_on(self) -> None:
        found = refusal(error(503, said("busy"), {"Retry-After": "7"}))
        assert isinstance(found, Unavailable)
        assert found.retry_after == 7


class TestPause:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after": "0"}, 0.05),
            ({"retry-after": "-3"}, 0.05),
            ({"retry-after": "86400"}, LONGEST_PAUSE),
            ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "Mon, 02 Mar 2026 09:00:20 GMT", "date": "Mon, 02 Mar 2026 09:00:05 GMT"}, 15),
            ({"retry-after": "Mon, 02 Mar 2026 09:00:20 GMT"}, None),
            ({"retry-after": "Mon, 02 Mar 2026 09:00:20 GMT", "date": "yesterday"}, None),
            ({"retry-after": "Mon, 02 Mar 2026 09:00:20 -0000", "date": "Mon, 02 Mar 2026 09:00:05 GMT"}, None),
        ],
    )
    def test_it_is_read_in_every_form(self, headers: dict[str, str], seconds: float | None) -> None:
        assert pause(headers) == seconds

    @given(st.text(), st.text(), st.text())
    def test_any_header_gives_a_pause_in_bounds_or_none(self, after: str, milliseconds: str, date: str) -> None:
        seconds = pause({"retry-after": after, "retry-after-ms": milliseconds, "date": date})
        assert seconds is None or 0.05 <= seconds <= LONGEST_PAUSE


def completion(**fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return {"model": "gpt-2026", "choices": [choice], "usage": usage, **fields}


def choice(message: Any, finish: Any = "stop") -> bytes:
    return json.dumps(completion(choices=[{"message": message, "finish_reason": finish}])).encode()


class TestRead:
    def test_text_model_finish_and_usage_are_read(self) -> None:
        reply = read(json.dumps(completion()).encode(), "gpt")
        assert (reply.text, reply.model, reply.finish_reason) == ("Yes.", "gpt-2026", "stop")
        assert reply.usage == Usage("gpt-2026", 1, 100, 20)

    @pytest.mark.parametrize("model", [None, "", 7])
    def test_without_a_name_the_model_asked_for_answered(self, model: Any) -> None:
        assert read(json.dumps(completion(model=model)).encode(), "gpt").model == "gpt"

    @pytest.mark.parametrize("made_up", [10**30, 1e300, 2**63])
    def test_usage_that_is_made_up_still_fits_into_a_counter(self, made_up: float) -> None:
        reply = read(json.dumps(completion(usage={"prompt_tokens": made_up, "completion_tokens": -1})).encode(), "gpt")
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (10**9, 0)

    @pytest.mark.parametrize(
        ("told", "held"),
        [
            ({"prompt_tokens_details": {"cached_tokens": 64}}, 64),
            ({"prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 64}, 0),
            ({"prompt_tokens_details": None, "prompt_cache_hit_tokens": 64}, 64),
            ({"prompt_tokens_details": {"cached_tokens": 999}}, 100),
            ({"prompt_tokens_details": {"cached_tokens": "many"}}, 0),
            ({"prompt_tokens_details": [64]}, 0),
        ],
    )
    def test_what_the_prompt_cache_held_is_read(self, told: dict[str, Any], held: int) -> None:
        reply = read(json.dumps(completion(usage={"prompt_tokens": 100, **told})).encode(), "gpt")
        assert (reply.usage.input_tokens, reply.usage.cached_tokens) == (100, held)

    @pytest.mark.parametrize("usage", [None, {}, [], "x", {"prompt_tokens": None, "completion_tokens": "many"}])
    def test_usage_that_is_not_told_is_none(self, usage: Any) -> None:
        reply = read(json.dumps(completion(usage=usage)).encode(), "gpt")
        assert (reply.usage.calls, reply.usage.input_tokens, reply.usage.output_tokens) == (1, 0, 0)

    def test_content_in_parts_is_put_together(self) -> None:
        parts = [{"type": "text", "text": "Ye"}, {"type": "text", "text": "s."}, {"type": "other"}, 7]
        assert read(choice({"content": parts}), "gpt").text == "Yes."

    @pytest.mark.parametrize("message", [None, {}, {"content": None}, {"content": 7}, "text", []])
    def test_a_message_without_text_is_empty(self, message: Any) -> None:
        assert read(choice(message), "gpt").text == ""

    def test_a_reasoning_model_that_spent_its_limit_thinking_was_cut(self) -> None:
        reply = read(choice({"content": None, "reasoning_content": "Hmm."}, "length"), "gpt")
        assert (reply.text, reply.finish_reason) == ("", "length")

    def test_a_refusal_is_no_text(self) -> None:
        reply = read(choice({"content": None, "refusal": "I cannot."}), "gpt")
        assert (reply.text, reply.finish_reason) == ("", DECLINED)

    @pytest.mark.parametrize("choices", [[], [None], ["x"]])
    def test_a_response_without_a_choice_says_so(self, choices: Any) -> None:
        reply = read(json.dumps(completion(choices=choices)).encode(), "gpt")
        assert (reply.text, reply.finish_reason) == ("", NO_CHOICE)
        assert reply.usage.input_tokens == 100

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"<html>Bad gateway</html>",
            b"\xff\xfe",
            b"null",
            b"[]",
            b"{}",
            b'{"choices": null}',
            b'{"choices": [], "error": {"code": 502}}',
            b'{"error": {"message": "upstream"}}',
            b"[" * 5000,
        ],
    )
    def test_what_is_no_completion_may_be_one_next_time(self, content: bytes) -> None:
        with pytest.raises(Unavailable):
            read(content, "gpt")


@pytest.mark.parametrize(
    ("told", "kept"), [("fp_44709d6fcb", "fp_44709d6fcb"), (None, ""), (7, ""), ("a" * 81, ""), ("<b>\n", ""), ("", "")]
)
def test_the_providers_name_of_its_setup_is_kept_when_it_can_be_a_name(told: Any, kept: str) -> None:
    body = json.loads(choice({"content": "x"})) | {"system_fingerprint": told}
    reply = read(json.dumps(body).encode(), "gpt")
    assert reply.fingerprint == kept
    assert reply.judge == {"judge_model": "gpt-2026", **({"judge_fingerprint": kept} if kept else {})}
