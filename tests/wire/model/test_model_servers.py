"""Models at several servers: addresses, keys and names, Azure's form, each server's own limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp import web

from evaluator.errors import Refused, Unavailable
from evaluator.model import Endpoint, Served
from judges import Price
from tests.answering import KEY, Answering, Gate, Open, ask, failure, question, refuses, scores, sends
from traces import Verdict


@pytest.fixture
def other() -> Iterator[Answering]:
    with Answering() as answering:
        answering.always = scores(2, model="big-1-2026")
        yield answering


def served(url: str, gate: Gate | None = None, **changes: object) -> Served:
    endpoint = Endpoint(url, "sk-other", timeout=5, address_in="base_url of big", key_in="BIG_KEY")
    return Served(endpoint, gate or Gate(), "big-1", **changes)  # type: ignore[arg-type]


def test_each_model_is_asked_at_its_own_server_by_its_own_name(
    opened: Open, server: Answering, other: Answering
) -> None:
    gate = Gate()
    api = opened(entries={"big": served(other.url, gate)}, prices={"big": Price(input=1, output=0)})
    outcomes = ask(api, question("a"), question("b", model="big"))
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Verdict)] == [4, 2]
    assert [body["model"] for body in server.requests] == ["gpt"]
    assert [body["model"] for body in other.requests] == ["big-1"]
    assert (dict(server.keys), dict(other.keys)) == ({f"Bearer {KEY}": 1}, {"Bearer sk-other": 1})
    assert gate.permits == 1
    assert isinstance(outcomes[1], Verdict)
    assert outcomes[1].details == {"judge_model": "big-1-2026"}
    assert outcomes[1].usage.usd == pytest.approx(0.0001)


def test_an_azure_resource_is_asked_for_its_deployment(opened: Open, other: Answering) -> None:
    address = other.url.removesuffix("/v1")
    api = opened(entries={"big": Served(Endpoint(address, "azure-key", "2024-10-21"), Gate(), "my deployment")})
    assert isinstance(ask(api, question(model="big"))[0], Verdict)
    assert other.paths == ["/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21"]
    assert dict(other.keys) == {"azure-key": 1}
    other.models = sends(200, {"data": []})
    assert "none is listed as 'my deployment'" in api.probe("big")


def test_an_azure_address_may_hold_deployment_and_version(opened: Open, other: Answering) -> None:
    address = other.url.removesuffix("/v1") + "/openai/deployments/mine?api-version=2024-10-21"
    api = opened(entries={"big": Served(Endpoint(address, "azure-key"), Gate(), "mine")})
    assert isinstance(ask(api, question(model="big"))[0], Verdict)
    assert other.paths == ["/openai/deployments/mine/chat/completions?api-version=2024-10-21"]
    assert dict(other.keys) == {"azure-key": 1}


def test_a_pause_of_one_server_is_none_of_another(opened: Open, gate: Gate, other: Answering) -> None:
    other.script = [refuses(429, retry_after="0.05")]
    own = Gate()
    ask(opened(entries={"big": served(other.url, own)}), question(model="big"))
    assert (gate.pauses, own.pauses) == ([], [0.05])


def test_a_model_may_have_fewer_calls_in_flight(opened: Open, other: Answering) -> None:
    async def takes_time(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return await scores(2)(request)

    other.always = takes_time
    api = opened(entries={"big": served(other.url, calls_in_flight=2)})
    ask(api, *(question(str(n), model="big") for n in range(12)))
    assert other.most_in_flight == 2


@pytest.mark.parametrize(
    ("status", "told"), [(401, "check BIG_KEY"), (403, "what BIG_KEY may use"), (404, "base_url of big")]
)
def test_a_refusal_names_what_a_person_set(opened: Open, other: Answering, status: int, told: str) -> None:
    other.always = refuses(status)
    assert told in failure(opened(entries={"big": served(other.url)}), question(model="big")).reason


def test_each_server_is_probed_by_itself(opened: Open, other: Answering) -> None:
    api = opened(entries={"big": served(other.url), "gone": served("http://127.0.0.1:9/v1")})
    assert api.probe().endswith("answers, 1 models")
    assert api.probe("big").endswith("answers, 1 models, but none is listed as 'big-1'")
    other.models = refuses(401)
    with pytest.raises(Refused, match="check BIG_KEY"):
        api.probe("big")
    with pytest.raises(Unavailable, match="check base_url of big"):
        api.probe("gone")
