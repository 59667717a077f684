from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.fence import fenced
from tests.building import ANY_TEXT

BOUNDARY = "0123456789abcdef01234567"


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
