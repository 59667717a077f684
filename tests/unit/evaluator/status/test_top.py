"""`evaluator top`: looks one after another, in a terminal and without one."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.text import Text

from evaluator.definitions.service_config import ServiceConfig
from evaluator.errors import Unavailable
from evaluator.status import top
from tests.looks import NOW, busy, status


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_look_holds_what_matters_and_steers_no_terminal() -> None:
    out = Console(file=io.StringIO(), width=160)
    out.print(top.drawn(busy(), ServiceConfig(), NOW))
    text = printed(out)
    for said in (
        "evaluate",
        "3 messages",
        "5.00 of 20.00 USD",
        "12 of 64 calls at once a process",
        "answered",
        "q or Ctrl-C leaves",
        "\\x1b[2J",
    ):
        assert said in text
    assert "\x1b" not in text


def test_without_a_terminal_looks_are_printed_and_a_failed_one_is_told() -> None:
    out = Console(file=io.StringIO(), width=100)
    looks: Iterator[Text | Exception] = iter([Text("first"), Unavailable("Redis is away"), Text("third")])

    def look() -> Text:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    top.run(look, out, 0.0, looks=3)
    assert printed(out).split("\n")[:3] == ["first", "cannot look: Redis is away", "third"]


def test_ctrl_c_leaves_without_a_traceback() -> None:
    def look() -> Text:
        raise KeyboardInterrupt

    top.run(look, Console(file=io.StringIO()), 0.0)


def test_q_leaves_a_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as keyboard:
        before = termios.tcgetattr(keyboard)
        monkeypatch.setattr(sys, "stdin", keyboard)
        out = Console(file=io.StringIO(), width=80, force_terminal=True)
        top.run(lambda: (os.write(ours, b"xQ"), top.drawn(status(), ServiceConfig(), NOW))[1], out, 30.0)
        assert termios.tcgetattr(keyboard) == before
    os.close(ours)
    assert "\x1b[?1049l" in printed(out), "the screen is given back"
