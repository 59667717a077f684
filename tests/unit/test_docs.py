"""The documentation points only at what exists, and names every command and setting."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from evaluator.cli import cli
from evaluator.settings import variables
from tests import forked

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / link).resolve() for link in LINK.findall((ROOT / "README.md").read_text())}
    assert {page.resolve() for page in PAGES[1:]} <= linked


def test_generated_pages_are_fresh() -> None:
    done = forked.run("docs.generate", ["--check"], env=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_setting_has_its_line() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert [name for name, _, _ in variables() if f"`{name}`" not in page] == []


def test_every_command_is_named() -> None:
    told = "".join(page.read_text() for page in PAGES)
    names = [f"{before}{name}" for before, group in _groups() for name in _commands(group)]
    assert [name for name in names if f"evaluator {name}" not in told] == []


def _groups() -> list[tuple[str, typer.Typer]]:
    inner = [each.typer_instance for each in cli.registered_groups if each.typer_instance is not None]
    return [("", cli), *((f"{each.info.name} ", each) for each in inner)]


def _commands(group: typer.Typer) -> list[str]:
    return [each.name or each.callback.__name__ for each in group.registered_commands if each.callback]


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`?make ([a-z]+)`?", (ROOT / "README.md").read_text()))
    assert {name for name in named if f"\n{name}:" not in makefile} == set()


def test_every_claim_about_security_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(test_\w+)`", page)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in named if f"def {name}(" not in tests] == []
    assert len(named) > 50


def test_the_site_is_built_and_every_link_in_it_leads_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(page.read_text() for page in tmp_path.rglob("*.html"))
    loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)="(https?:[^"]*)""", text)
    assert loaded == [], "a page asks somebody else's server"
