"""The model stand-in over its wire: what is wrong with its answers, and what it counts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from sandbox.server import Sandbox


def complete(sandbox: Sandbox) -> dict[str, Any]:
    body = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Judge this, from 1 to 5."}]}
    request = urllib.request.Request(
        sandbox.model_url + "/chat/completions", json.dumps(body).encode(), {"Authorization": "Bearer k"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        found: dict[str, Any] = json.loads(response.read())
    return found


def test_an_answer_of_another_schema_is_json_without_a_score(sandbox: Sandbox) -> None:
    sandbox.model.answers.wrong_schema = 1.0
    (choice,) = complete(sandbox)["choices"]
    assert choice["finish_reason"] == "stop"
    assert "score" not in json.loads(choice["message"]["content"])


def test_a_prompt_that_is_too_long_is_refused_as_openai_does(sandbox: Sandbox) -> None:
    sandbox.model.answers.too_long = 1.0
    with pytest.raises(urllib.error.HTTPError) as caught:
        complete(sandbox)
    with caught.value as refusal:
        assert refusal.code == 400
        assert json.loads(refusal.read())["error"]["code"] == "context_length_exceeded"
    assert sandbox.model.counts()["calls"] == 0


def test_only_answers_that_nothing_is_wrong_with_are_usable(sandbox: Sandbox) -> None:
    complete(sandbox)
    sandbox.model.answers.malformed = 1.0
    complete(sandbox)
    assert (sandbox.model.counts()["calls"], sandbox.model.counts()["usable"]) == (2, 1)
