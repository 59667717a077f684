"""What a limit promises: never more than it, never less for more room, the heaviest first, everything in order."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.building import step, tool, trace
from traces import Limit, Trace, in_characters, in_tokens, transcript_of
from traces.packing import Piece, packed, parted

GAP = re.compile(r"\[\.\.\. (?:[\d,]+ lines? left out: )?([\d,]+) characters(?: left out)? \.\.\.\]")
LIMITS = st.builds(lambda most, kind: kind(most), st.integers(40, 3000), st.sampled_from([in_tokens, in_characters]))
TEXTS = st.builds(
    lambda word, times, end: word * times + end,
    st.sampled_from(["a", "word ", "{'k': 1}\n", "漢字", "\n", "ABC-123 "]),
    st.integers(0, 800),
    st.sampled_from(["", "end", "\n"]),
)
PIECES = st.lists(st.builds(Piece, TEXTS, st.sampled_from([1, 4, 8, 16, 256])), min_size=1, max_size=40)


@st.composite
def headed(draw: st.DrawFn) -> list[Piece]:
    """Draw pieces of which some stand below an earlier one."""
    pieces = draw(PIECES)
    for number, piece in enumerate(pieces):
        if number and draw(st.booleans()):
            heading = pieces[number - 1].heading
            piece.heading = number - 1 if heading is None else heading
            pieces[piece.heading].text = pieces[piece.heading].text[:40]
    return pieces


@st.composite
def stories(draw: st.DrawFn) -> Trace:
    """Draw a trace with a question, an answer, and steps of any length."""
    steps = [
        tool(f"tool{n}", {"n": n}, output=draw(TEXTS), level=draw(st.sampled_from(["DEFAULT", "ERROR"])))
        if draw(st.booleans())
        else step(f"s{n}", input=draw(TEXTS), output=draw(TEXTS))
        for n in range(draw(st.integers(0, 25)))
    ]
    return trace(*steps, input="QUESTION " + draw(TEXTS), output="ANSWER " + draw(TEXTS))


class TestPacked:
    @given(headed(), LIMITS)
    def test_it_never_costs_more_than_it_may(self, pieces: list[Piece], limit: Limit) -> None:
        assert limit.cost(packed(pieces, limit).text) <= limit.most

    @given(headed(), LIMITS)
    def test_what_fits_is_shown_whole_and_what_does_not_says_so(self, pieces: list[Piece], limit: Limit) -> None:
        whole = "\n".join(piece.text for piece in pieces)
        cut = packed(pieces, limit)
        assert (cut.left_out == 0) == (cut.text == whole)
        if limit.fits(whole + "\n"):
            assert cut.text == whole
        elif cut.text != whole:
            assert sum(int(each.replace(",", "")) for each in GAP.findall(cut.text)) == cut.left_out

    @given(stories(), st.integers(250, 3000), st.integers(1, 3000), st.sampled_from([in_tokens, in_characters]))
    def test_more_room_never_shows_less(self, of: Trace, room: int, more: int, kind: type[Limit]) -> None:
        pieces = transcript_of([of]).pieces
        scale = 1 if kind is in_tokens else 4
        small, large = (packed(pieces, kind(each * scale)) for each in (room, room + more))  # type: ignore[call-arg]
        assert large.left_out <= small.left_out
        shown = [line for line in small.text.split("\n") if line.startswith("  [")]
        assert set(shown) <= set(large.text.split("\n"))

    @given(stories(), st.integers(250, 3000))
    def test_question_and_answer_are_always_there(self, of: Trace, room: int) -> None:
        text = packed(transcript_of([of]).pieces, in_tokens(room)).text
        assert "\nin: QUESTION" in text
        assert "\nout: ANSWER" in text

    @given(stories(), st.integers(250, 3000))
    def test_the_order_is_kept(self, of: Trace, room: int) -> None:
        pieces = transcript_of([of]).pieces
        kept = [line for line in packed(pieces, in_tokens(room)).text.split("\n") if line.startswith(("[", "  ["))]
        order = [piece.text for piece in pieces if piece.heading is None]
        places = [order.index(line) for line in kept if line in order and order.count(line) == 1]
        assert places == sorted(places)

    @given(headed(), LIMITS)
    def test_nothing_stands_without_its_heading(self, pieces: list[Piece], limit: Limit) -> None:
        for number, piece in enumerate(pieces):
            piece.text = (
                f"#{number} {piece.text}" if piece.heading is None else f"#{number} of #{piece.heading} {piece.text}"
            )
        cut = packed(pieces, limit).text
        if "lines left out" in cut:  # not when all was cut in its middle
            shown = set(re.findall(r"^#\d+", cut, re.MULTILINE))
            assert set(re.findall(r"^#\d+ of (#\d+)", cut, re.MULTILINE)) <= shown

    def test_the_heaviest_come_first(self) -> None:
        pieces = [Piece(f"{weight}: " + "x" * 2000, weight) for weight in (1, 4, 8, 256)]
        for room, shown in ((100, {256}), (450, {256, 8}), (700, {256, 8, 4}), (900, {256, 8, 4, 1})):
            text = packed(pieces, in_tokens(room)).text
            assert {weight for weight in (1, 4, 8, 256) if f"{weight}: x" in text} == shown

    def test_of_equals_the_ends_come_before_the_middle(self) -> None:
        lines = packed([Piece(f"line {n}", 1) for n in range(1000)], in_tokens(60)).text.split("\n")
        assert (lines[0], lines[-1]) == ("line 0", "line 999")
        assert sum("left out" in line for line in lines) == 1

    @pytest.mark.parametrize("most", [250, 500, 1000, 2000])
    def test_the_room_is_used(self, most: int) -> None:
        pieces = [Piece(f"line {n} " + "word " * n, 1 + n % 3) for n in range(300)]
        limit = in_tokens(most)
        assert limit.cost(packed(pieces, limit).text) > 0.8 * limit.most


class TestParted:
    @given(headed(), LIMITS)
    def test_every_part_fits(self, pieces: list[Piece], limit: Limit) -> None:
        assert all(limit.cost(part) <= limit.most + limit.cost("\n") for part in parted(pieces, limit))

    @given(PIECES, LIMITS)
    def test_together_they_are_the_whole(self, pieces: list[Piece], limit: Limit) -> None:
        parts = parted(pieces, limit)
        assert "".join("".join(parts).split("\n")) == "".join("".join(p.text for p in pieces).split("\n"))

    @given(PIECES)
    def test_what_fits_is_one_part(self, pieces: list[Piece]) -> None:
        whole = "\n".join(piece.text for piece in pieces)
        assert parted(pieces, in_tokens(10**6)) == [whole]

    def test_a_part_that_begins_below_a_heading_repeats_it(self) -> None:
        pieces = [Piece("[TOOL find]", 1), Piece("in: " + "a\n" * 900, 1, heading=0), Piece("out: b", 1, heading=0)]
        parts = parted(pieces, in_tokens(150))
        assert len(parts) > 2
        assert all(part.startswith("[TOOL find]\n") for part in parts)
        assert parts[-1].endswith("out: b")
