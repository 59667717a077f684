"""Definitions that are read again while the service runs: right ones are taken over, wrong ones change nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from evaluator.definitions import Definitions, load
from evaluator.errors import ConfigError, Problem
from evaluator.reloading import Reload, keep_serving
from evaluator.settings import Settings

RULES = "- {name: answered, rule: not_empty}\n"
MORE = RULES + "- {name: no-errors, rule: error_level}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    return tmp_path


def names(definitions: Definitions) -> list[str]:
    return [each.name for each in definitions.evaluators]


def test_nothing_is_read_before_somebody_asks(folder: Path) -> None:
    reload = Reload(load(folder))
    (folder / "rules.yaml").write_text(MORE)
    assert not reload.is_due()
    reload.ask()
    with capture_logs() as lines:
        assert reload.is_due()
        assert reload.is_due()
    assert [line["changed"] for line in lines] == [["no-errors"]]
    assert names(reload.definitions) == ["answered", "no-errors"]
    reload.begin()
    assert not reload.is_due()


def test_a_wrong_file_keeps_the_old_definitions_and_every_problem_is_told_with_its_place(folder: Path) -> None:
    reload = Reload(load(folder))
    (folder / "rules.yaml").write_text(
        "- {name: answered, rule: not_emty}\n- {name: no-errors, rule: error_level, x: 1}\n"
    )
    reload.ask()
    with capture_logs() as lines:
        assert not reload.is_due()
        assert not reload.is_due()
    assert [line["log_level"] for line in lines] == ["error"] * 2
    assert lines[0]["problem"].startswith(f"{folder / 'rules.yaml'}:1:20: rule: unknown kind 'not_emty'")
    assert "rules.yaml:2:" in lines[1]["problem"]
    assert names(reload.definitions) == ["answered"]
    (folder / "rules.yaml").write_text(MORE)
    reload.ask()
    assert reload.is_due()


def served(folder: Path, opened: Callable[[Definitions, int], None]) -> list[list[str]]:
    """Serve, have the definitions read again after each round until nothing new is there; return what was served."""
    told, seen = threading.Event(), list[list[str]]()

    @contextlib.contextmanager
    def serving(definitions: Definitions, reload: Reload) -> Iterator[Callable[[], None]]:
        opened(definitions, len(seen))

        def serve() -> None:
            seen.append(names(definitions))
            (folder / "rules.yaml").write_text(MORE)
            reload.ask()
            if not reload.is_due() or len(seen) == 3:
                told.set()

        yield serve

    keep_serving(Settings(evaluator_config=folder, redis_url=SecretStr("redis://nowhere")), told, serving)
    return seen


def test_the_service_goes_on_with_the_new_definitions(folder: Path) -> None:
    assert served(folder, lambda *_: None)[:2] == [["answered"], ["answered", "no-errors"]]


def test_what_cannot_be_opened_gives_way_to_what_was_there(folder: Path) -> None:
    def opened(definitions: Definitions, times: int) -> None:
        if times == 1 and "no-errors" in names(definitions):
            raise ConfigError([Problem("MY_KEY", "is not set")])

    with capture_logs() as lines:
        assert served(folder, opened)[:2] == [["answered"], ["answered"]]
    assert "MY_KEY: is not set" in [line.get("problem") for line in lines]


def test_first_definitions_that_cannot_be_opened_end_the_service(folder: Path) -> None:
    def opened(definitions: Definitions, times: int) -> None:
        raise ConfigError([Problem(str(len(definitions.evaluators)), str(times))])

    with pytest.raises(ConfigError):
        served(folder, opened)
