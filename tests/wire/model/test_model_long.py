"""A trace larger than the model's context, over the wire: scored, packed or in parts, and the score says which."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from evaluator.service import sweep
from judges import Question, Rubric, RubricSpec
from sandbox.server import Sandbox
from tests.answering import Answering, Open, ask, refuses, says, scores
from tests.building import tool, trace
from tests.serving import Config, OpenService, Traffic
from traces import Failure, Verdict

STORY = """
name: goal
sample: [{{rate: 1}}]
inputs: {{story: transcript}}
criteria: Was the goal reached?
score: {{type: numeric, min: 1, max: 5}}
judge: {{model: small, long: {long}, max_output_tokens: 200}}
"""
TOO_LONG = "This model's maximum context length is 4,000 tokens. However, your messages are longer."


def question(long: str) -> Question:
    steps = [tool("find", {"order": n}, id=f"t{n}", output=f"result {n} " + "word " * 100) for n in range(200)]
    written = {
        "name": "goal",
        "inputs": {"story": "transcript"},
        "criteria": "Was the goal reached?",
        "score": {"type": "numeric", "min": 1, "max": 5},
        "judge": {"model": "gpt", "long": long, "max_output_tokens": 200},
    }
    asked = Rubric(RubricSpec.model_validate(written), context=10_000).question(trace(*steps))
    assert isinstance(asked, Question)
    return asked


class TestAsking:
    def test_a_prompt_the_model_finds_too_long_is_sent_once_more_with_less(
        self, opened: Open, server: Answering
    ) -> None:
        server.script = [refuses(400, TOO_LONG, code="context_length_exceeded")]
        (outcome,) = ask(opened(), question("pack"))
        assert isinstance(outcome, Verdict)
        assert outcome.details["long"] == "pack"
        first, second = (len(request["messages"][1]["content"]) for request in server.requests)
        assert second < first / 2

    def test_one_that_is_too_long_twice_is_a_failure(self, opened: Open, server: Answering) -> None:
        server.always = refuses(400, TOO_LONG, code="context_length_exceeded")
        (outcome,) = ask(opened(), question("pack"))
        assert isinstance(outcome, Failure)
        assert (outcome.kind, len(server.requests)) == ("context_too_long", 2)

    def test_parts_are_one_answer_after_the_other_and_all_are_paid_for(self, opened: Open, server: Answering) -> None:
        asked = question("parts")
        parts = asked.details["parts"]
        server.script = [says('{"notes": "Nothing failed."}')] * (parts - 1)
        (outcome,) = ask(opened(), asked)
        assert isinstance(outcome, Verdict)
        assert (outcome.value, outcome.details["long"], outcome.details["parts"]) == (4, "parts", parts)
        assert outcome.usage.calls == len(server.requests) == parts > 2
        assert outcome.usage.input_tokens == 100 * parts
        schemas = [request["response_format"]["json_schema"]["schema"]["required"] for request in server.requests]
        assert schemas == [["notes"]] * (parts - 1) + [["reasoning", "score"]]
        assert "Nothing failed." in server.requests[-1]["messages"][1]["content"]

    def test_a_part_that_is_too_long_begins_again_in_smaller_ones(self, opened: Open, server: Answering) -> None:
        asked = question("parts")
        server.script = [says('{"notes": "Lost."}'), refuses(400, TOO_LONG, code="context_length_exceeded")]
        server.script += [says('{"notes": "Kept."}')] * 15
        server.always = scores(4)
        again = asked.smaller(4_000)
        assert again is not None
        server.script = server.script[: 2 + again.details["parts"] - 1]
        (outcome,) = ask(opened(), asked)
        assert isinstance(outcome, Verdict)
        assert outcome.details["parts"] == again.details["parts"] > asked.details["parts"]
        assert outcome.usage.calls == 1 + outcome.details["parts"]
        last = server.requests[-1]["messages"][1]["content"]
        assert "Kept." in last
        assert "Lost." not in last


class TestService:
    @pytest.fixture
    def score(self, sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic) -> Any:
        """Evaluate one long trace with a model of 6,000 tokens, and return its score."""

        def scored(long: str) -> dict[str, Any]:
            sandbox.model.context_of["small"] = 6_000
            traffic.add(1, output="It was found. " * 40_000)
            config(rules="[]", rubrics={"goal": STORY.format(long=long)})
            with service() as app:
                sweep(app, timedelta(hours=1), drain=True, threads=2)
            (score,) = sandbox.langfuse.all_scores()
            return score

        return scored

    def test_packed(self, sandbox: Sandbox, score: Any) -> None:
        metadata = score("pack")["metadata"]
        assert metadata["long"] == "pack"
        assert metadata["characters_left_out"]["story"] > 400_000
        assert sandbox.model.counts()["statuses"] == {"400": 1, "200": 1}

    def test_in_parts(self, sandbox: Sandbox, score: Any) -> None:
        metadata = score("parts")["metadata"]
        assert metadata["long"] == "parts"
        assert metadata["parts"] == sandbox.model.counts()["calls"] > 5
