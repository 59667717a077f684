"""The model API with many questions at once, when it stops, what it tells nobody, and its probe."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from aiohttp import web

from evaluator.errors import ConfigError, Refused, Unavailable
from evaluator.model import INTERRUPTED, POSTPONED
from judges import CategoricalScale, Prompt, Question, Reply
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
    failure,
    question,
    refuses,
    refusing,
    resets,
    says,
    scores,
    sends,
)
from traces import Failure, Outcome, Verdict


def until(holds: Callable[[], bool]) -> None:
    """Wait for something another thread does."""
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


class TestManyAtOnce:
    def test_calls_in_flight_are_bounded_for_all_threads(self, opened: Open, server: Answering) -> None:
        api = opened(max_in_flight=3)
        server.hold()
        threads = [threading.Thread(target=ask, args=(api, *[question() for _ in range(5)])) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: server.in_flight == 3)
        server.release()
        for thread in threads:
            thread.join(30)
        assert len(server.requests) == 20
        assert server.most_in_flight == 3

    def test_one_failure_never_touches_the_others(self, opened: Open, server: Answering) -> None:
        async def by_content(request: Any) -> Any:
            content = (await request.json())["messages"][1]["content"].split("\n")[0]
            act: Act = {"bad": refuses(400), "odd": says("no json"), "gone": resets}.get(content, scores(4))
            return await act(request)

        server.always = by_content
        texts = ["good", "bad", "good", "odd", "gone", "good"]
        outcomes = ask(opened(attempts=2), *[question(text) for text in texts])
        assert [getattr(outcome, "kind", "") for outcome in outcomes] == [
            "",
            "request_refused",
            "",
            "bad_answer",
            "model_unavailable",
            "",
        ]

    def test_a_mistake_of_ours_costs_one_question(self, opened: Open) -> None:
        class Broken(Question):
            def read(self, reply: Reply) -> Outcome | Prompt:
                raise ZeroDivisionError(reply.text + self.prompt.user)

        outcomes = ask(opened(), Broken(question().prompt, FIVE), question())
        assert isinstance(outcomes[0], Failure)
        assert outcomes[0].kind == "judge_error"
        assert outcomes[0].reason.startswith("ZeroDivisionError in read")
        assert CONTENT not in outcomes[0].reason
        assert isinstance(outcomes[1], Verdict)

    def test_text_that_cannot_be_encoded_costs_one_question(self, opened: Open) -> None:
        scale = CategoricalScale(type="categorical", labels=("\ud800", "b"))
        broken = Question(Prompt("gpt", "Judge.", "x", answer_schema(scale)), scale)
        first, second = ask(opened(), broken, question())
        assert isinstance(first, Failure)
        assert isinstance(second, Verdict)

    def test_when_nobody_draws_any_more_nothing_goes_on_in_secret(self, opened: Open, server: Answering) -> None:
        async def slowly(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.02)
            return await scores(4)(request)

        server.always = slowly
        api = opened(max_in_flight=1)
        lots = api.ask([question() for _ in range(50)])
        next(lots)
        lots.close()
        ask(api)
        assert len(server.requests) < 40


class TestPatience:
    """Who is in a hurry does not wait for a slow model, and leaves it alone for a while."""

    def test_calls_in_the_air_finish_and_the_rest_is_postponed(self, opened: Open, server: Answering) -> None:
        api = opened(max_in_flight=2)
        server.hold()
        outcomes: list[Outcome] = []
        asking = threading.Thread(
            target=lambda: outcomes.extend(ask(api, *[question() for _ in range(6)], patience=0.2))
        )
        asking.start()
        time.sleep(0.5)
        server.release()
        asking.join(30)
        kinds = Counter(o.kind if isinstance(o, Failure) else "answered" for o in outcomes)
        assert kinds == {"answered": 2, POSTPONED: 4}
        assert len(server.requests) == 2

    def test_others_in_a_hurry_leave_a_slow_model_alone(self, opened: Open, server: Answering) -> None:
        api = opened(attempts=1)
        server.always = refuses(500)
        assert failure(api).kind == "model_unavailable"
        server.always = scores(4)
        asked = len(server.requests)
        turned_away, other = ask(api, question(), question(model="other"), patience=5)
        assert isinstance(turned_away, Failure)
        assert (turned_away.kind, turned_away.retryable) == (POSTPONED, True)
        assert isinstance(other, Verdict)
        assert len(server.requests) == asked + 1
        # Those who have time still ask, and do not send the hurried ones back to it.
        assert isinstance(ask(api)[0], Verdict)
        assert isinstance(ask(api, patience=5)[0], Failure)

    def test_a_slow_juror_is_known_as_slow(self, opened: Open, server: Answering) -> None:
        async def by_model(request: web.Request) -> web.StreamResponse:
            slow = (await request.json())["model"] == "slow"
            return await (refuses(500) if slow else scores(4))(request)

        server.always = by_model
        api = opened(attempts=1)
        jury = question(models=("gpt", "fine", "slow"))
        (outcome,) = ask(api, jury, patience=5)
        assert isinstance(outcome, Verdict)
        assert (outcome.details["panel"], outcome.details["opinions"][2]) == (
            "fine + gpt + slow",
            {"model": "slow", "failed": "model_unavailable"},
        )
        asked = len(server.requests)
        outcomes = ask(api, jury, question(), question(model="fine"), patience=5)
        assert [getattr(outcome, "kind", "answered") for outcome in outcomes] == [POSTPONED, "answered", "answered"]
        assert len(server.requests) == asked + 2

    def test_a_few_without_an_answer_are_bad_luck(self, opened: Open, server: Answering) -> None:
        api = opened(attempts=1, max_in_flight=1)
        server.script.extend([refuses(500), scores(4), scores(4)])
        ask(api, question(), question(), question())
        assert isinstance(ask(api, patience=5)[0], Verdict)

    def test_one_slow_model_does_not_take_the_places_of_another(self, opened: Open, server: Answering) -> None:
        api = opened(max_in_flight=1)
        server.hold()
        slow = threading.Thread(target=lambda: ask(api, question()))
        slow.start()
        until(lambda: server.in_flight == 1)
        other = threading.Thread(target=lambda: ask(api, question(model="other")))
        other.start()
        until(lambda: server.in_flight == 2)
        server.release()
        slow.join(30)
        other.join(30)


class TestStopping:
    def test_an_interrupted_ask_cancels_its_calls(self, opened: Open, server: Answering) -> None:
        api = opened(max_in_flight=4)
        server.hold()
        outcomes: list[BaseException] = []

        def asking() -> None:
            try:
                ask(api, *[question() for _ in range(8)])
            except KeyboardInterrupt as error:
                outcomes.append(error)

        thread = threading.Thread(target=asking)
        thread.start()
        until(lambda: server.in_flight == 4)
        interrupt(thread)
        thread.join(30)
        assert len(outcomes) == 1
        server.release()
        assert isinstance(ask(api)[0], Verdict)
        assert len(server.requests) == 5

    def test_a_drain_lets_paid_calls_finish_and_hands_back_the_rest(self, opened: Open, server: Answering) -> None:
        api = opened(max_in_flight=2)
        server.hold()
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.extend(ask(api, *[question() for _ in range(6)])))
        thread.start()
        until(lambda: server.in_flight == 2)
        api.drain()
        server.release()
        thread.join(30)
        kinds = [outcome.kind if isinstance(outcome, Failure) else "verdict" for outcome in outcomes]
        assert kinds == ["verdict"] * 2 + [INTERRUPTED] * 4
        assert all(outcome.retryable for outcome in outcomes if isinstance(outcome, Failure))
        assert len(server.requests) == 2
        assert failure(api).kind == INTERRUPTED
        api.accept()
        assert isinstance(ask(api)[0], Verdict)

    @pytest.mark.parametrize("why", ["backoff", "pause", "gate"])
    def test_a_drain_ends_every_unpaid_wait_at_once(
        self, opened: Open, server: Answering, gate: Gate, why: str
    ) -> None:
        api = opened(first_backoff=600 if why == "backoff" else 0.001)
        server.always = refuses(500) if why == "backoff" else refuses(429, Retry_After="300")
        gate.closed = why == "gate"
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.extend(ask(api, question(), question())))
        thread.start()
        until(lambda: why == "gate" or len(server.requests) == 2)
        time.sleep(0.05)
        api.drain()
        thread.join(30)
        assert [outcome.kind for outcome in outcomes if isinstance(outcome, Failure)] == [INTERRUPTED] * 2

    def test_what_was_paid_before_a_stop_is_told(self, opened: Open, server: Answering) -> None:
        api = opened()
        server.hold()
        server.always = says("no json")
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.extend(ask(api)))
        thread.start()
        until(lambda: server.in_flight == 1)
        api.drain()
        server.release()
        thread.join(30)
        (outcome,) = outcomes
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.usage.calls) == (INTERRUPTED, 1)


class TestSecrets:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500])
    def test_neither_key_nor_content_is_in_failures_or_logs(
        self, opened: Open, server: Answering, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        server.always = refuses(status, f"{KEY} is wrong; you said: {CONTENT}", code=CONTENT)
        with structlog.testing.capture_logs() as logged:
            failed = failure(opened(attempts=2))
        for text in (repr(failed), json.dumps(logged), caplog.text):
            assert KEY not in text
            assert CONTENT not in text

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, opened: Open, server: Answering, status: int) -> None:
        server.always = sends(status, b"", {"Location": "/v1/models"})
        server.models = scores(5)
        failed = failure(opened())
        assert (failed.kind, failed.retryable) == ("model_refused", False)
        assert "set OPENAI_BASE_URL to the address it leads to" in failed.reason
        assert len(server.requests) == 1

    def test_an_error_of_the_transport_holds_neither(self, opened: Open, server: Answering) -> None:
        server.always = resets
        assert CONTENT not in repr(failure(opened(attempts=1)))

    def test_an_unknown_form_is_told_once_without_content(self, opened: Open, server: Answering) -> None:
        server.always = refusing("json_schema")
        with structlog.testing.capture_logs() as logged:
            ask(opened(), *[question() for _ in range(5)])
        assert len(logged) == 1
        assert logged[0]["model"] == "gpt"
        assert CONTENT not in json.dumps(logged)


class TestProbe:
    def test_a_good_server(self, opened: Open, server: Answering) -> None:
        assert opened().probe() == f"{server.url}/ answers, 1 models"

    @pytest.mark.parametrize("act", [refuses(404), refuses(405), sends(200, b"ok"), sends(200, []), sends(200, {})])
    def test_a_server_without_a_list(self, opened: Open, server: Answering, act: Act) -> None:
        server.models = act
        assert "lists no models" in opened().probe()

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_wrong_key(self, opened: Open, server: Answering, status: int) -> None:
        server.models = refuses(status, f"{KEY} is wrong")
        with pytest.raises(Refused, match=f"answered {status}; check OPENAI_API_KEY") as caught:
            opened().probe()
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize("act", [refuses(500), refuses(429), resets])
    def test_a_server_that_cannot_now(self, opened: Open, server: Answering, act: Act) -> None:
        server.models = act
        with pytest.raises(Unavailable):
            opened().probe()

    def test_a_key_in_the_address_is_not_shown(self, opened: Open, server: Answering) -> None:
        assert KEY not in opened(base_url=f"{server.url}?key={KEY}").probe()

    @pytest.mark.parametrize(
        "address",
        ["", "localhost:8000/v1", "ftp://host/v1", "http://", f"https://user:{KEY}@host/v1", "http://[::1/v1"],
    )
    def test_an_address_that_cannot_work_is_for_a_person_to_mend(self, opened: Open, address: str) -> None:
        with pytest.raises(ConfigError, match="OPENAI_BASE_URL: ") as caught:
            opened(base_url=address)
        assert KEY not in str(caught.value)


def test_a_server_may_want_no_key(opened: Open, server: Answering) -> None:
    assert isinstance(ask(opened(api_key=""))[0], Verdict)
    assert KEY not in str(server.keys)


def interrupt(thread: threading.Thread) -> None:
    """Raise KeyboardInterrupt in a thread, as Dramatiq's time limit raises its own."""
    import ctypes  # noqa: PLC0415 - this one place

    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
