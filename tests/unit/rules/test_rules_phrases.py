from __future__ import annotations

from pathlib import Path as File

import pytest
from pydantic import ValidationError

from rules.phrases import MOST_PHRASES, found_in
from rules.text import Contains, Forbids
from tests.building import trace


def read(rule: type[Forbids | Contains], folder: File, **fields: object) -> Forbids | Contains:
    return rule.model_validate(fields, context={"folder": folder})


class TestAFileOfPhrases:
    def test_each_line_is_a_phrase_and_remarks_are_none(self, tmp_path: File) -> None:
        (tmp_path / "rivals.txt").write_text("# competitors\nAcme\n\n  Globex Corp \n", encoding="utf-8")
        rule = read(Forbids, tmp_path, phrases={"file": "rivals.txt"}, whole_words=True)
        assert rule == Forbids(phrases=("Acme", "Globex Corp"), whole_words=True)
        found = rule.check(trace(output="Try globex corp."))
        assert found.reason == "found 'Globex Corp' at character 4"

    def test_the_phrases_themselves_are_written_out(self, tmp_path: File) -> None:
        (tmp_path / "a.txt").write_text("one\n")
        rule = read(Contains, tmp_path, any={"file": "a.txt"}, all=["two"])
        assert rule.model_dump(mode="json")["any"] == ["one"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (None, "file 'a.txt' .*: No such file"),
            ("", "has 0 phrases; expected 1 to 1,000"),
            ("# only a remark", "has 0 phrases"),
            ("x\n" * (MOST_PHRASES + 1), "has 1,001 phrases"),
            ("\ud800", "is not UTF-8"),
        ],
    )
    def test_a_file_that_says_nothing_is_refused(self, tmp_path: File, text: str | None, why: str) -> None:
        if text is not None:
            (tmp_path / "a.txt").write_bytes(text.encode(errors="surrogatepass"))
        with pytest.raises(ValidationError, match=why):
            read(Forbids, tmp_path, phrases={"file": "a.txt"})

    @pytest.mark.parametrize("value", [{}, {"file": 7}, {"file": "a.txt", "more": 1}, {"path": "a.txt"}])
    def test_other_objects_are_refused(self, tmp_path: File, value: object) -> None:
        with pytest.raises(ValidationError, match="expected a list of phrases, or"):
            read(Forbids, tmp_path, phrases=value)


@pytest.mark.parametrize(
    ("phrase", "text", "there"),
    [
        ("作为一个AI", "你好, 作为一个AI我不能", True),
        ("aiとして", "私はAIとしてお答えします", True),
        ("ai", "私はAIです", True),
        ("ai", "maid", False),
        ("สวัสดี", "ก่อนสวัสดีครับ", True),
    ],
)
def test_scripts_without_spaces_have_no_word_edges(phrase: str, text: str, there: bool) -> None:
    assert bool(found_in(text, [phrase])) is there
