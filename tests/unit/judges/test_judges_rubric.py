from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judges import CANNOT_JUDGE, Question, Rubric, RubricSpec
from judges.judge import DEFAULT_MODEL
from judges.spec import Expectation
from tests.building import ANY_TEXT, step, tool, trace
from traces import DataType, Failure, NotApplicable, Trace, Unscored, Verdict

BOUNDARY = "0123456789abcdef01234567"
FENCE = re.compile(r"<<<([0-9a-f]{16,}) ([^>]+)>>>\n(.*?)\n<<<\1 end of \2>>>", re.DOTALL)


def spec(**changes: Any) -> RubricSpec:
    written = {
        "name": "helpfulness",
        "inputs": {"question": "$.root.input", "answer": "$.root.output"},
        "criteria": "Does it help? 5: yes. 1: no.",
        "score": {"type": "numeric", "min": 1, "max": 5},
    }
    return RubricSpec.model_validate({**written, **changes})


def asked(rubric_spec: RubricSpec, of: Trace | None = None) -> Question:
    question = Rubric(rubric_spec, boundary=lambda: BOUNDARY).question(of or trace())
    assert isinstance(question, Question)
    return question


def shown(question: Question) -> dict[str, str]:
    return {match[2]: match[3] for match in FENCE.finditer(question.prompt.user)}


class TestPrompt:
    def test_the_criteria_come_first_and_the_material_is_fenced(self) -> None:
        prompt = asked(spec()).prompt
        assert "Does it help? 5: yes. 1: no." in prompt.system
        assert "Please help." not in prompt.system
        assert prompt.user.startswith(f"The code of this question is {BOUNDARY}:")
        assert shown(asked(spec())) == {"question": "Please help.", "answer": "All done."}

    def test_a_reminder_stands_behind_the_material(self) -> None:
        _, _, behind = asked(spec()).prompt.user.rpartition("end of answer>>>")
        assert "That was all the material" in behind
        assert f'a number from 1 to 5, or "{CANNOT_JUDGE}"' in behind

    def test_the_judge_is_told_the_scale_the_form_and_the_way_out(self) -> None:
        system = asked(spec(score={"type": "categorical", "labels": ["good", "bad"]})).prompt.system
        assert 'exactly one of "good", "bad"' in system
        assert "JSON" in system  # a server in json_object mode insists on the word
        assert system.index('"reasoning"') < system.index('"score"')
        assert f'"{CANNOT_JUDGE}"' in system

    def test_nothing_of_a_trace_is_in_the_part_a_provider_caches(self) -> None:
        first, second = (asked(spec(), trace(output=text)).prompt for text in ("One.", "Two."))
        assert first.system == second.system
        assert first.user != second.user

    def test_braces_in_criteria_and_content_are_text(self) -> None:
        question = asked(spec(criteria="Is {answer} {0} valid?"), trace(output="{asked} {} {boundary}"))
        assert "Is {answer} {0} valid?" in question.prompt.system
        assert shown(question)["answer"] == "{asked} {} {boundary}"

    def test_the_judge_of_the_rubric_is_asked(self) -> None:
        prompt = asked(spec(judge={"model": "big", "temperature": None, "max_output_tokens": 77})).prompt
        assert (prompt.model, prompt.temperature, prompt.max_output_tokens) == ("big", None, 77)
        plain = asked(spec()).prompt
        assert (plain.model, plain.temperature, plain.repair) == (DEFAULT_MODEL, 0, False)

    def test_each_question_has_a_boundary_of_its_own(self) -> None:
        rubric = Rubric(spec())
        codes = set()
        for _ in range(50):
            question = rubric.question(trace())
            assert isinstance(question, Question)
            codes |= {match[1] for match in FENCE.finditer(question.prompt.user)}
        assert len(codes) == 50

    @given(ANY_TEXT, ANY_TEXT)
    def test_any_content_can_be_sent(self, question: str, answer: str) -> None:
        asked_about = Rubric(spec()).question(trace(input=question, output=answer))
        if isinstance(asked_about, Question):
            asked_about.prompt.user.encode()
        else:
            assert not question.strip() or not answer.strip()


