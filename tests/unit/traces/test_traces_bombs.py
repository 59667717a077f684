"""Values made to stall or to fill the memory: each costs about what its size is worth, in time and in bytes."""

from __future__ import annotations

import time
import tracemalloc
import unicodedata
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.structure import JsonValid
from rules.text import Forbids
from tests.building import nested, step, trace
from traces import Path, composed

SIBLINGS = 15_000
LEVELS = 990


def deep_and_wide() -> Any:
    """Return 45 kB of JSON: as deep as the parser lets in, and wide where it is deepest."""
    return orjson.loads(b"[" * LEVELS + b",".join([b"[]"] * SIBLINGS) + b"]" * LEVELS)


def peak(work: Callable[[], object]) -> tuple[int, float]:
    """Return how many megabytes `work` needed at most, and its seconds."""
    tracemalloc.start()
    start = time.process_time()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] >> 20, time.process_time() - start
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$.root.output..needle", 0),
        ("$.root.output..*", SIBLINGS + LEVELS - 1),
        ("$.root[?@..needle]", 0),
        ("$.root.output..[0]", LEVELS),
    ],
)
def test_a_descent_holds_no_copies_of_the_way(text: str, found: int) -> None:
    built = trace(output=deep_and_wide())
    path = Path.parse(text)
    assert len(path.values(built)) == found
    megabytes, seconds = peak(lambda: path.values(built))
    assert megabytes < 10  # copies of the way made 120 of it
    assert seconds < 5


def test_long_names_are_not_written_out_for_every_value_below_them() -> None:
    built = trace(output={"k" * 100_000: ["{}"] * 5_000})
    rule = JsonValid(value=Path.parse("$.root.output..[*]"))
    megabytes, seconds = peak(lambda: rule.check(built))
    assert megabytes < 25
    assert seconds < 5


def test_a_transcript_of_a_long_chain_is_no_triangle_of_blanks() -> None:
    chain = [step(f"s{i}", parent=f"s{i - 1}" if i else "root", output="a\n" * 1_000) for i in range(200)]
    built = trace(*chain)
    assert len(built.transcript()) < 6_000_000


def test_marks_without_end_on_one_letter_do_not_stall() -> None:
    hostile = "a" + "\u0301" * 40_000 + "\u0323" * 40_000
    rule = Forbids(phrases=("as an AI language model",))
    start = time.process_time()
    rule.check(trace(output=hostile))
    assert time.process_time() - start < 2


@given(st.text(st.sampled_from("ae\u0301\u0323\u0344\u1100\u1161\u11a8\u00e9\u212b\u0958 ")) | st.text())
def test_composing_is_nfc(text: str) -> None:
    assert composed(text) == unicodedata.normalize("NFC", text)


def test_a_run_as_long_as_a_language_has_is_put_in_order() -> None:
    word = "x" + "\u0301" * 14 + "\u0323" * 15
    assert composed(word) == unicodedata.normalize("NFC", word)


@pytest.mark.parametrize("levels", [1_000, 100_000])
def test_nesting_deeper_than_the_interpreter_is_no_error(levels: int) -> None:
    built = trace(output=nested(levels))
    assert Path.parse("$..needle").values(built) == []
    assert built.transcript()
