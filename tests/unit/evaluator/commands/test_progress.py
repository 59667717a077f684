"""How far a command is, in a log and in a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from evaluator.commands.progress import counting


class Turned:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def written(out: Console) -> list[str]:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def test_a_log_gets_a_line_at_both_ends_and_one_every_ten_seconds() -> None:
    out, clock = Console(file=io.StringIO(), width=80), Turned()
    with counting("answers", 1200, out, clock) as more:
        more(3)
        clock.at += 9
        more(4)
        clock.at += 2
        more(1000)
        clock.at += 3
        more(193)
    assert written(out) == [
        "answers: 1,200 to come",
        "answers: 1,007 of 1,200, about 2 s left",
        "answers: 1,200 of 1,200 in 14.0 s",
    ]


def test_where_nobody_knows_how_many_will_come_only_those_that_came_are_told() -> None:
    out, clock = Console(file=io.StringIO(), width=80), Turned()
    with counting("traces listed", None, out, clock) as more:
        more(1000)
        clock.at += 1.25
    assert written(out) == ["traces listed: 1,000 in 1.2 s"]


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind() -> None:
    out = Console(file=io.StringIO(), width=80, force_terminal=True)
    with counting("answers", 5, out, Turned()) as more:
        more(5)
    assert "answers" in "".join(written(out))
    assert "to come" not in "".join(written(out))