class TestInputs:
    def test_a_missing_input_that_is_required_skips_the_trace(self) -> None:
        assert Rubric(spec()).question(trace(output=None)) == NotApplicable("no answer")

    @pytest.mark.parametrize("nothing", [None, "", " \n", [], {}])
    def test_nothing_is_missing_whatever_it_looks_like(self, nothing: Any) -> None:
        assert Rubric(spec()).question(trace(output=nothing)) == NotApplicable("no answer")

    @pytest.mark.parametrize("something", [0, False, 0.0, [0], {"a": None}])
    def test_a_value_that_is_false_is_there(self, something: Any) -> None:
        assert "answer" in shown(asked(spec(), trace(output=something)))

    def test_a_missing_input_that_is_not_required_is_left_out(self) -> None:
        optional = spec(inputs={"question": {"path": "$.root.input", "required": False}, "answer": "$.root.output"})
        assert shown(asked(optional, trace(input=None))) == {"answer": "All done."}

    @pytest.mark.parametrize(("take", "text"), [("first", "one"), ("last", "two"), ("all", "one\n\ntwo")])
    def test_of_several_matches_some_are_taken(self, take: str, text: str) -> None:
        of = trace(
            step("a", type="RETRIEVER", output=None),
            step("b", type="RETRIEVER", output="one"),
            step("c", type="RETRIEVER", output="two"),
        )
        source = {"path": "$.observations[?@.type == 'RETRIEVER'].output", "take": take}
        assert shown(asked(spec(inputs={"documents": source}), of)) == {"documents": text}

    @pytest.mark.parametrize("take", ["first", "last", "all"])
    def test_what_is_blank_is_no_match(self, take: str) -> None:
        blank = (step(f"blank-{n}", type="RETRIEVER", output=text, at=n) for n, text in enumerate([" ", "one", "\n"]))
        source = {"path": "$.observations[?@.type == 'RETRIEVER'].output", "take": take}
        assert shown(asked(spec(inputs={"documents": source}), trace(*blank))) == {"documents": "one"}

    def test_a_default_stands_in_for_what_is_missing_and_for_nothing_else(self) -> None:
        source = {"path": "$.observations[?@.type == 'RETRIEVER'].output", "default": "(nothing was retrieved)"}
        of = spec(inputs={"documents": source, "answer": "$.root.output"})
        assert shown(asked(of))["documents"] == "(nothing was retrieved)"
        assert (
            shown(asked(of, trace(step("a", type="RETRIEVER", output=" "))))["documents"] == "(nothing was retrieved)"
        )
        assert shown(asked(of, trace(step("a", type="RETRIEVER", output="one"))))["documents"] == "one"

    def test_an_example_may_leave_out_an_input_with_a_default(self) -> None:
        source = {"path": "$.root.input", "default": "(no question)"}
        golden = [{"inputs": {"answer": "Yes."}, "expect": {"at_least": 2}}]
        of = spec(inputs={"question": source, "answer": "$.root.output"}, examples=golden)
        question = Rubric(of).question_from(of.examples[0].inputs)
        assert isinstance(question, Question)
        assert shown(question)["question"] == "(no question)"

    def test_a_transcript_is_every_step_as_text(self) -> None:
        of = trace(tool("find_order", {"order": 77}, output={"status": "sent"}))
        for source in ("transcript", {"path": "transcript"}):
            text = shown(asked(spec(inputs={"transcript": source}), of))["transcript"]
            assert text == of.transcript()
            assert "[TOOL find_order" in text

    def test_a_long_input_is_shortened_in_the_open(self) -> None:
        short = spec(inputs={"question": "$.root.input", "answer": {"path": "$.root.output", "max_chars": 500}})
        question = asked(short, trace(output="a" * 10_000))
        left_out = question.details["characters_left_out"]
        assert list(left_out) == ["answer"]
        assert f"[... {left_out['answer']:,} characters left out ...]" in shown(question)["answer"]
        assert len(shown(question)["answer"]) <= 500

    def test_details_are_empty_when_nothing_was_shortened(self) -> None:
        assert asked(spec()).details == {}

    def test_examples_are_asked_as_traces_are(self) -> None:
        rubric = Rubric(spec(), boundary=lambda: BOUNDARY)
        by_hand = rubric.question_from({"question": "Please help.", "answer": "All done."})
        assert by_hand == rubric.question(trace())
        assert rubric.question_from({"question": "Please help."}) == NotApplicable("no answer")

    def test_an_example_may_give_what_a_path_would_select(self) -> None:
        question = Rubric(spec()).question_from({"question": [{"role": "user", "content": "Hi"}], "answer": 42})
        assert isinstance(question, Question)
        assert shown(question) == {"question": "user: Hi", "answer": "42"}


