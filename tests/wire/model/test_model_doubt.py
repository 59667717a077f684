"""Probabilities of levels and stronger judges, over the wire: the answering server, and the stand-in that we ship."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from judges import BooleanScale, NumericScale, Prompt, Question
from judges.asking import Escalation, answer_schema
from sandbox.server import Sandbox
from tests.answering import Act, Answering, Open, ask, failure, refuses, refusing, says, scores
from traces import Failure, Outcome, Unscored, Verdict

LEVELS = NumericScale(type="numeric", min=1, max=5, step=1)
STRONG = Escalation("strong", 0.7)


def doubting(text: str = "Judge from 1 to 5.", model: str = "gpt", **changes: Any) -> Question:
    prompt = Prompt(model, "Judge, in JSON.", text, answer_schema(LEVELS), max_output_tokens=100, logprobs=True)
    return Question(prompt, LEVELS, **changes)


def weighs(said: int, levels: dict[str, float]) -> Act:
    """Answer with probabilities at the score."""
    before = ['{"reasoning": ', '"Because."', ', "score":', " "]
    certain = [{"token": token, "logprob": 0.0, "top_logprobs": []} for token in before]
    top = [{"token": level, "logprob": math.log(p)} for level, p in levels.items()]
    score = {"token": str(said), "logprob": math.log(levels[str(said)]), "top_logprobs": top}
    text = json.dumps({"reasoning": "Because.", "score": said})
    return says(text, told={"logprobs": {"content": [*certain, score, {"token": "}", "logprob": 0.0}]}})


def by_model(**acts: Act) -> Act:
    async def act(request: Any) -> Any:
        return await acts[(await request.json())["model"]](request)

    return act


def verdict(outcome: Outcome) -> Verdict:
    assert isinstance(outcome, Verdict), outcome
    return outcome


class TestLogprobs:
    def test_the_score_is_the_mean_of_the_levels(self, opened: Open, server: Answering) -> None:
        server.always = weighs(4, {"4": 0.6, "5": 0.3, "3": 0.1})
        outcome = verdict(ask(opened(), doubting())[0])
        assert outcome.value == pytest.approx(4.2)
        assert outcome.confidence == pytest.approx(0.7, abs=0.1)
        assert (outcome.details["said"], outcome.details["weighed"]) == (4, True)
        (body,) = server.requests
        assert (body["logprobs"], body["top_logprobs"]) == (True, 20)

    def test_others_are_not_asked_for_them(self, opened: Open, server: Answering) -> None:
        ask(opened(), replace(doubting(), prompt=replace(doubting().prompt, logprobs=False)))
        assert "logprobs" not in server.requests[0]

    def test_a_tenth_outside_the_scale_is_no_score(self, opened: Open, server: Answering) -> None:
        server.always = weighs(4, {"4": 0.85, '"': 0.15})
        assert (failure(opened(), doubting()).kind, failure(opened(), doubting()).retryable) == ("off_scale", False)

    def test_a_server_that_leaves_them_out_is_told_by_name(self, opened: Open, server: Answering) -> None:
        failed = failure(opened(), doubting())
        assert (failed.kind, failed.retryable, failed.usage.calls) == ("no_logprobs", False, 1)
        assert "leave out judge.logprobs" in failed.reason

    def test_a_server_that_refuses_them_costs_nothing(self, opened: Open, server: Answering) -> None:
        server.always = refusing("logprobs")
        failed = failure(opened(), doubting())
        assert (failed.kind, failed.usage.calls) == ("no_logprobs", 0)
        assert [body["top_logprobs"] for body in server.requests] == [20, 5]

    @pytest.mark.parametrize("odd", [{}, {"content": None}, {"content": [1, {"token": None}, {"logprob": 1}]}, [], 7])
    def test_odd_probabilities_are_none(self, opened: Open, server: Answering, odd: Any) -> None:
        server.always = says('{"reasoning": "", "score": 4}', told={"logprobs": odd})
        outcome = ask(opened(), doubting())[0]
        assert isinstance(outcome, Verdict | Failure)
        assert getattr(outcome, "kind", "no_logprobs") == "no_logprobs"

    def test_an_abstention_stays_one(self, opened: Open, server: Answering) -> None:
        server.always = scores("cannot_judge")
        assert isinstance(ask(opened(), doubting())[0], Unscored)


class TestEscalation:
    def test_who_is_sure_is_not_asked_again(self, opened: Open, server: Answering) -> None:
        server.always = weighs(4, {"4": 0.99, "5": 0.01})
        outcome = verdict(ask(opened(), doubting(escalate=STRONG))[0])
        assert [body["model"] for body in server.requests] == ["gpt"]
        assert outcome.details["panel"] == "gpt + strong"

    def test_who_is_unsure_is_overruled(self, opened: Open, server: Answering) -> None:
        server.always = by_model(gpt=weighs(3, {"3": 0.4, "1": 0.3, "5": 0.3}), strong=scores(5, model="strong-2026"))
        outcome = verdict(ask(opened(), doubting(escalate=STRONG))[0])
        assert (outcome.value, outcome.usage.calls, outcome.usage.model) == (5, 2, "strong-2026")
        assert outcome.details["escalated_from"]["value"] == pytest.approx(2.9, abs=0.2)
        assert "logprobs" not in server.requests[1]

    def test_a_strong_judge_that_is_away_is_asked_later(self, opened: Open, server: Answering) -> None:
        server.always = by_model(gpt=scores("cannot_judge"), strong=refuses(503))
        outcome = failure(opened(attempts=1), doubting(escalate=STRONG))
        assert (outcome.kind, outcome.retryable, outcome.usage.calls) == ("model_unavailable", True, 1)

    def test_the_first_stands_when_the_strong_one_never_answers(self, opened: Open, server: Answering) -> None:
        server.always = by_model(gpt=weighs(3, {"3": 0.4, "1": 0.3, "5": 0.3}), strong=refuses(400))
        assert verdict(ask(opened(), doubting(escalate=STRONG))[0]).details["escalation_failed"] == "request_refused"

    def test_a_jury_that_disagrees_escalates(self, opened: Open, server: Answering) -> None:
        server.always = by_model(gpt=scores(1), other=scores(5), strong=scores(2))
        jury = doubting(models=("gpt", "other"), escalate=STRONG)
        outcome = verdict(ask(opened(), replace(jury, prompt=replace(jury.prompt, logprobs=False)))[0])
        assert (outcome.value, outcome.usage.calls, outcome.details["panel"]) == (2, 3, "gpt + other + strong")


class TestStandIn:
    """The shipped stand-in tells, doubts and refuses as real servers do."""

    @pytest.fixture
    def sandbox(self) -> Iterator[Sandbox]:
        with Sandbox() as running:
            running.model.latency_seconds = 0.0
            yield running

    def test_it_tells_its_doubts(self, opened: Open, sandbox: Sandbox) -> None:
        api = opened(base_url=sandbox.model_url)
        sandbox.model.doubt = 0.4
        outcome = verdict(ask(api, doubting())[0])
        assert (outcome.details["weighed"], outcome.details["outside"]) == (True, 0)
        assert outcome.confidence is not None
        assert outcome.confidence < 1
        sandbox.model.astray = 0.2
        assert failure(api, doubting()).kind == "off_scale"

    @pytest.mark.parametrize("most", [20, 5, 0])
    def test_it_tells_as_many_as_it_has(self, opened: Open, sandbox: Sandbox, most: int) -> None:
        sandbox.model.most_logprobs = most
        (outcome,) = ask(opened(base_url=sandbox.model_url), doubting())
        assert isinstance(outcome, Verdict) is bool(most)
        assert sandbox.model.counts()["calls"] == bool(most)

    def test_it_may_leave_them_out(self, opened: Open, sandbox: Sandbox) -> None:
        sandbox.model.leave_out_logprobs = True
        assert failure(opened(base_url=sandbox.model_url), doubting()).kind == "no_logprobs"

    def test_yes_and_no_are_weighed_too(self, opened: Open, sandbox: Sandbox) -> None:
        scale = BooleanScale(type="boolean")
        prompt = Prompt("gpt", "Judge, in JSON.", "true or false", answer_schema(scale), logprobs=True)
        outcome = verdict(ask(opened(base_url=sandbox.model_url), Question(prompt, scale))[0])
        assert outcome.confidence == pytest.approx(0.8)
