"""Fixtures of the tests of the model API: a server that answers what a test says, and a client of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import pytest

from evaluator.loop import LoopThread
from evaluator.model import Breaker, ModelApi
from evaluator.model.breaker import Tell
from evaluator.state.circuits import Circuits
from judges import Price
from tests.answering import KEY, Answering, Gate, Open

PRICES: Final = {"gpt": Price(input=10, output=100)}


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as answering:
        yield answering


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def opened(server: Answering, gate: Gate) -> Iterator[Open]:
    """Open a client of the server, quick to try again: `opened(attempts=3)`."""
    with LoopThread() as loop, contextlib.ExitStack() as stack:

        def open_api(
            circuits: Circuits | None = None, tell: Tell = lambda _model, _why: None, **changes: Any
        ) -> ModelApi:
            arguments: dict[str, Any] = {
                "base_url": server.url,
                "api_key": KEY,
                "gate": gate,
                "prices": PRICES,
                "random": Random(1),
                "first_backoff": 0.001,
                "breaker": Breaker(circuits, loop.time, tell),
                **changes,
            }
            return stack.enter_context(contextlib.closing(ModelApi(loop=loop, **arguments)))

        yield open_api