class TestSpec:
    @pytest.mark.parametrize(
        ("changes", "where", "said"),
        [
            ({"name": ""}, "name", "pattern"),
            ({"name": "x" * 36}, "name", "pattern"),
            ({"name": "a/b"}, "name", "pattern"),
            ({"inputs": {}}, "inputs", "at least 1"),
            ({"inputs": {"a": "root.input"}}, "inputs.a.path.path", "is not a JSONPath"),
            ({"inputs": {"a": "transcipt"}}, "inputs.a.path.path", "is not a JSONPath"),
            ({"inputs": {"a": {"path": "$.a", "take": "some"}}}, "inputs.a.take", "'first', 'last' or 'all'"),
            ({"inputs": {"a": {"path": "$.a", "max_chars": 10}}}, "inputs.a.max_chars", "200"),
            ({"inputs": {"a": {"path": "$.root.input", "default": " "}}}, "inputs.a.default", "pattern"),
            (
                {"inputs": {"a": {"path": "$.root.input", "default": "x", "required": True}}},
                "inputs.a",
                "never missing: leave out either",
            ),
            ({"inputs": {"a>>>\n": "$.a"}}, "inputs.a>>>\n.[key]", "pattern"),
            ({"criteria": ""}, "criteria", "at least 1"),
            ({"score": {"type": "stars"}}, "score", "does not match any of the expected tags"),
            ({"judge": {"samples": 0}}, "judge.samples", "greater than or equal to 1"),
            ({"judge": {"samples": 3}}, "judge", "temperature 0 are all the same"),
            ({"judge": {"model": "a", "jury": ["b", "a"]}}, "judge", "names a model twice"),
            ({"judge": {"temprature": 0}}, "judge.temprature", "not permitted"),
            ({"target": "conversation"}, "target", "should be 'trace', 'observation' or 'session'"),
            ({"target": "observation"}, "", "observe: {type: TOOL} says which"),
            ({"observe": {"type": "TOOL"}}, "", "only with it"),
            ({"idle": "10m"}, "", "idle belongs to `target: session`"),
            ({"target": "session"}, "", "inputs.question: no session has $.root, but id, environment,"),
            ({"inputs": {"a": "$.output"}}, "", "inputs.a: no trace has $.output, but id, name,"),
            ({"inputs": {"a": "$.observation.output"}}, "", "no trace has $.observation, but"),
            ({"sample": []}, "sample", "at least 1"),
            ({"crtieria": "x"}, "crtieria", "not permitted"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_place(self, changes: dict[str, Any], where: str, said: str) -> None:
        with pytest.raises(ValidationError) as caught:
            spec(**changes)
        errors = caught.value.errors()
        assert [".".join(map(str, error["loc"])) for error in errors] == [where]
        assert said in errors[0]["msg"]

    @pytest.mark.parametrize(
        ("inputs", "expect", "said"),
        [
            (
                {"question": "q"},
                {"at_least": 1},
                "example 1: input 'answer' is missing; the inputs are question, answer",
            ),
            ({"question": "q", "answer": "a", "anwser": "b"}, {"at_least": 1}, "example 1: unknown input 'anwser'"),
            ({"question": "q", "answer": "a"}, {"at_most": 9}, "example 1: no answer can be as expected"),
            ({"question": "q", "answer": "a"}, {"equals": "good"}, "an answer is a number from 1 to 5"),
            ({"question": "q", "answer": "a"}, {"equals": True}, "an answer is a number from 1 to 5"),
            ({"question": "q", "answer": "a"}, {"at_least": 4, "at_most": 2}, "nothing can be both"),
            ({"question": "q", "answer": "a"}, {}, "needs one of equals, at_most, at_least"),
        ],
    )
    def test_an_example_that_cannot_hold_is_refused(self, inputs: Any, expect: Any, said: str) -> None:
        with pytest.raises(ValidationError, match=re.escape(said)):
            spec(examples=[{"inputs": inputs, "expect": expect}])

    @pytest.mark.parametrize(
        ("score", "good", "bad"),
        [
            ({"type": "boolean"}, [{"equals": True}, {"equals": CANNOT_JUDGE}], [{"at_least": 1}, {"equals": "yes"}]),
            (
                {"type": "categorical", "labels": ["good", "bad"]},
                [{"equals": "good"}, {"equals": CANNOT_JUDGE}],
                [{"equals": "Good"}, {"equals": "fine"}, {"equals": True}, {"at_most": 1}],
            ),
            (
                {"type": "numeric", "min": 0, "max": 1},
                [{"equals": 0.5}, {"equals": 0}, {"at_least": 0.2, "at_most": 1}, {"equals": CANNOT_JUDGE}],
                [{"equals": "0.5"}, {"equals": 2}, {"at_least": -1}],
            ),
        ],
    )
    def test_an_example_expects_what_the_scale_has(self, score: Any, good: list[Any], bad: list[Any]) -> None:
        inputs = {"question": "q", "answer": "a"}
        assert len(spec(score=score, examples=[{"inputs": inputs, "expect": e} for e in good]).examples) == len(good)
        for expect in bad:
            with pytest.raises(ValidationError, match="example 1: "):
                spec(score=score, examples=[{"inputs": inputs, "expect": expect}])

    @pytest.mark.parametrize(
        ("expect", "value", "holds"),
        [
            ({"equals": 4}, 4.0, True),
            ({"equals": 4}, 3.0, False),
            ({"at_most": 2}, 2.0, True),
            ({"at_most": 2}, 2.1, False),
            ({"at_least": 2, "at_most": 3}, 2.5, True),
            ({"at_least": 2, "at_most": 3}, 1.9, False),
            ({"at_most": 2}, CANNOT_JUDGE, False),
            ({"equals": CANNOT_JUDGE}, CANNOT_JUDGE, True),
            ({"equals": True}, False, False),
            ({"equals": "good"}, "good", True),
        ],
    )
    def test_expectations(self, expect: dict[str, Any], value: Any, holds: bool) -> None:
        assert Expectation.model_validate(expect).holds(value) is holds

    @pytest.mark.parametrize(
        ("expect", "wanted"),
        [
            ({"equals": 4}, "4"),
            ({"equals": True}, "true"),
            ({"equals": "good"}, "good"),
            ({"equals": CANNOT_JUDGE}, CANNOT_JUDGE),
            ({"at_most": 2}, "≤ 2"),
            ({"at_least": 0.5}, "≥ 0.5"),
            ({"at_least": 2, "at_most": 4}, "2 to 4"),
        ],
    )
    def test_what_is_expected_is_said_in_words(self, expect: dict[str, Any], wanted: str) -> None:
        assert Expectation.model_validate(expect).wanted == wanted

    def test_an_abstention_is_met_where_it_is_expected_and_a_failure_nowhere(self) -> None:
        abstention, four = Expectation(equals=CANNOT_JUDGE), Expectation(at_least=4)
        assert abstention.met_by(Unscored("no documents"))
        assert not four.met_by(Unscored("no documents"))
        assert four.met_by(Verdict(4.0))
        assert not four.met_by(Verdict(3.0))
        assert not any(each.met_by(Failure("bad_answer", "no JSON")) for each in (abstention, four))
        assert not abstention.met_by(NotApplicable("no documents"))

    def test_examples_may_have_names_of_their_own(self) -> None:
        named = {"name": "evasion", "inputs": {"question": "q", "answer": "a"}, "expect": {"at_least": 4}}
        assert spec(examples=[named, {**named, "name": ""}, {**named, "name": ""}]).examples[0].name == "evasion"
        with pytest.raises(ValidationError, match="two examples are named 'evasion'"):
            spec(examples=[named, named])


class TestVersion:
    @pytest.mark.parametrize(
        "changes",
        [
            {"description": "Something else."},
            {"when": {"trace_name": "answer"}},
            {"sample": [{"rate": 1}]},
            {"examples": [{"inputs": {"question": "q", "answer": "a"}, "expect": {"at_least": 4}}]},
            {"target": "trace"},
            {"score": {"type": "numeric", "min": 1.0, "max": 5.0}},
            {"inputs": {"question": {"path": "$.root.input", "take": "all"}, "answer": "$.root.output"}},
        ],
    )
    def test_what_cannot_change_a_verdict_does_not_change_it(self, changes: dict[str, Any]) -> None:
        assert Rubric(spec(**changes)).version == Rubric(spec()).version

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "help"},
            {"criteria": "Does it help? 5: yes. 1: No."},
            {"score": {"type": "numeric", "min": 0, "max": 5}},
            {"score": {"type": "boolean"}},
            {"judge": {"model": "big"}},
            {"judge": {"temperature": 1}},
            {"judge": {"max_output_tokens": 500}},
            {"inputs": {"answer": "$.root.output", "question": "$.root.input"}},
            {"inputs": {"question": "$.root.input", "answer": "$.observations[0].output"}},
            {"inputs": {"question": "$.root.input", "answer": {"path": "$.root.output", "max_chars": 300}}},
            {"inputs": {"question": "$.root.input", "answer": {"path": "$.root.output", "required": False}}},
        ],
    )
    def test_what_can_change_a_verdict_changes_it(self, changes: dict[str, Any]) -> None:
        assert Rubric(spec(**changes)).version != Rubric(spec()).version

    @given(st.text(min_size=1, max_size=30).filter(lambda text: text.strip()))
    def test_it_is_short_and_the_same_in_every_process(self, criteria: str) -> None:
        versions = {Rubric(spec(criteria=criteria)).version for _ in range(2)}
        assert len(versions) == 1
        assert re.fullmatch(r"[0-9a-f]{12}", versions.pop())

    def test_a_rubric_tells_its_name_and_type(self) -> None:
        rubric = Rubric(spec(score={"type": "boolean"}))
        assert (rubric.name, rubric.data_type) == ("helpfulness", DataType.BOOLEAN)
