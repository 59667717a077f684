from __future__ import annotations

from traces import Passage, in_tokens, media_in, with_remarks

REFERENCE = "@@@langfuseMedia:type=image/png|id=abc|source=bytes@@@"


def test_a_reference_is_replaced_before_a_text_is_cut() -> None:
    passage = Passage.of(f"{REFERENCE} {'word ' * 1000} {REFERENCE}").changed(
        lambda text: with_remarks(text, shown=True)
    )
    assert media_in([passage.packed(in_tokens(100)).text]) == ("abc",)
    assert "langfuseMedia" not in passage.text


def test_ten_megabytes_of_beginnings_cost_what_they_are_worth() -> None:
    text = "@@@langfuseMedia:type=image/png|id=" * 300_000
    assert with_remarks(text, shown=False) == text
