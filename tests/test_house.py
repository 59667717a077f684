"""The house rules that no linter knows: sizes, names, docstrings, and what must not be in the repository."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("traces", "rules", "judges", "monitors", "evaluator", "sandbox")
MODULE_LINES: Final = 400
TEST_MODULE_LINES: Final = 600
FUNCTION_LINES: Final = 60
VAGUE: Final = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

# Put together here, so that this file does not hold what it looks for.
FORBIDDEN: Final = re.compile(
    "|".join(
        (
            "/" + "work/(main|shared|\\.library)",
            "/" + "home/[a-z]",
            "/" + "Users/[A-Za-z]",
            "/" + "opt/(pypi|wheels)",
            "/" + "tmp/(tools|bash_jobs)",
            "pypi\\." + "(org|python)",
            "python" + "hosted\\.org",
            "--(extra-)?index" + "-url[ =]",
            "--find" + "-links",
            "proxy\\.golang" + "\\.org",
            "registry\\." + "npmjs",
        )
    )
)


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Return the tracked files, none when this is no git checkout."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ()
    listed = [ROOT / name for name in done.stdout.split("\0") if name] if done.returncode == 0 else []
    return tuple(path for path in listed if path.is_file())


def public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """Yield every public class, function and method with its dotted name; a nested function is nobody's API."""
    for child in node.body:
        if isinstance(child, Documented) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


def overload_or_override(node: Documented) -> bool:
    return any(ast.unparse(each).rpartition(".")[2] in {"overload", "override"} for each in node.decorator_list)


OURS: Final = modules(*PACKAGES)
EVERY: Final = modules(*PACKAGES, "tests", "benchmarks", "docs")


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_module_is_short(path: Path) -> None:
    most = TEST_MODULE_LINES if "tests" in path.relative_to(ROOT).parts else MODULE_LINES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_functions_are_short(path: Path) -> None:
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_name_says_what_it_holds(path: Path) -> None:
    words = {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
    assert not words & VAGUE


@pytest.mark.parametrize("path", OURS, ids=shown)
def test_public_names_are_no_vague_words(path: Path) -> None:
    words = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
    vague = [name for name, _ in public(tree(path)) if {word.lower() for word in words.findall(name)} & VAGUE]
    assert vague == []


@pytest.mark.parametrize("path", [path for path in OURS if path.name == "__init__.py"], ids=shown)
def test_a_package_exports_exactly_what_it_imports(path: Path) -> None:
    nodes = tree(path).body
    imported = [
        alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    defined = [name for name, _ in public(tree(path))]
    exported = getattr(importlib.import_module(".".join(path.parent.relative_to(ROOT).parts)), "__all__", [])
    assert sorted(exported) == sorted({*imported, *defined} - {"annotations"})


@pytest.mark.parametrize("path", OURS, ids=shown)
def test_public_names_are_documented(path: Path) -> None:
    bare = [name for name, node in public(tree(path)) if not ast.get_docstring(node) and not overload_or_override(node)]
    assert bare == []
    assert ast.get_docstring(tree(path)), "the module has no docstring"


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_nothing_is_left_for_later(path: Path) -> None:
    assert not re.search("TO" + "DO|FIX" + "ME", path.read_text(encoding="utf-8"))


def declared() -> dict[str, set[str]]:
    """Return the names that pyproject.toml asks for, at run time and for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {
        "At run time": project["project"]["dependencies"],
        "For development": [line for group in project["dependency-groups"].values() for line in group],
    }
    return {
        heading: {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower() for line in lines}
        for heading, lines in groups.items()
    }


@pytest.mark.parametrize("heading", ["At run time", "For development"])
def test_every_dependency_is_justified(heading: str) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    names = [row[0] for row in rows[2:]]
    assert names == sorted(declared()[heading])
    assert all(len(row) == 3 and all(row) for row in rows)


@pytest.mark.parametrize("heading", ["At run time", "For development"])
def test_every_dependency_is_locked(heading: str) -> None:
    name = "runtime" if heading == "At run time" else "dev"
    lock = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert {each.replace(".", "-").replace("_", "-") for each in declared()[heading]} <= locked


@pytest.mark.skipif(not tracked(), reason="not a git checkout")
@pytest.mark.parametrize("path", tracked(), ids=shown)
def test_names_neither_this_machine_nor_a_registry(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    found = [f"line {n}: {line.strip()[:120]}" for n, line in enumerate(text.splitlines(), 1) if FORBIDDEN.search(line)]
    assert found == []


def test_changes_are_told() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n")
    assert "\n## [Unreleased]\n" in text


LOADING: Final = {
    # The kinds of rules; a text beside the module; the number of the release.
    "importlib": {"rules/collect.py", "evaluator/connection.py", "evaluator/pulse.py"},
    "subprocess": {"evaluator/embedded.py", "evaluator/demo.py"},  # the embedded Valkey; the demo's own processes
}
"""Modules that can make code of a text or start a program, and who of ours may use them."""

NEVER: Final = {"pickle", "marshal", "shelve", "dill", "runpy", "code", "codeop", "imp", "pty", "multiprocessing"}


def loads(path: Path) -> set[str]:
    """Return what a module uses of all that runs code: modules it imports, builtins it calls."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module)):
                found.add(module.partition(".")[0])
            case ast.Call(func=ast.Name(id=name)) if name in {"eval", "exec", "compile", "__import__"}:
                found.add(name)
    return found & {*LOADING, *NEVER, "eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("path", modules(*(name for name in PACKAGES if name != "sandbox")), ids=shown)
def test_code_is_loaded_in_one_place(path: Path) -> None:
    allowed = {name for name, places in LOADING.items() if shown(path) in places}
    assert loads(path) == allowed
