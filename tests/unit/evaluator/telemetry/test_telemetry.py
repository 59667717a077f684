"""Log lines hold no secret, no content and nothing that steers a terminal, whoever wrote them."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from evaluator.errors import Unavailable
from evaluator.telemetry.logs import configure_logs, tell_of_threads, told

CONTENT = "planted-content"
Logged = Callable[..., io.StringIO]


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Configure logs into a text; afterwards all is as before."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("", "evaluator", "apscheduler")}
    hook = threading.excepthook

    def configured(form: str, **settings: Any) -> io.StringIO:
        out = io.StringIO()
        configure_logs(form, out, **settings)
        return out

    yield configured
    threading.excepthook = hook
    root.handlers[:] = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def raised() -> Exception:
    """Return an error as a library raises it: it quotes what it was given, and so does its cause."""
    try:
        int(CONTENT)
    except ValueError as cause:
        error = KeyError(CONTENT)
        error.__cause__ = cause
    try:
        raise error
    except KeyError:
        return error


def ours() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("evaluator.test")
    return logger


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_an_exception_is_told_by_type_and_place(logged: Logged, form: str) -> None:
    out = logged(form)
    ours().error("it broke", exc_info=raised())
    logging.getLogger("somebody").error("theirs broke too", exc_info=raised())
    text = out.getvalue()
    assert CONTENT not in text
    assert text.count("builtins.KeyError") == text.count("builtins.ValueError") == 2
    assert text.count("test_telemetry.py:") == 4


def test_the_words_of_our_own_errors_are_told(logged: Logged) -> None:
    error = Unavailable("Langfuse does not answer\nnow")
    assert told(error) == "evaluator.errors.Unavailable: Langfuse does not answer\\x0anow"
    error.__cause__ = OSError(28, CONTENT)
    assert told(error).splitlines()[1] == "builtins.OSError: No space left on device"


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_secrets_are_taken_out_whoever_says_them(logged: Logged, form: str) -> None:
    out = logged(form, secrets=["sk-planted", 'quo"ted-planted', "", "ab"])
    ours().warning("about", url="redis://:sk-planted@host", other='quo"ted-planted')
    logging.getLogger("slack").error("refused token %s", "sk-planted")
    assert "planted" not in out.getvalue()
    assert out.getvalue().count("[hidden]") == 3
    assert "about" in out.getvalue()


def test_what_a_library_says_is_one_short_line(logged: Logged) -> None:
    out = logged("json")
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: ValueError('%s')", CONTENT)
    logging.getLogger("other").error("x" * 10_000)
    lines = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert lines == ["Task exception was never retrieved", "x" * 500]


def test_a_library_told_to_debug_itself_is_not_heard(logged: Logged) -> None:
    out = logged("json")
    logging.getLogger("chatty").setLevel(logging.DEBUG)
    logging.getLogger("chatty").debug(CONTENT)
    assert out.getvalue() == ""


HOSTILE = "trace\x1b[2J\x1b]8;;http://evil\x07\r\n2026 [info] all is well\u202e\x9b31m"


def test_nothing_in_a_pretty_line_steers_the_terminal(logged: Logged) -> None:
    out = logged("pretty")
    ours().warning("a row cannot be read", id=HOSTILE)
    logging.getLogger("other").error(HOSTILE)
    assert len(out.getvalue().splitlines()) == 2
    assert not set(out.getvalue()) & set("\x1b\x07\r\u202e\x9b")
    assert "\\x1b[2J" in out.getvalue()


def test_a_json_line_is_one_line_of_ascii(logged: Logged) -> None:
    out = logged("json")
    ours().warning("a row cannot be read", id=HOSTILE)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().isascii()
    assert json.loads(out.getvalue())["id"] == HOSTILE


def test_a_thread_that_dies_says_so_without_words(logged: Logged, capfd: pytest.CaptureFixture[str]) -> None:
    out = logged("json")
    tell_of_threads()
    thread = threading.Thread(target=int, args=(CONTENT,))
    thread.start()
    thread.join()
    assert "a thread died" in out.getvalue()
    assert CONTENT not in out.getvalue() + "".join(capfd.readouterr())
