"""A proposal of `rubric tune` that is no rubric is told by what the person knows: no temporary file has a name."""

from __future__ import annotations

import tempfile

import pytest

from evaluator.commands.tune import _read
from evaluator.errors import ConfigError
from tests.serving import RUBRIC


def test_a_proposal_that_is_a_rubric_is_read() -> None:
    assert _read(RUBRIC, "helpfulness").name == "helpfulness"


@pytest.mark.parametrize(
    ("old", "new", "place", "shown"),
    [
        ("type: numeric", "type: numerous", ":7:9", "score: {type: numerous, min: 1, max: 5}"),
        ("name: helpfulness", "name: [helpfulness", ":3:", ""),
    ],
)
def test_a_mistake_in_one_is_told_with_its_line_and_column(old: str, new: str, place: str, shown: str) -> None:
    with pytest.raises(ConfigError) as raised:
        _read(RUBRIC.replace(old, new), "helpfulness")
    told = str(raised.value)
    assert told.startswith(f"the proposal for helpfulness{place}"), told
    assert shown in told
    assert "nothing was changed" in told
    assert "proposed.yaml" not in told
    assert tempfile.gettempdir() not in told
