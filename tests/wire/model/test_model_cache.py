"""Verdicts that are used again: nothing is paid for twice, and what was no verdict is asked again."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from evaluator.model import Endpoint, ModelApi, Served
from evaluator.state.cache import Cache
from evaluator.state.connection import connect
from judges import Question
from tests.answering import KEY, Answering, Gate, Open, ask, question, refuses, says, scores
from tests.serving import everything
from traces import Failure, Unscored, Usage, Verdict

DAY = timedelta(days=1)


@pytest.fixture
def cache(valkey: redis.Redis) -> Cache:
    return Cache(valkey, "test", DAY, "secret")


def verdict(api: ModelApi, *questions: Question) -> Verdict:
    """Ask and return the first outcome, which must be a verdict."""
    outcome = ask(api, *questions)[0]
    assert isinstance(outcome, Verdict)
    return outcome


def told(api: ModelApi, *questions: Question) -> Verdict:
    """Ask and close: what is kept is kept behind the answer's back."""
    found = verdict(api, *questions)
    api.close()
    return found


def keys(valkey: redis.Redis) -> list[str]:
    return [key for key in everything(valkey) if key.startswith("test:cache:")]


def test_the_same_question_is_paid_for_once_and_the_second_verdict_says_so(
    opened: Open, server: Answering, cache: Cache, valkey: redis.Redis
) -> None:
    first, second = (told(opened(cache=cache)), told(opened(cache=cache)))
    assert len(server.requests) == 1
    assert first.usage.calls == 1
    assert "cached" not in first.details
    assert second == replace(first, usage=Usage("gpt-2026", cached=1), details={**first.details, "cached": True})
    [key] = keys(valkey)
    assert 0 < int(str(valkey.pttl(key))) <= DAY / timedelta(milliseconds=1)


def test_equal_questions_on_their_way_wait_for_the_first(opened: Open, server: Answering, cache: Cache) -> None:
    outcomes = ask(opened(cache=cache), *[question()] * 20, question("other"))
    assert len(server.requests) == 2
    assert sorted(each.usage.calls for each in outcomes if isinstance(each, Verdict)) == [0] * 19 + [1, 1]


def test_another_version_model_server_or_secret_is_asked(
    opened: Open, server: Answering, cache: Cache, valkey: redis.Redis
) -> None:
    api = opened(cache=cache)
    renamed = {"gpt": Served(Endpoint(server.url, KEY), Gate(), "gpt-large")}
    ask(api)
    ask(api, replace(question(), versions=("v2",)))
    ask(api, question(model="large"))
    api.close()
    told(opened(cache=cache, entries=renamed))
    told(opened(cache=Cache(valkey, "test", DAY, "other")))
    assert len(server.requests) == 5 == len(keys(valkey))


@pytest.mark.parametrize("act", [scores("cannot_judge"), refuses(400), says("Hm.")])
def test_what_is_no_verdict_is_asked_again(
    opened: Open, server: Answering, cache: Cache, valkey: redis.Redis, act: Any
) -> None:
    server.always = act
    api = opened(cache=cache)
    assert isinstance(ask(api)[0], Unscored | Failure)
    before = len(server.requests)
    ask(api)
    assert len(server.requests) == 2 * before
    assert keys(valkey) == []


def test_each_sample_is_a_draw_of_its_own(opened: Open, server: Answering, cache: Cache) -> None:
    three = question(models=("gpt",) * 3)
    server.script = [scores(1), scores(3), scores(5)]
    first = told(opened(cache=cache), three)
    again = told(opened(cache=cache), three)
    assert len(server.requests) == 3
    assert (again.value, again.confidence, again.usage.cached) == (first.value, first.confidence, 3)
    assert again.details["cached"] is True


def test_a_second_try_buys_only_the_opinions_that_failed(opened: Open, server: Answering, cache: Cache) -> None:
    jury = question(models=("gpt", "other", "third"))
    api = opened(cache=cache, attempts=1)
    server.script = [scores(4), refuses(500), refuses(500)]
    failed = ask(api, jury)[0]
    assert isinstance(failed, Failure)
    assert failed.retryable
    found = verdict(api, jury)
    assert len(server.requests) == 5
    assert (found.usage.calls, found.details["cached_opinions"]) == (2, 1)
    assert "cached" not in found.details


def test_without_redis_every_question_is_asked(opened: Open, server: Answering) -> None:
    with connect("redis://127.0.0.1:1") as nobody:
        api = opened(cache=Cache(nobody, "test", DAY, "secret"))
        assert [verdict(api).value, verdict(api).value] == [4, 4]
    assert len(server.requests) == 2


def test_a_redis_that_hangs_keeps_nobody_waiting_but_the_first(
    opened: Open, server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.model.reuse._LONGEST_LOOK", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}?socket_timeout=0.5"
        with connect(address) as nobody, capture_logs() as logged:
            api = opened(cache=Cache(nobody, "test", DAY, "secret"))
            assert [verdict(api).value, verdict(api, question("other")).value] == [4, 4]
            api.close()
    assert len(server.requests) == 2
    assert [line["why"] for line in logged if "why" in line] == ["it does not answer in time"]


@pytest.mark.parametrize("spoil", [b"", b"[]", b'{"is": "later"}', b'{"is": "unscored", "reason": "no"}', b"\xff"])
def test_what_cannot_be_read_is_asked_again(
    opened: Open, server: Answering, cache: Cache, valkey: redis.Redis, spoil: bytes
) -> None:
    api = opened(cache=cache)
    ask(api)
    api.close()
    for key in keys(valkey):
        valkey.set(key, spoil)
    assert "cached" not in told(opened(cache=cache)).details
    assert len(server.requests) == 2


def test_a_fallback_s_verdict_is_not_that_of_the_model_it_stood_in_for(
    opened: Open, server: Answering, cache: Cache
) -> None:
    deputy = {"gpt": Served(Endpoint(server.url, KEY), Gate(), "gpt", fallback=("deputy",))}
    server.script = [refuses(404), scores(2, model="deputy-2026"), scores(5)]
    assert told(opened(cache=cache, entries=deputy)).value == 2
    assert told(opened(cache=cache, entries=deputy)).value == 5
