"""Fallbacks and circuits: who answers in whose place, and what a fleet leaves alone until a person mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from evaluator.model import CLOSED, Endpoint, Served
from evaluator.state.circuits import Circuits
from judges import Price
from judges.asking import Escalation
from tests.answering import KEY, Act, Answering, Gate, Open, ask, failure, question, refuses, scores
from traces import Failure, Unscored, Usage, Verdict

QUOTA = refuses(429, code="insufficient_quota")
PAUSE = timedelta(seconds=60)


@pytest.fixture
def other() -> Iterator[Answering]:
    with Answering() as answering:
        answering.always = scores(2, model="deputy-2026")
        yield answering


def entries(server: Answering, other: Answering, *fallback: str) -> dict[str, Served]:
    return {
        "gpt": Served(Endpoint(server.url, KEY), Gate(), "gpt", fallback=fallback),
        "deputy": Served(Endpoint(other.url), Gate(), "deputy"),
    }


@pytest.fixture
def circuits(valkey: redis.Redis) -> Circuits:
    return Circuits(valkey, "test", PAUSE)


def waits(valkey: redis.Redis, model: str = "gpt") -> None:
    """Let the pause of a circuit be over."""
    valkey.hset(f"test:circuit:{model}", "due", 0)


class TestFallback:
    @pytest.mark.parametrize(
        ("act", "kind", "calls"),
        [
            (refuses(500), "model_unavailable", 3),
            (refuses(401), "key_refused", 1),
            (refuses(403), "access_refused", 1),
            (QUOTA, "quota_exhausted", 1),
            (refuses(404), "model_refused", 1),
        ],
    )
    def test_the_next_model_answers_and_the_score_says_so(
        self, opened: Open, server: Answering, other: Answering, act: Act, kind: str, calls: int
    ) -> None:
        server.always = act
        prices = {"deputy": Price(input=10, output=100)}
        api = opened(entries=entries(server, other, "deputy"), attempts=3, prices=prices)
        (outcome,) = ask(api)
        told = {"judge_model": "deputy-2026", "fallback_from": ["gpt"], "fallback_because": kind}
        assert outcome == Verdict(2, "Because.", usage=Usage("deputy-2026", 1, 100, 20, 0.003), details=told)
        assert len(server.requests) == calls

    def test_they_are_asked_in_order_and_the_first_failure_is_told(
        self, opened: Open, server: Answering, other: Answering
    ) -> None:
        server.always, other.always = refuses(401), refuses(503)
        api = opened(entries=entries(server, other, "deputy", "unlisted"), attempts=2)
        failed = failure(api)
        assert (failed.kind, failed.retryable) == ("model_unavailable", True)
        assert [body["model"] for body in server.requests] == ["gpt", "unlisted"]
        assert [body["model"] for body in other.requests] == ["deputy", "deputy"]

    @pytest.mark.parametrize("act", [refuses(400), scores(99), refuses(413)])
    def test_what_is_no_fault_of_the_model_is_not_passed_on(
        self, opened: Open, server: Answering, other: Answering, act: Act
    ) -> None:
        server.always = act
        assert not failure(opened(entries=entries(server, other, "deputy"))).retryable
        assert other.requests == []

    def test_what_is_too_long_goes_to_who_reads_more_and_to_nobody_else(
        self, opened: Open, server: Answering, other: Answering
    ) -> None:
        server.always = refuses(400, code="context_length_exceeded")
        models = entries(server, other, "small", "deputy")
        models["small"] = Served(Endpoint(server.url, KEY), Gate(), "small", context=8_000)
        models["deputy"] = Served(Endpoint(other.url), Gate(), "deputy", context=400_000)
        (outcome,) = ask(opened(entries=models))
        assert isinstance(outcome, Verdict)
        assert outcome.details["fallback_from"] == ["gpt"]
        assert outcome.details["fallback_because"] == "context_too_long"
        assert [body["model"] for body in server.requests] == ["gpt"]

    def test_the_score_names_everybody_whose_place_was_taken(
        self, opened: Open, server: Answering, other: Answering
    ) -> None:
        server.always = refuses(401)
        (outcome,) = ask(opened(entries=entries(server, other, "unlisted", "deputy")))
        assert isinstance(outcome, Verdict)
        assert outcome.details["fallback_from"] == ["gpt", "unlisted"]

    def test_a_refused_try_is_paid_beside_the_answer(self, opened: Open, server: Answering, other: Answering) -> None:
        server.script = [scores(99), refuses(401)]
        (outcome,) = ask(opened(entries=entries(server, other, "deputy")))
        assert isinstance(outcome, Verdict)
        assert (outcome.usage.calls, outcome.usage.model) == (2, "deputy-2026")

    def test_who_has_no_time_asks_nobody_in_its_place(self, opened: Open, server: Answering, other: Answering) -> None:
        server.always = refuses(503)
        api = opened(entries=entries(server, other, "deputy"), first_backoff=5)
        (outcome,) = ask(api, patience=0.1)
        assert isinstance(outcome, Failure)
        assert outcome.kind == "model_slow"
        assert other.requests == []


class TestCircuit:
    @pytest.mark.parametrize("act", [refuses(401), refuses(402), QUOTA])
    def test_after_one_refusal_nobody_of_the_fleet_asks(
        self, opened: Open, server: Answering, circuits: Circuits, act: Act
    ) -> None:
        server.always = act
        first = failure(opened(circuits=circuits))
        assert (first.kind, first.retryable) == (CLOSED, True)
        api = opened(circuits=circuits)
        again = failure(api)
        assert (again.kind, again.retryable, again.reason) == (CLOSED, True, first.reason)
        assert len(server.requests) == 1
        assert api.is_closed(["gpt"])
        assert not api.is_closed(["gpt", "other"])
        assert circuits.look(["gpt", "other"]).keys() == {"gpt"}

    def test_people_are_told_once(
        self, opened: Open, server: Answering, circuits: Circuits, valkey: redis.Redis
    ) -> None:
        told: list[tuple[str, str]] = []

        def tell(model: str, why: str) -> Mapping[str, Any]:
            told.append((model, why))
            return {"text": f"{model}: {why}"}

        server.always = refuses(401)
        for _ in range(3):
            ask(opened(circuits=circuits, tell=tell), *(question(str(n)) for n in range(5)))
            waits(valkey)
        (message,) = valkey.hgetall("test:outbox").values()
        assert b"check OPENAI_API_KEY" in message
        circuits.close("gpt")
        ask(opened(circuits=circuits, tell=tell))
        assert valkey.hlen("test:outbox") == 1  # a circuit that opens and closes says so once an hour

    def test_one_question_tries_when_the_pause_is_over_and_the_circuit_closes(
        self, opened: Open, server: Answering, circuits: Circuits, valkey: redis.Redis
    ) -> None:
        server.always = refuses(401)
        failure(opened(circuits=circuits))
        waits(valkey)
        api = opened(circuits=circuits)
        outcomes = ask(api, *(question(str(n)) for n in range(5)))
        assert len(server.requests) == 2
        assert {outcome.kind for outcome in outcomes if isinstance(outcome, Failure)} == {CLOSED}
        pause = valkey.hget("test:circuit:gpt", "pause")
        assert pause == b"120000"  # twice as long
        waits(valkey)
        server.always = scores(4)
        api = opened(circuits=circuits)
        outcomes = ask(api, *(question(str(n)) for n in range(5)))
        assert sum(isinstance(outcome, Verdict) for outcome in outcomes) >= 1
        assert circuits.look(["gpt"]) == {}
        assert all(isinstance(outcome, Verdict) for outcome in ask(api, *(question(str(n)) for n in range(5))))

    def test_a_trial_that_meets_an_outage_leaves_it_open(
        self, opened: Open, server: Answering, circuits: Circuits, valkey: redis.Redis
    ) -> None:
        server.always = refuses(401)
        failure(opened(circuits=circuits))
        waits(valkey)
        server.always = refuses(503)
        assert failure(opened(circuits=circuits, attempts=1)).kind == "model_unavailable"
        assert circuits.look(["gpt"]).keys() == {"gpt"}

    def test_one_forbidden_prompt_closes_nothing_three_in_a_row_do(
        self, opened: Open, server: Answering, circuits: Circuits
    ) -> None:
        api = opened(circuits=circuits)
        server.script = [refuses(403), refuses(403), scores(4), refuses(403), refuses(403)]
        kinds = [getattr(ask(api)[0], "kind", "answered") for _ in range(5)]
        assert kinds == ["access_refused", "access_refused", "answered", "access_refused", "access_refused"]
        server.always = refuses(403)
        assert failure(api).kind == CLOSED

    def test_a_trial_that_is_forbidden_leaves_it_open(
        self, opened: Open, server: Answering, circuits: Circuits, valkey: redis.Redis
    ) -> None:
        server.always = refuses(403)
        api = opened(circuits=circuits)
        assert [failure(api).kind for _ in range(3)] == ["access_refused", "access_refused", CLOSED]
        waits(valkey)
        assert failure(opened(circuits=circuits)).kind == CLOSED
        assert circuits.look(["gpt"]).keys() == {"gpt"}

    def test_what_is_forbidden_before_that_is_known_is_not_given_up(
        self, opened: Open, server: Answering, circuits: Circuits
    ) -> None:
        server.always = refuses(403)
        api = opened(circuits=circuits)
        outcomes = ask(api, *(question(str(n)) for n in range(3)), patience=5)
        assert [outcome.retryable for outcome in outcomes if isinstance(outcome, Failure)] == [True] * 3
        assert "model_slow" not in {getattr(outcome, "kind", "") for outcome in ask(api, patience=5)}

    def test_the_deputy_takes_over_at_once(
        self, opened: Open, server: Answering, other: Answering, circuits: Circuits
    ) -> None:
        server.always = refuses(401)
        api = opened(circuits=circuits, entries=entries(server, other, "deputy"))
        outcomes = [outcome for _ in range(3) for outcome in ask(api)]
        assert [outcome.details["fallback_because"] for outcome in outcomes if isinstance(outcome, Verdict)] == [
            CLOSED,
            CLOSED,
            CLOSED,
        ]
        assert (len(server.requests), len(other.requests)) == (1, 3)
        assert not api.is_closed(["gpt"])

    def test_a_closed_model_is_not_a_slow_one(self, opened: Open, server: Answering, circuits: Circuits) -> None:
        server.always = refuses(401)
        api = opened(circuits=circuits)
        kinds = [getattr(ask(api, patience=5)[0], "kind", "") for _ in range(2)]
        assert kinds == [CLOSED, CLOSED]

    def test_a_jury_most_of_which_is_closed_costs_nothing(
        self, opened: Open, server: Answering, circuits: Circuits
    ) -> None:
        for model in ("two", "three"):
            circuits.open(model, "its account has no credit left")
        api = opened(circuits=circuits)
        jury = replace(question(), models=("gpt", "two", "three"))
        failed = failure(api, jury)
        assert (failed.kind, failed.retryable, failed.usage.calls) == (CLOSED, True, 0)
        assert server.requests == []
        assert api.is_closed(jury.models)
        circuits.close("three")
        assert not opened(circuits=circuits).is_closed(jury.models)
        assert isinstance(ask(opened(circuits=circuits), jury)[0], Verdict)
        assert [body["model"] for body in server.requests] == ["gpt", "three"]

    def test_the_first_stands_where_the_stronger_is_closed(
        self, opened: Open, server: Answering, circuits: Circuits
    ) -> None:
        circuits.open("strong", "its account has no credit left")
        server.always = scores("cannot_judge")
        unsure = replace(question(), escalate=Escalation("strong", 0.7))
        (outcome,) = ask(opened(circuits=circuits), unsure)
        # To wait for it would be to pay the first one again every minute.
        assert isinstance(outcome, Unscored)
        server.always = scores(4)
        (outcome,) = ask(opened(circuits=circuits), unsure)
        assert isinstance(outcome, Verdict)
        assert outcome.details["escalation_failed"] == CLOSED

    def test_what_the_first_could_not_say_is_tried_a_few_times(
        self, opened: Open, server: Answering, circuits: Circuits
    ) -> None:
        circuits.open("strong", "its account has no credit left")
        server.always = scores(99)
        failed = failure(opened(circuits=circuits), replace(question(), escalate=Escalation("strong", 0.7)))
        assert (failed.kind, failed.retryable, failed.usage.calls) == ("model_unavailable", True, 2)

    def test_without_circuits_a_refusal_is_final(self, opened: Open, server: Answering) -> None:
        server.always = refuses(401)
        assert [failure(opened()).retryable for _ in range(2)] == [False, False]
        assert len(server.requests) == 2
