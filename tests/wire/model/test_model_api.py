"""The model API over real sockets: answers, repairs, retries, dialects."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any, Final

import pytest

from evaluator.errors import Unavailable
from judges import Price
from judges.asking import answer_schema
from tests.answering import (
    CONTENT,
    FIVE,
    KEY,
    Act,
    Answering,
    Gate,
    Open,
    ask,
    breaks_off,
    failure,
    question,
    refuses,
    refusing,
    resets,
    says,
    scores,
    sends,
    trickles,
)
from traces import Unscored, Usage, Verdict


class TestAnswers:
    def test_a_question_becomes_a_verdict_with_its_cost(self, opened: Open) -> None:
        used = Usage("gpt-2026", 1, 100, 20, 0.003)
        assert ask(opened()) == [Verdict(4, "Because.", usage=used, details={"judge_model": "gpt-2026"})]

    def test_what_is_sent_is_strict_and_carries_the_key(self, opened: Open, server: Answering) -> None:
        ask(opened())
        (body,) = server.requests
        assert [message["content"] for message in body["messages"]] == ["Judge, in JSON.", CONTENT]
        assert body["response_format"]["json_schema"]["strict"] is True
        assert body["response_format"]["json_schema"]["schema"] == answer_schema(FIVE)
        assert (body["temperature"], body["max_completion_tokens"]) == (0, 100)
        assert server.keys == {f"Bearer {KEY}": 1}

    def test_odd_text_arrives_as_it_was(self, opened: Open, server: Answering) -> None:
        text = 'a\x00b "quoted" \\ \u202e \U0001f600 \r\n' + "é" * 100_000
        assert isinstance(ask(opened(), question(text))[0], Verdict)
        assert server.requests[0]["messages"][1]["content"] == text

    def test_no_questions_have_no_outcomes(self, opened: Open, server: Answering) -> None:
        assert list(opened().ask([])) == []
        assert server.requests == []

    def test_outcomes_are_given_as_they_end(self, opened: Open, server: Answering) -> None:
        async def by_content(request: Any) -> Any:
            body = await request.json()
            number = int(body["messages"][1]["content"])
            await asyncio.sleep(0.05 * (5 - number))
            return await scores(number)(request)

        server.always = by_content
        lots = list(opened().ask([question(str(n)) for n in range(1, 6)]))
        told = [(index, outcome) for lot in lots for index, outcome in lot]
        assert len(lots) > 1
        assert [index for index, _ in told] == [4, 3, 2, 1, 0]
        assert [outcome.value for _, outcome in told if isinstance(outcome, Verdict)] == [5, 4, 3, 2, 1]

    def test_cannot_judge_is_unscored_and_paid_for(self, opened: Open, server: Answering) -> None:
        server.always = scores("cannot_judge", "Nothing to go by.")
        (outcome,) = ask(opened())
        assert isinstance(outcome, Unscored)
        assert (outcome.reason, outcome.usage.calls) == ("Nothing to go by.", 1)

    def test_the_price_of_the_model_that_answered_will_do(self, opened: Open) -> None:
        (outcome,) = ask(opened(prices={"gpt-2026": Price(input=0, output=50)}))
        assert isinstance(outcome, Verdict)
        assert outcome.usage.usd == pytest.approx(0.001)
        assert "unpriced" not in outcome.details

    def test_what_the_prompt_cache_held_is_paid_at_its_price(self, opened: Open, server: Answering) -> None:
        used = {"prompt_tokens": 1_000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 800}}
        server.always = scores(4, usage=used)
        (outcome,) = ask(opened(prices={"gpt": Price(input=10, cached_input=1, output=100)}))
        assert isinstance(outcome, Verdict)
        assert (outcome.usage.input_tokens, outcome.usage.cached_tokens) == (1_000, 800)
        assert outcome.usage.usd == pytest.approx(0.0038)

    def test_an_unknown_price_is_marked_and_costs_nothing(self, opened: Open) -> None:
        (outcome,) = ask(opened(prices={}))
        assert isinstance(outcome, Verdict)
        assert outcome.usage.usd == 0
        assert outcome.details["unpriced"] is True


UNREADABLE: Final[list[Act]] = [
    says("I would say four."),
    says(""),
    says(None),
    says('{"reasoning": "Fine.", "score": 40}'),
    says('{"reasoning": "Fine.", "score": "40 %"}'),
    says('{"reasoning": "Fi'),
    says('{"reasoning": "Fine.", "score": 1' + "0" * 400 + "}"),
    sends(200, {"model": "gpt-2026", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}),
]


class TestRepair:
    @pytest.mark.parametrize("act", UNREADABLE)
    def test_an_unreadable_answer_is_asked_for_once_more(self, opened: Open, server: Answering, act: Act) -> None:
        server.script = [act]
        (outcome,) = ask(opened())
        assert isinstance(outcome, Verdict)
        assert outcome.value == 4
        assert outcome.usage == Usage("gpt-2026", 2, 200, 40, 0.006)
        assert "could not be used" in server.requests[1]["messages"][1]["content"]

    @pytest.mark.parametrize("act", UNREADABLE)
    def test_twice_unreadable_is_a_failure_with_its_cost(self, opened: Open, server: Answering, act: Act) -> None:
        server.always = act
        failed = failure(opened())
        assert failed.kind in {"bad_answer", "no_answer"}
        assert not failed.retryable
        assert (failed.usage.calls, failed.usage.input_tokens) == (2, 200)
        assert len(server.requests) == 2

    @pytest.mark.parametrize("text", ['{"reasoning": "It is', "", None])
    def test_a_cut_answer_is_asked_for_with_more_room(self, opened: Open, server: Answering, text: str | None) -> None:
        server.script = [says(text, "length")]
        assert isinstance(ask(opened())[0], Verdict)
        assert [body["max_completion_tokens"] for body in server.requests] == [100, 400]
        assert server.requests[0]["messages"] == server.requests[1]["messages"]

    def test_twice_cut_is_a_failure(self, opened: Open, server: Answering) -> None:
        server.always = says("", "length")
        assert failure(opened()).kind == "answer_cut"
        assert len(server.requests) == 2

    @pytest.mark.parametrize(
        ("act", "kind"),
        [
            (says("", "content_filter"), "content_filter"),
            (refuses(400, code="content_filter"), "content_filter"),
            (sends(200, {"choices": [{"message": {"refusal": "No."}, "finish_reason": "stop"}]}), "judge_declined"),
        ],
    )
    def test_what_is_withheld_is_not_asked_for_again(
        self, opened: Open, server: Answering, act: Act, kind: str
    ) -> None:
        server.always = act
        assert failure(opened()).kind == kind
        assert len(server.requests) == 1


PASSING: Final[list[Act]] = [
    refuses(429),
    refuses(500),
    refuses(503),
    refuses(408),
    sends(502, b"<html>Bad gateway</html>"),
    sends(200, b"<html>Welcome</html>"),
    sends(200, {"error": {"code": 502, "message": "upstream"}}),
    sends(200, b'{"choices": [{"message'),
    resets,
    breaks_off,
]


class TestRetries:
    @pytest.mark.parametrize("act", PASSING)
    def test_a_passing_failure_passes(self, opened: Open, server: Answering, act: Act) -> None:
        server.script = [act, act]
        (outcome,) = ask(opened())
        assert isinstance(outcome, Verdict)
        assert outcome.usage.calls == 1
        assert len(server.requests) == 3

    @pytest.mark.parametrize("act", PASSING)
    def test_one_that_stays_is_a_failure_to_be_tried_later(self, opened: Open, server: Answering, act: Act) -> None:
        server.always = act
        failed = failure(opened(attempts=3))
        assert (failed.kind, failed.retryable) == ("model_unavailable", True)
        assert len(server.requests) == 3

    def test_only_one_layer_tries_again(self, opened: Open, server: Answering) -> None:
        server.always = refuses(500)
        failure(opened(attempts=1))
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, None, "request_refused"),
            (401, "invalid_api_key", "key_refused"),
            (403, None, "access_refused"),
            (404, "model_not_found", "model_refused"),
            (429, "insufficient_quota", "quota_exhausted"),
            (400, "context_length_exceeded", "context_too_long"),
        ],
    )
    def test_a_final_refusal_is_final(
        self, opened: Open, server: Answering, status: int, code: str | None, kind: str
    ) -> None:
        server.always = refuses(status, code=code)
        failed = failure(opened())
        assert (failed.kind, failed.retryable, len(server.requests)) == (kind, False, 1)

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_pause_the_server_asks_for_is_everybodys(
        self, opened: Open, server: Answering, gate: Gate, status: int
    ) -> None:
        server.script = [refuses(status, Retry_After="0.1")]
        assert isinstance(ask(opened())[0], Verdict)
        assert gate.pauses == [0.1]

    def test_every_request_has_a_permit(self, opened: Open, server: Answering, gate: Gate) -> None:
        server.script = [refuses(500), refuses(400, "response_format"), says("four")]
        ask(opened())
        assert gate.permits == len(server.requests) == 4

    def test_a_gate_that_fails_is_an_outage_too(self, opened: Open, gate: Gate) -> None:
        gate.error = Unavailable("Redis cannot be reached")
        failed = failure(opened(attempts=2))
        assert (failed.kind, failed.reason, failed.retryable) == ("model_unavailable", "Redis cannot be reached", True)

    def test_a_server_that_hangs_is_given_up(self, opened: Open, server: Answering) -> None:
        server.hold()
        failed = failure(opened(timeout=0.1, attempts=2))
        assert (failed.kind, failed.retryable) == ("model_unavailable", True)
        assert "within 0.1 s" in failed.reason
        server.release()

    def test_a_server_that_trickles_is_given_up(self, opened: Open, server: Answering) -> None:
        server.always = trickles
        failed = failure(opened(timeout=0.3, attempts=1))
        assert "within 0.3 s" in failed.reason

    def test_nobody_at_the_other_end(self, opened: Open) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
            failed = failure(opened(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", attempts=2))
        assert (failed.kind, failed.retryable) == ("model_unavailable", True)


class TestDialects:
    def test_forms_fall_back_and_are_remembered(self, opened: Open, server: Answering) -> None:
        server.always = refusing("json_schema", "json_object")
        api = opened(attempts=1)
        assert isinstance(ask(api)[0], Verdict)
        forms = [body.get("response_format", {}).get("type") for body in server.requests]
        assert forms == ["json_schema", "json_object", None]
        ask(api)
        assert "response_format" not in server.requests[3]
        assert len(server.requests) == 4

    def test_what_one_model_does_not_know_another_may(self, opened: Open, server: Answering) -> None:
        api = opened()
        server.script = [refuses(400, "no json_schema here")]
        ask(api)
        ask(api, question(model="other"))
        assert [body["response_format"]["type"] for body in server.requests] == [
            "json_schema",
            "json_object",
            "json_schema",
        ]

    def test_everything_at_once(self, opened: Open, server: Answering) -> None:
        server.always = refusing("temperature", "max_completion_tokens", "json_schema")
        outcomes = ask(opened(attempts=1), *[question() for _ in range(20)])
        assert all(isinstance(outcome, Verdict) for outcome in outcomes)
        assert server.requests[-1]["max_tokens"] == 100

    def test_a_complaint_that_quotes_a_trace_costs_one_question(self, opened: Open, server: Answering) -> None:
        quoted = f"cannot read {CONTENT}, temperature, json_schema, max_completion_tokens, response_format"
        server.script = [refuses(400, quoted)] * 5
        api = opened()
        failed = failure(api)
        assert (failed.kind, failed.retryable) == ("request_refused", False)
        ask(api)
        body = server.requests[-1]
        assert body["response_format"]["type"] == "json_schema"
        assert "temperature" in body
        assert "max_completion_tokens" in body

    def test_a_server_with_other_words_for_bad_requests(self, opened: Open, server: Answering) -> None:
        server.script = [sends(422, {"detail": [{"loc": ["body", "response_format"], "msg": "extra"}]})]
        assert isinstance(ask(opened())[0], Verdict)


class TestOpinions:
    def test_several_samples_become_their_mean_and_are_all_paid_for(self, opened: Open, server: Answering) -> None:
        server.script.extend([scores(5), scores(4), scores(3)])
        (outcome,) = ask(opened(), question(models=("gpt", "gpt", "gpt")))
        assert isinstance(outcome, Verdict)
        assert outcome.value == 4
        assert outcome.confidence is not None
        assert 0 < outcome.confidence < 1
        assert outcome.usage.calls == 3
        assert len(outcome.details["opinions"]) == 3

    def test_a_jury_asks_each_model_and_one_that_fails_is_outvoted(self, opened: Open, server: Answering) -> None:
        async def by_model(request: Any) -> Any:
            model = (await request.json())["model"]
            return await (refuses(404) if model == "gone" else scores(4))(request)

        server.always = by_model
        (outcome,) = ask(opened(), question(models=("gpt", "other", "gone")))
        assert isinstance(outcome, Verdict)
        assert outcome.value == 4
        assert sorted(request["model"] for request in server.requests) == ["gone", "gpt", "other"]


def test_a_question_that_failed_is_gone_with_its_error(opened: Open, server: Answering) -> None:
    """Garbage is looked for seldom: an error in a cycle would hold the prompts of thousands of questions."""
    server.always = refuses(500)
    api = opened(attempts=2)
    gc.collect()
    gc.disable()
    try:
        assert failure(api).kind == "model_unavailable"
        assert [each for each in gc.get_objects() if isinstance(each, Unavailable)] == []
    finally:
        gc.enable()
