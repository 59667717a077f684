"""How fast a model is asked: tokens that are reserved and settled, headers that are obeyed, room that is respected."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tests.answering import Answering, Gate, Open, ask, failure, question, refuses, scores, sends
from traces import Verdict


def with_headers(**headers: str) -> dict[str, str]:
    return {f"x-ratelimit-{name.replace('_', '-')}": value for name, value in headers.items()}


def test_tokens_are_reserved_by_estimate_and_settled_by_what_was_used(opened: Open, gate: Gate) -> None:
    gate.counts_tokens = True
    asked = question("word " * 400)
    ask(opened(), asked)
    ((reserved, used),) = gate.tokens
    assert used == 120
    assert reserved == gate.sizes[0] == asked.prompt.likely_tokens
    assert 400 < reserved < 1000  # the prompt, and all that may be answered


def test_of_a_server_that_does_not_say_what_was_used_all_that_was_reserved_counts(
    opened: Open, server: Answering, gate: Gate
) -> None:
    gate.counts_tokens = True
    server.always = scores(4, read=0, written=0)
    ask(opened())
    ((reserved, used),) = gate.tokens
    assert used == reserved


def test_what_was_refused_used_nothing(opened: Open, server: Answering, gate: Gate) -> None:
    gate.counts_tokens = True
    server.script = [refuses(429)]
    ask(opened())
    assert [used for _, used in gate.tokens] == [0, 120]


def test_without_a_limit_nobody_counts_tokens(opened: Open, gate: Gate) -> None:
    ask(opened())
    assert gate.sizes == [0]
    assert gate.tokens == []


def test_a_server_that_says_it_is_full_is_left_alone_for_so_long(opened: Open, server: Answering, gate: Gate) -> None:
    answer = {"choices": [{"finish_reason": "stop", "message": {"content": '{"reasoning": "", "score": 4}'}}]}
    full = with_headers(remaining_requests="0", limit_requests="120", reset_requests="60s")
    server.always = sends(200, answer, full)
    assert isinstance(ask(opened())[0], Verdict)
    assert gate.pauses == [0.5]


def test_a_refusal_says_by_its_headers_for_how_long(opened: Open, server: Answering, gate: Gate) -> None:
    server.script = [sends(429, {"error": {"message": "No."}}, with_headers(remaining_tokens="0", reset_tokens="30ms"))]
    assert isinstance(ask(opened())[0], Verdict)
    assert gate.pauses == [0.05]


def test_a_server_with_room_for_few_is_asked_by_few(opened: Open, server: Answering) -> None:
    """It takes eight calls at once and refuses what is beyond; by and by it is asked for fewer, and all is answered."""
    refused = 0

    async def act(request: web.Request) -> web.StreamResponse:
        nonlocal refused
        if server.in_flight > 8:
            refused += 1
            return await refuses(429)(request)
        await asyncio.sleep(0.02)
        return await scores(4)(request)

    server.always = act
    api = opened(max_in_flight=64, attempts=30)
    rounds: list[int] = []
    for _ in range(4):
        before = refused
        assert all(isinstance(outcome, Verdict) for outcome in ask(api, *(question() for _ in range(150))))
        rounds.append(refused - before)
    assert rounds[0] > 40
    assert min(rounds[1:]) < rounds[0]  # how many they are depends on how busy the machine is
    assert api._pacing._slots["gpt"].limit < 30


@pytest.mark.parametrize("status", [400, 500])
def test_other_failures_say_nothing_of_its_room(opened: Open, server: Answering, status: int) -> None:
    server.always = refuses(status)
    api = opened(attempts=1)
    failure(api, *(question() for _ in range(20)))
    assert api._pacing._slots["gpt"].limit == 64
