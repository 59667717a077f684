"""`evaluator init` gives a folder that works, and takes nothing from anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluator import starter
from evaluator.definitions import load
from evaluator.errors import ConfigError


def test_a_fresh_folder_gets_every_file_and_works(tmp_path: Path) -> None:
    done = dict(starter.write_starter(tmp_path / "new" / "config"))
    assert done
    assert all(done.values())
    written = {path.relative_to(tmp_path / "new" / "config") for path in done}
    assert {
        Path("evaluator.yaml"),
        Path("rules.yaml"),
        Path("monitors.yaml"),
        Path("rubrics/faithfulness.yaml"),
        Path("schema/rules.schema.json"),
    } <= written
    definitions, shipped = load(tmp_path / "new" / "config"), load(starter.folder())
    assert {one.name: one.version for one in definitions.evaluators} == {
        one.name: one.version for one in shipped.evaluators
    }
    assert definitions.monitors == shipped.monitors
    assert definitions.notes == ()


def test_files_that_exist_are_kept(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("- {name: mine, rule: not_empty}")
    first = dict(starter.write_starter(tmp_path))
    assert first[tmp_path / "rules.yaml"] is False
    assert first[tmp_path / "rubrics" / "faithfulness.yaml"] is True
    assert not any(written for _, written in starter.write_starter(tmp_path))
    assert [e.name for e in load(tmp_path).evaluators if e.kind == "rule"] == ["mine"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "rules.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    done = dict(starter.write_starter(tmp_path / "config"))
    assert done[tmp_path / "config" / "rules.yaml"] is False
    assert not (tmp_path / "elsewhere.yaml").exists()


def test_a_file_where_a_folder_should_be_is_a_problem_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    with pytest.raises(ConfigError, match=r"config/evaluator\.yaml: cannot be written: "):
        starter.write_starter(tmp_path / "config")


def test_hidden_files_of_the_checkout_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "rules.yaml").write_text("[]")
    (tmp_path / "from" / ".rules.yaml.swp").write_text("")
    monkeypatch.setattr(starter, "_INSTALLED", tmp_path / "from")
    assert starter.folder() == tmp_path / "from"
    assert starter.write_starter(tmp_path / "to") == [(tmp_path / "to" / "rules.yaml", True)]


def test_an_installation_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "_INSTALLED", tmp_path / "nowhere")
    monkeypatch.setattr(starter, "_CHECKOUT", tmp_path / "neither")
    with pytest.raises(ConfigError, match="install evaluator again"):
        starter.folder()


@pytest.mark.parametrize("path", sorted(starter.folder().rglob("*.yaml")), ids=lambda path: path.name)
def test_every_file_tells_editors_its_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    head, _, schema = first.partition("$schema=")
    assert head == "# yaml-language-server: "
    assert (path.parent / schema).resolve().is_file()
