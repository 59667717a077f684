"""Images and files that a trace refers to: remarks for a judge that cannot see, named for one that can."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges import Prompt, Question, Reply, Rubric, RubricSpec
from judges.prompting import MOST_MEDIA
from tests.building import ANY_TEXT, step, trace
from traces import Trace, Usage, media_in, with_remarks

REFERENCE: Final = "@@@langfuseMedia:type=image/png|id=Abc-12_x|source=base64_data_uri@@@"


def reference(media_id: str, kind: str = "image/png") -> str:
    return f"@@@langfuseMedia:type={kind}|id={media_id}|source=bytes@@@"


def asked(of: Trace, *, vision: bool = True, context: int = 128_000, inputs: Any = None, **judge: Any) -> Question:
    written = {
        "name": "seen",
        "inputs": inputs or {"question": "$.root.input", "answer": "$.root.output"},
        "criteria": "Does the answer say what the picture shows?",
        "score": {"type": "boolean"},
        "vision": vision,
        "judge": judge,
    }
    question = Rubric(RubricSpec.model_validate(written), context=context).question(of)
    assert isinstance(question, Question)
    return question


class TestReferences:
    def test_a_reference_is_a_short_remark(self) -> None:
        assert with_remarks(f"Look: {REFERENCE}!", shown=False) == "Look: [media: image/png, not shown]!"

    def test_one_that_can_be_shown_keeps_its_id(self) -> None:
        text = with_remarks(f"{REFERENCE} and {reference('b')} and {REFERENCE}", shown=True)
        assert text.startswith("[media: image/png, id Abc-12_x] and ")
        assert media_in([text, "[media: image/png, id c]"]) == ("Abc-12_x", "b", "c")

    @pytest.mark.parametrize(
        "media_id", ["../v2/scores", "a/b", "a?b=c", "a b", "a%2Fb", "", "a" * 101, "a\nb", "http://evil.example"]
    )
    def test_what_is_no_id_is_no_reference(self, media_id: str) -> None:
        assert with_remarks(reference(media_id), shown=True) == reference(media_id)
        assert media_in([f"[media: image/png, id {media_id}]"]) == ()

    @given(ANY_TEXT)
    def test_any_other_text_stays_as_it_is(self, text: str) -> None:
        assert with_remarks(text, shown=True) == text

    @given(st.lists(st.sampled_from(["@@@langfuseMedia:", "type=", "|id=", "|source=", "@@@", "image/png", "x"])))
    def test_halves_of_references_are_no_error(self, parts: list[str]) -> None:
        media_in([with_remarks("".join(parts), shown=True)])


class TestPrompts:
    OF: Final = trace(input=[{"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": REFERENCE}},
    ]}], output="A cat.")  # fmt: skip

    def test_without_vision_nothing_is_shown(self) -> None:
        prompt = asked(self.OF, vision=False).prompt
        assert prompt.media == ()
        assert '{"url": "[media: image/png, not shown]"}' in prompt.user
        assert "langfuseMedia" not in prompt.user

    def test_with_vision_it_is(self) -> None:
        prompt = asked(self.OF).prompt
        assert prompt.media == ("Abc-12_x",)
        assert "[media: image/png, id Abc-12_x]" in prompt.user

    def test_in_a_transcript_too(self) -> None:
        of = trace(step("draw", type="TOOL", output={"image": REFERENCE}))
        assert asked(of, inputs={"story": "transcript"}).prompt.media == ("Abc-12_x",)

    def test_only_so_many_are_shown(self) -> None:
        of = trace(input=" ".join(reference(f"m{n}") for n in range(30)))
        assert asked(of).prompt.media == tuple(f"m{n}" for n in range(MOST_MEDIA))

    def test_what_was_left_out_of_the_text_is_not_shown(self) -> None:
        of = trace(input="Look.", output=f"{REFERENCE} {'word ' * 50_000}{reference('last')} {'word ' * 50_000}")
        prompt = asked(of).prompt
        assert prompt.media == ("Abc-12_x",)

    def test_room_is_left_for_them(self) -> None:
        words = "word " * 30_000
        inputs = {"story": "transcript"}
        plain = asked(trace(input=words), inputs=inputs, context=20_000).prompt
        seeing = asked(trace(input=REFERENCE + words), inputs=inputs, context=20_000).prompt
        assert len(plain.user) - len(seeing.user) > 1_000 * 4

    def test_a_rubric_that_sees_is_asked_alone(self) -> None:
        assert asked(self.OF, group="all").member is None
        assert asked(trace(), group="all").member is not None

    def test_each_part_shows_its_own(self) -> None:
        steps = [step(f"s{n}", output=f"{reference(f'm{n}')} {n} {'word ' * 1500}") for n in range(12)]
        question = asked(trace(*steps), inputs={"story": "transcript"}, long="parts", context=24_000)
        seen: list[tuple[str, ...]] = []
        for _ in range(question.details["parts"]):
            seen.append(question.prompt.media)
            read = question.read(Reply(json.dumps({"notes": "Seen."}), "gpt", "stop", Usage()))
            assert isinstance(read, Prompt)
            question = question.again(read)
        assert len(seen) > 1
        assert [each for part in seen for each in part] == [f"m{n}" for n in range(12)]

    def test_vision_belongs_to_the_version(self) -> None:
        written = {
            "name": "seen", "inputs": {"a": "$.root.output"}, "criteria": "Good?", "score": {"type": "boolean"},
        }  # fmt: skip
        versions = {Rubric(RubricSpec.model_validate({**written, "vision": v})).version for v in (True, False)}
        assert len(versions) == 2
