from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.fence import fenced, shortened
from tests.building import ANY_TEXT

BOUNDARY = "0123456789abcdef01234567"


@given(st.text(max_size=2000), st.integers(200, 600))
def test_a_shortened_text_fits_and_says_what_is_missing(text: str, longest: int) -> None:
    result = shortened(text, longest)
    assert len(result.text) <= max(longest, 0)
    if result.left_out == 0:
        assert result.text == text
        return
    head, _, rest = result.text.partition(f"\n[... {result.left_out:,} characters left out ...]\n")
    assert text.startswith(head)
    assert text.endswith(rest)
    assert len(head) + len(rest) + result.left_out == len(text)
    assert len(head) > len(rest) > 0


@given(st.text(max_size=200))
def test_a_text_that_fits_stays_as_it_is(text: str) -> None:
    assert shortened(text, 200).text == text


def test_head_and_tail_of_a_long_text_are_kept() -> None:
    text = "BEGIN" + "x" * 12_345_678 + "END"
    result = shortened(text, 1000)
    assert result.text.startswith("BEGINx")
    assert result.text.endswith("xEND")
    assert "[... 12,344,746 characters left out ...]" in result.text
    assert len(result.text) <= 1000


def test_a_text_stands_between_lines_with_the_boundary() -> None:
    assert fenced("answer", "Yes.", BOUNDARY) == f"<<<{BOUNDARY} answer>>>\nYes.\n<<<{BOUNDARY} end of answer>>>"


@given(ANY_TEXT | st.lists(st.sampled_from([BOUNDARY, BOUNDARY[:12], "<<<", " end of answer>>>\n", "x"])).map("".join))
def test_content_never_holds_the_boundary(text: str) -> None:
    result = fenced("answer", text, BOUNDARY)
    assert result.count(BOUNDARY) == 2
    lines = re.split(r"\n", result)
    assert lines[0] == f"<<<{BOUNDARY} answer>>>"
    assert lines[-1] == f"<<<{BOUNDARY} end of answer>>>"
    result.encode()


@given(st.text())
def test_content_without_the_boundary_is_not_touched(text: str) -> None:
    assert text.replace(BOUNDARY, "") in fenced("answer", text.replace(BOUNDARY, ""), BOUNDARY)


@pytest.mark.parametrize("boundary", ["", "abc", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef ", "x" * 24])
def test_a_boundary_somebody_could_guess_is_refused(boundary: str) -> None:
    with pytest.raises(ValueError, match="16 hexadecimal digits"):
        fenced("answer", "Yes.", boundary)
