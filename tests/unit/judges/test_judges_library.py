"""The rubrics that come with the product are valid, tested by examples and ask about the right parts of a trace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from ruamel.yaml import YAML

from judges import CANNOT_JUDGE, BooleanScale, ChecklistScale, NumericScale, Question, Rubric, RubricSpec
from judges.spec import LONGEST_NAME, TRANSCRIPT
from tests.building import step, tool, trace
from traces import NotApplicable, Observation, Session, Trace, as_text
from traces.lengths import tokens

FOLDER: Final = Path(__file__).parents[3] / "config" / "rubrics"
FILES: Final = sorted(FOLDER.glob("*.yaml"))
SYSTEM: Final = {"role": "system", "content": "Answer in one sentence."}
HEADING: Final = r" *\[[A-Z]+ \S+ (?:[0-9.]+s|still open)\]"
SESSION_HEADING: Final = r"\[TRACE \d+ of \d+\] \S+, [-0-9]{10} [:0-9]{8} UTC"
ANY_HEADING: Final = rf"{HEADING}| *\[end of [A-Z]+ \S+\]|{SESSION_HEADING}"
USER: Final = {"role": "user", "content": "Hello"}


def named(name: str) -> Rubric:
    return Rubric(RubricSpec.model_validate(YAML(typ="safe").load(FOLDER / f"{name}.yaml")))


def generation(input: object) -> Observation:  # noqa: A002 - Langfuse's word
    return step("answer", type="GENERATION", input=input, output="Hi.")


def material(name: str, of: Trace) -> str:
    question = named(name).question(of)
    assert isinstance(question, Question)
    return question.prompt.user


def test_the_library_is_complete_and_four_of_it_are_on() -> None:
    on = {path.stem for path in FILES if named(path.stem).spec.enabled}
    assert on == {"agent-trajectory", "faithfulness", "helpfulness", "instruction-following"}
    assert {path.stem for path in FILES} - on == {
        "answer-relevance",
        "conciseness",
        "context-relevance",
        "goal-achieved",
        "no-hallucinated-citation",
        "no-toxicity",
        "refusal-correctness",
        "session-resolution",
        "tone",
        "tool-choice",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestEach:
    def test_it_is_named_as_its_file(self, path: Path) -> None:
        assert named(path.stem).name == path.stem

    def test_each_criterion_may_become_a_score_of_its_own(self, path: Path) -> None:
        spec = named(path.stem).spec
        if isinstance(spec.score, ChecklistScale):
            split = spec.model_copy(update={"score": spec.score.model_copy(update={"each": True})})
            assert max(map(len, split.score_names)) <= LONGEST_NAME

    def test_it_says_what_each_level_means(self, path: Path) -> None:
        match named(path.stem).spec.score:
            case NumericScale() as scale:
                assert scale.levels
                assert set(scale.anchors) == set(scale.levels)
            case BooleanScale() as scale:
                assert set(scale.anchors) == {True, False}
            case other:
                assert isinstance(other, ChecklistScale)
                assert len(other.criteria) >= 2

    def test_it_asks_one_question_and_says_what_is_not_judged_and_what_cannot_be(self, path: Path) -> None:
        criteria = named(path.stem).spec.criteria
        question, _, rest = criteria.partition("\n")
        assert question.endswith("?")
        assert "udged" in rest
        assert "You cannot judge" in rest

    def test_its_prompt_is_short(self, path: Path) -> None:
        rubric = named(path.stem)
        question = rubric.question_from(rubric.spec.examples[0].inputs)
        assert isinstance(question, Question)
        assert 300 < tokens(question.prompt.system) < 450  # as docs/rubrics.md says

    def test_its_examples_can_be_asked(self, path: Path) -> None:
        rubric = named(path.stem)
        assert len(rubric.spec.examples) >= 6
        for example in rubric.spec.examples:
            assert isinstance(rubric.question_from(example.inputs), Question)

    def test_its_examples_are_of_many_kinds(self, path: Path) -> None:
        examples = named(path.stem).spec.examples
        assert all(example.name for example in examples)
        assert any(example.expect.equals == CANNOT_JUDGE for example in examples)
        assert any(not as_text(list(example.inputs.values())).isascii() for example in examples)
        assert len({as_text(list(example.inputs.values())) for example in examples}) == len(examples)

    def test_a_transcript_looks_as_the_service_writes_it(self, path: Path) -> None:
        spec = named(path.stem).spec
        for example in spec.examples if TRANSCRIPT in spec.inputs else ():
            lines = example.inputs[TRANSCRIPT].splitlines()
            starts = rf"{HEADING}|{SESSION_HEADING}" if spec.target == "session" else HEADING
            assert re.fullmatch(starts, lines[0])
            strange = [line for line in lines if line.lstrip()[:1] == "[" and not re.fullmatch(ANY_HEADING, line)]
            assert strange == []

    def test_where_there_is_nothing_to_see_it_is_skipped(self, path: Path) -> None:
        rubric = named(path.stem)
        nothing = trace(input=None, output=None)
        material = Session("s", (nothing,)) if rubric.spec.target == "session" else nothing
        assert isinstance(rubric.question(material), NotApplicable)


def test_headings_are_as_the_service_writes_them() -> None:
    recorded = trace(tool("find_order", {"order": 77}, output={"ok": True}), name="chat")
    headings = [line for line in recorded.transcript().splitlines() if line.lstrip().startswith("[")]
    assert len(headings) == 3
    assert all(re.fullmatch(ANY_HEADING, line) for line in headings)
    first = Session("s", (recorded, recorded)).transcript().splitlines()[0]
    assert re.fullmatch(SESSION_HEADING, first)


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


def test_an_agent_is_judged_by_its_whole_way() -> None:
    assert named("agent-trajectory").spec.inputs["transcript"].path == TRANSCRIPT
    shown = material("agent-trajectory", trace(tool("find_order", {"order": 77}, output={"error": "timeout"})))
    assert "[TOOL find_order" in shown
    assert '"timeout"' in shown


def test_what_called_no_tools_is_no_agent() -> None:
    assert named("agent-trajectory").question(trace(generation([USER]))) == NotApplicable("no tools_called")


def test_tools_on_offer_are_shown_where_they_were_recorded() -> None:
    offered = [{"type": "function", "function": {"name": "find_order"}}]
    steps = (generation({"messages": [USER], "tools": offered}), tool("find_order", {"order": 77}))
    assert "end of tools_offered>>>" in material("tool-choice", trace(*steps))
    assert "end of tools_offered>>>" not in material("tool-choice", trace(*steps[1:]))


def test_a_citation_may_come_from_a_document_or_from_a_tool() -> None:
    found = (step("r", type="RETRIEVER", output=["From the index."]), tool("web", {"q": "x"}, output="From the web."))
    shown = material("no-hallucinated-citation", trace(*found))
    assert "From the index." in shown
    assert "From the web." in shown


def test_a_refusal_is_judged_without_instructions_too() -> None:
    assert "none were recorded" in material("refusal-correctness", trace(generation([USER])))


def test_a_session_is_judged_by_all_its_traces() -> None:
    session = Session("s", (trace(input="My invoice is wrong.", output="Which?"), trace(input="R-7", output="Mended.")))
    question = named("session-resolution").question(session)
    assert isinstance(question, Question)
    shown = question.prompt.user
    assert shown.index("My invoice is wrong.") < shown.index("R-7") < shown.index("Mended.")
    first, _, _ = shown.partition("end of first_request>>>")
    assert "R-7" not in first
