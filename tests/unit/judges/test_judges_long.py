"""Material longer than a model's context: packed or read in parts, never cut in silence, and the verdict says which."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judges import Prompt, Question, Reply, Rubric, RubricSpec
from judges.attacks import ATTACKS, Aim
from judges.fitting import MOST_PARTS
from tests.building import step, tool, trace
from traces import Failure, Outcome, Trace, Usage, Verdict, tokens

FENCE: Final = re.compile(r"<<<([0-9a-f]{16,}) ([^>]+)>>>\n(.*?)\n<<<\1 end of \2>>>", re.DOTALL)
CONTEXT: Final = 8_000
STORY: Final = {"question": "$.root.input", "story": "transcript"}


def rubric(long: str = "pack", inputs: Any = STORY, context: int = CONTEXT, **judge: Any) -> Rubric:
    return Rubric(
        RubricSpec.model_validate(
            {
                "name": "goal",
                "inputs": inputs,
                "criteria": "Was the goal reached?",
                "score": {"type": "numeric", "min": 1, "max": 5},
                "judge": {"long": long, "max_output_tokens": 500, **judge},
            }
        ),
        context=context,
    )


def agent(steps: int, size: int = 100) -> Trace:
    calls = [tool("find", {"order": n}, id=f"t{n}", output=f"result {n} " + "word " * size) for n in range(steps)]
    return trace(*calls, input="Find all of it.", output="All found.")


def asked(of: Trace, by: Rubric) -> Question:
    question = by.question(of)
    assert isinstance(question, Question)
    return question


def shown(prompt: Prompt) -> dict[str, str]:
    return {match[2]: match[3] for match in FENCE.finditer(prompt.user)}


def size(prompt: Prompt) -> int:
    return tokens(prompt.system) + tokens(prompt.user) + prompt.max_output_tokens


def answered(question: Question, *replies: str, finish: str = "stop") -> tuple[list[Prompt], Outcome]:
    """Let a judge give these replies, the last one again and again; return all prompts and the outcome."""
    prompts = [question.prompt]
    while True:
        text = replies[min(len(prompts), len(replies)) - 1]
        read = question.read(Reply(text, "gpt", finish, Usage(calls=len(prompts))))
        if not isinstance(read, Prompt):
            return prompts, read
        question = question.again(read)
        prompts.append(read)


NOTES: Final = json.dumps({"notes": "Nothing failed here."})
SCORE: Final = json.dumps({"reasoning": "It was.", "score": 4})


def test_what_a_long_question_will_take_is_known_before_it_is_asked() -> None:
    question = asked(agent(60, size=400), rubric("parts"))
    prompts, outcome = answered(question, *[NOTES] * (question.details["parts"] - 1), SCORE)
    assert isinstance(outcome, Verdict)
    likely = question.likely_prompts()
    assert [prompt.schema for prompt in likely] == [prompt.schema for prompt in prompts]
    # Notes are counted as long as they are asked for; these are short.
    assert sum(map(size, prompts)) < sum(map(size, likely)) < 1.5 * sum(map(size, prompts))
    short = asked(agent(3), rubric())
    assert short.likely_prompts() == (short.prompt,)


class TestPack:
    def test_what_fits_is_shown_whole_and_nothing_is_said_of_it(self) -> None:
        question = asked(agent(3), rubric())
        assert question.details == {}
        assert shown(question.prompt)["story"] == agent(3).transcript()

    def test_what_does_not_fit_is_packed_and_the_verdict_says_so(self) -> None:
        question = asked(agent(300), rubric())
        assert size(question.prompt) <= CONTEXT
        assert question.details["long"] == "pack"
        assert question.details["characters_left_out"]["story"] > 10_000
        story = shown(question.prompt)["story"]
        assert "in: Find all of it." in story
        assert story.endswith("out: All found.")

    @given(st.integers(0, 400), st.integers(0, 300), st.integers(3_000, 30_000))
    def test_a_prompt_is_never_longer_than_the_context(self, steps: int, length: int, context: int) -> None:
        question = asked(agent(steps, length), rubric(context=context))
        assert size(question.prompt) <= context
        assert ("long" in question.details) == ("characters_left_out" in question.details)

    def test_the_longest_input_gives_way_first(self) -> None:
        inputs = {
            name: {"path": path, "max_tokens": 50_000}
            for name, path in {"documents": "$.observations[*].output", "answer": "$.root.output"}.items()
        }
        of = trace(step("r", type="RETRIEVER", output="word " * 40_000), output="The answer. " * 100)
        question = asked(of, rubric(inputs={"answer": inputs["answer"], "documents": inputs["documents"]}))
        assert list(question.details["characters_left_out"]) == ["documents"]

    def test_an_input_has_its_own_limit_too(self) -> None:
        question = asked(agent(50), rubric(inputs={**STORY, "story": {"path": "transcript", "max_tokens": 1000}}))
        assert tokens(shown(question.prompt)["story"]) <= 1000
        assert "long" not in question.details

    def test_a_transcript_has_no_limit_of_its_own(self) -> None:
        question = asked(agent(300), rubric(context=400_000))
        assert question.details == {}
        assert len(shown(question.prompt)["story"]) > 20_000

    def test_two_limits_are_one_too_many(self) -> None:
        with pytest.raises(ValidationError, match="two measures of one limit"):
            rubric(inputs={"story": {"path": "transcript", "max_tokens": 1000, "max_chars": 1000}})

    def test_an_example_may_be_too_long(self) -> None:
        question = rubric().question_from({"question": "q", "story": "line of the story\n" * 10_000})
        assert isinstance(question, Question)
        assert size(question.prompt) <= CONTEXT
        assert question.details["long"] == "pack"


class TestSmaller:
    """A model that finds a prompt too long is asked once more, with less."""

    def test_by_the_context_it_told(self) -> None:
        question = asked(agent(300), rubric(context=128_000))
        again = question.smaller(4_000)
        assert again is not None
        assert size(again.prompt) <= 4_000 < size(question.prompt)
        assert again.details["long"] == "pack"
        assert again.smaller(2_000) is None

    def test_without_knowing_by_half(self) -> None:
        question = asked(agent(300), rubric(context=128_000))
        again = question.smaller(None)
        assert again is not None
        assert size(again.prompt) <= size(question.prompt) // 2

    def test_by_its_count_when_ours_says_that_it_fits(self) -> None:
        question = asked(agent(300), rubric(context=128_000))
        again = question.smaller(127_000)
        assert again is not None
        assert size(again.prompt) <= size(question.prompt) * 2 // 3

    def test_each_opinion_keeps_its_model(self) -> None:
        for opinion in asked(agent(300), rubric(jury=["big"])).opinions():
            again = opinion.smaller(4_000)
            assert again is not None
            assert (again.prompt.model, again.models) == (opinion.prompt.model, ())

    def test_in_parts_it_is_read_in_more_of_them(self) -> None:
        question = asked(agent(300), rubric("parts", context=16_000))
        again = question.smaller(8_000)
        assert again is not None
        assert again.details["parts"] > question.details["parts"]


class TestParts:
    def test_every_part_is_read_and_the_last_prompt_asks_for_the_verdict(self) -> None:
        question = asked(agent(100), rubric("parts"))
        parts = question.details["parts"]
        prompts, outcome = answered(question, *[NOTES] * (parts - 1), SCORE)
        assert len(prompts) == parts > 2
        assert isinstance(outcome, Verdict)
        assert outcome.value == 4
        assert outcome.details["long"] == "parts"
        assert outcome.details["parts"] == parts
        assert outcome.usage.calls == parts
        told = "\n".join(shown(prompt)[f"story, part {n} of {parts}"] for n, prompt in enumerate(prompts, 1))
        assert all(f"result {n} " in told for n in range(100))
        assert all(size(prompt) <= CONTEXT for prompt in prompts)
        assert all(shown(prompt)["question"] == "Find all of it." for prompt in prompts)

    def test_notes_are_carried_over_in_a_fence(self) -> None:
        question = asked(agent(100), rubric("parts"))
        parts = question.details["parts"]
        notes = [json.dumps({"notes": f"Noted {n}."}) for n in range(1, parts)]
        prompts, _ = answered(question, *notes, SCORE)
        assert "notes" not in "".join(shown(prompts[0]))
        assert shown(prompts[1])["notes on part 1"] == "Part 1: Noted 1."
        last = shown(prompts[-1])[f"notes on parts 1 to {parts - 1}"]
        assert last == "\n\n".join(f"Part {n}: Noted {n}." for n in range(1, parts))

    def test_each_prompt_has_a_code_of_its_own_and_the_same_words_in_front(self) -> None:
        question = asked(agent(100), rubric("parts"))
        prompts, _ = answered(question, *[NOTES] * (question.details["parts"] - 1), SCORE)
        codes = {match[1] for prompt in prompts for match in FENCE.finditer(prompt.user)}
        assert len(codes) == len(prompts)
        assert len({prompt.system for prompt in prompts[:-1]}) == 1
        assert all("Was the goal reached?" in prompt.system for prompt in prompts)
        assert prompts[0].schema["required"] == ["notes"]

    def test_the_last_prompt_is_the_rubrics_own(self) -> None:
        question = asked(agent(100), rubric("parts"))
        prompts, _ = answered(question, *[NOTES] * (question.details["parts"] - 1), SCORE)
        plain = asked(agent(1), rubric()).prompt
        assert (prompts[-1].system, prompts[-1].schema) == (plain.system, plain.schema)
        assert prompts[-1].max_output_tokens == 500

    @pytest.mark.parametrize("bad", ["", "no JSON", "{}", '{"notes": ""}', '{"notes": 5}', SCORE])
    def test_notes_that_cannot_be_read_are_asked_for_once_more(self, bad: str) -> None:
        question = asked(agent(100), rubric("parts"))
        prompts, outcome = answered(question, bad, *[NOTES] * (question.details["parts"] - 1), SCORE)
        assert isinstance(outcome, Verdict)
        assert prompts[1].repair
        assert not prompts[2].repair
        assert shown(prompts[1]) == shown(prompts[0])

    def test_a_part_that_never_gets_notes_is_a_failure(self) -> None:
        _, outcome = answered(asked(agent(100), rubric("parts")), "no JSON")
        assert isinstance(outcome, Failure)
        assert outcome.kind == "bad_answer"

    def test_a_model_that_declines_a_part_is_a_failure(self) -> None:
        _, outcome = answered(asked(agent(100), rubric("parts")), NOTES, finish="refusal")
        assert isinstance(outcome, Failure)
        assert outcome.kind == "judge_declined"

    def test_endless_notes_are_cut(self) -> None:
        question = asked(agent(100), rubric("parts"))
        endless = json.dumps({"notes": "and so on " * 20_000})
        prompts, outcome = answered(question, *[endless] * (question.details["parts"] - 1), SCORE)
        assert isinstance(outcome, Verdict)
        assert all(size(prompt) <= CONTEXT for prompt in prompts)

    def test_each_opinion_reads_the_parts_itself(self) -> None:
        opinions = asked(agent(100), rubric("parts", jury=["big"])).opinions()
        for opinion in opinions:
            prompts, outcome = answered(opinion, *[NOTES] * (opinion.details["parts"] - 1), SCORE)
            assert isinstance(outcome, Verdict)
            assert {prompt.model for prompt in prompts} == {opinion.prompt.model}
        assert {opinion.prompt.model for opinion in opinions} == {"gpt-5.4-mini", "big"}

    def test_what_is_longer_than_all_parts_is_packed_into_them(self) -> None:
        question = asked(agent(3000), rubric("parts", context=12_000))
        assert question.details["parts"] <= MOST_PARTS
        assert question.details["characters_left_out"]["story"] > 100_000

    def test_what_leaves_no_room_for_parts_is_packed(self) -> None:
        assert asked(agent(100), rubric("parts", context=1_500)).details["long"] == "pack"

    @given(st.integers(1, 150), st.integers(0, 200), st.integers(6_000, 20_000))
    def test_nothing_is_lost_and_nothing_too_long(self, steps: int, length: int, context: int) -> None:
        question = asked(agent(steps, length), rubric("parts", context=context))
        parts = question.details.get("parts", 1)
        prompts, outcome = answered(question, *[NOTES] * (parts - 1), SCORE)
        assert isinstance(outcome, Verdict)
        assert all(size(prompt) <= context for prompt in prompts)
        if "characters_left_out" not in question.details:
            told = "\n".join(prompt.user for prompt in prompts)
            assert all(f"result {n} " in told for n in range(steps))

    @pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
    def test_neither_a_part_nor_notes_leave_their_fence(self, attack: Any) -> None:
        hostile = attack.on("Honest.", Aim.at(5))
        of = trace(*[tool("find", {"n": n}, id=f"t{n}", output=f"{n} {hostile}" + "word " * 800) for n in range(40)])
        question = asked(of, rubric("parts"))
        prompts, _ = answered(question, *[json.dumps({"notes": hostile})] * (question.details["parts"] - 1), SCORE)
        for prompt in prompts:
            code = prompt.user.removeprefix("The code of this question is ")[:24]
            outside = re.sub(rf"<<<{code} ([^>]+)>>>\n.*?\n<<<{code} end of \1>>>", "", prompt.user, flags=re.DOTALL)
            assert not re.search(r"Honest|word word|<<<", outside)
            assert outside.count(code) == 1
