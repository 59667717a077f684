"""The rubrics that come with the product are valid, tested by examples and ask about the right parts of a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from ruamel.yaml import YAML

from judges import CANNOT_JUDGE, Question, Rubric, RubricSpec
from judges.spec import TRANSCRIPT
from tests.building import step, tool, trace
from traces import NotApplicable, Observation, Trace

FOLDER: Final = Path(__file__).parents[3] / "config" / "rubrics"
FILES: Final = sorted(FOLDER.glob("*.yaml"))
SYSTEM: Final = {"role": "system", "content": "Answer in one sentence."}
USER: Final = {"role": "user", "content": "Hello"}


def named(name: str) -> Rubric:
    return Rubric(RubricSpec.model_validate(YAML(typ="safe").load(FOLDER / f"{name}.yaml")))


def generation(input: object) -> Observation:  # noqa: A002 - Langfuse's word
    return step("answer", type="GENERATION", input=input, output="Hi.")


def material(name: str, of: Trace) -> str:
    question = named(name).question(of)
    assert isinstance(question, Question)
    return question.prompt.user


def test_the_four_rubrics_are_there() -> None:
    assert {"agent-trajectory", "faithfulness", "helpfulness", "instruction-following"} <= {f.stem for f in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestEach:
    def test_it_is_named_as_its_file(self, path: Path) -> None:
        assert named(path.stem).name == path.stem

    def test_it_says_what_each_level_means(self, path: Path) -> None:
        spec = named(path.stem).spec
        levels = range(int(spec.score.min), int(spec.score.max) + 1) if spec.score.type == "numeric" else []
        named_levels = [str(level) for level in levels] or (["true", "false"] if spec.score.type == "boolean" else [])
        assert named_levels
        assert all(f"\n{level}: " in spec.criteria for level in named_levels)
        assert len(spec.criteria) < 1200

    def test_its_examples_can_be_asked(self, path: Path) -> None:
        rubric = named(path.stem)
        assert len(rubric.spec.examples) >= 4
        for example in rubric.spec.examples:
            assert isinstance(rubric.question_from(example.inputs), Question)

    def test_its_examples_tell_good_from_bad(self, path: Path) -> None:
        spec = named(path.stem).spec
        if spec.score.type == "numeric":
            assert any(e.expect.at_least is not None and e.expect.at_least >= 4 for e in spec.examples)
            assert any(e.expect.at_most is not None and e.expect.at_most <= 2 for e in spec.examples)
        else:
            assert {True, False} <= {e.expect.equals for e in spec.examples}

    def test_an_empty_trace_is_skipped(self, path: Path) -> None:
        assert isinstance(named(path.stem).question(trace(input=None, output=None)), NotApplicable)


def test_helpfulness_sees_question_and_answer() -> None:
    shown = material("helpfulness", trace(input={"question": "When?"}, output="Tomorrow."))
    assert "When?" in shown
    assert "Tomorrow." in shown


def test_faithfulness_sees_all_that_was_retrieved() -> None:
    found = [step(f"r{n}", type="RETRIEVER", output=[f"Document {n}."]) for n in range(3)]
    shown = material("faithfulness", trace(*found))
    assert all(f"Document {n}." in shown for n in range(3))


def test_faithfulness_has_nothing_to_say_where_nothing_was_retrieved() -> None:
    assert named("faithfulness").question(trace()) == NotApplicable("no documents")


@pytest.mark.parametrize(
    "recorded",
    [
        [SYSTEM, USER],
        {"messages": [SYSTEM, USER]},
        {"messages": [[SYSTEM, USER]]},
        {"tools": [{"name": "search"}], "messages": [SYSTEM, USER]},
        [{**SYSTEM, "role": "developer"}, USER],
        [{**SYSTEM, "content": [{"type": "text", "text": SYSTEM["content"]}]}, USER],
    ],
)
def test_instructions_are_found_however_they_were_recorded(recorded: object) -> None:
    assert SYSTEM["content"] in material("instruction-following", trace(generation(recorded)))


@pytest.mark.parametrize("recorded", [None, "Hello", [USER], {"prompt": "Hello"}, []])
def test_without_instructions_nothing_can_be_followed(recorded: object) -> None:
    assert named("instruction-following").question(trace(generation(recorded))) == NotApplicable("no instructions")


def test_the_first_instructions_count() -> None:
    later = {"role": "system", "content": "Forget it and answer at length."}
    shown = material("instruction-following", trace(generation([SYSTEM, USER, later]), generation([later])))
    assert SYSTEM["content"] in shown
    instructions, _, _ = shown.partition("end of instructions>>>")
    assert "Forget it" not in instructions


def test_instruction_following_has_an_example_of_what_cannot_be_judged() -> None:
    spec = named("instruction-following").spec
    assert any(example.expect.equals == CANNOT_JUDGE for example in spec.examples)


def test_an_agent_is_judged_by_its_whole_way() -> None:
    assert named("agent-trajectory").spec.inputs["transcript"].path == TRANSCRIPT
    shown = material("agent-trajectory", trace(tool("find_order", {"order": 77}, output={"error": "timeout"})))
    assert "[TOOL find_order" in shown
    assert '"timeout"' in shown


def test_what_called_no_tools_is_no_agent() -> None:
    assert named("agent-trajectory").question(trace(generation([USER]))) == NotApplicable("no tools_called")
