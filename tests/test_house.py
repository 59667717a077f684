"""The house rules that no linter knows: sizes, names, docstrings, and what must not be in the repository."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
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
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=str(path))


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


# A test looks at all modules and names every one at fault: four thousand tests took longer to collect than to run.


def at_fault(paths: Iterable[Path], faults: Callable[[Path], object]) -> dict[str, object]:
    """Return what is wrong with each path that something is wrong with."""
    return {shown(path): found for path in paths if (found := faults(path))}


def test_there_is_something_to_hold_to_the_rules() -> None:
    assert {"rules/collect.py", "evaluator/app.py"} <= set(map(shown, OURS))
    assert {"tests/conftest.py", "docs/generate.py", *map(shown, OURS)} <= set(map(shown, EVERY))


def test_unit_tests_lie_where_what_they_test_lies() -> None:
    def elsewhere(path: Path) -> str:
        package = path.parent.relative_to(ROOT / "tests" / "unit")
        if not (ROOT / package / "__init__.py").is_file():
            return f"{package} is no package"
        if len(package.parts) == 1:
            return ""
        dotted = ".".join(package.parts)
        return "" if re.search(rf"\b{dotted}\b", text(path)) else f"has nothing to do with {dotted}"

    unit = ROOT / "tests" / "unit"
    assert at_fault((path for path in modules("tests/unit") if path.parent != unit), elsewhere) == {}


def test_the_page_of_the_code_shows_every_part_of_the_service_in_the_order_of_imports() -> None:
    page = text(ROOT / "docs" / "code.md").partition("\nevaluator/ ")[2].partition("\nsandbox/ ")[0]
    shown_there = [name.removesuffix("/").removesuffix(".py") for name in re.findall(r"^  (\S+)  ", page, re.MULTILINE)]
    here = {path.stem for path in (ROOT / "evaluator").glob("*.py")} - {"__init__"}
    here |= {path.parent.name for path in (ROOT / "evaluator").glob("*/__init__.py")}
    assert sorted(shown_there) == sorted(here)
    contracts = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["evaluator"])
    place = {name: number for number, row in enumerate(layers) for name in row.split(" | ")}
    assert shown_there == sorted(shown_there, key=place.__getitem__)


def test_the_inside_of_every_package_of_the_service_has_an_order() -> None:
    contracts = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    ordered = [name for each in contracts if each.get("exhaustive") for name in each["containers"]]
    folders = {path.parent.relative_to(ROOT) for path in modules("evaluator")}
    assert sorted(ordered) == sorted(".".join(folder.parts) for folder in folders)


def test_modules_are_short() -> None:
    def too_many_lines(path: Path) -> int:
        most = TEST_MODULE_LINES if "tests" in path.relative_to(ROOT).parts else MODULE_LINES
        lines = len(text(path).splitlines())
        return lines if lines > most else 0

    assert at_fault(EVERY, too_many_lines) == {}


def test_functions_are_short() -> None:
    def long_ones(path: Path) -> dict[str, int]:
        functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
        return {name: length for name, length in lengths.items() if length > FUNCTION_LINES}

    assert at_fault(EVERY, long_ones) == {}


def test_names_of_modules_say_what_they_hold() -> None:
    def vague(path: Path) -> set[str]:
        return {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")} & VAGUE

    assert at_fault(EVERY, vague) == {}


def test_public_names_are_no_vague_words() -> None:
    words = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

    def vague(path: Path) -> list[str]:
        return [name for name, _ in public(tree(path)) if {word.lower() for word in words.findall(name)} & VAGUE]

    assert at_fault(OURS, vague) == {}


def test_a_package_exports_exactly_what_it_imports() -> None:
    def otherwise(path: Path) -> set[str]:
        nodes = tree(path).body
        imported = [
            alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
        ]
        defined = [name for name, _ in public(tree(path))]
        exported = getattr(importlib.import_module(".".join(path.parent.relative_to(ROOT).parts)), "__all__", [])
        twice = {name for name in exported if exported.count(name) > 1}
        return twice | ({*exported} ^ ({*imported, *defined} - {"annotations"}))

    assert at_fault([path for path in OURS if path.name == "__init__.py"], otherwise) == {}


def test_public_names_are_documented() -> None:
    def bare(path: Path) -> list[str]:
        named = [("the module", tree(path)), *public(tree(path))]
        return [
            name
            for name, node in named
            if not ast.get_docstring(node) and (isinstance(node, ast.Module) or not overload_or_override(node))
        ]

    assert at_fault(OURS, bare) == {}


def test_nothing_is_left_for_later() -> None:
    left = re.compile("TO" + "DO|FIX" + "ME")
    assert at_fault(EVERY, lambda path: left.findall(text(path))) == {}


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
def test_no_file_names_this_machine_or_a_registry() -> None:
    def named(path: Path) -> list[str]:
        if not FORBIDDEN.search(text(path)):
            return []
        lines = enumerate(text(path).splitlines(), 1)
        return [f"line {n}: {line.strip()[:120]}" for n, line in lines if FORBIDDEN.search(line)]

    assert at_fault(tracked(), named) == {}


def test_changes_are_told() -> None:
    changes = text(ROOT / "CHANGELOG.md")
    assert changes.startswith("# Changelog\n")
    assert "\n## [Unreleased]\n" in changes


LOADING: Final = {
    # The kinds of rules; a text beside the module; the number of the release.
    "importlib": {"rules/collect.py", "evaluator/state/connection.py", "evaluator/pulse.py"},
    "subprocess": {"evaluator/state/embedded.py", "evaluator/demo.py"},  # the embedded Valkey; the demo's own processes
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


def test_code_is_loaded_in_one_place() -> None:
    def elsewhere(path: Path) -> set[str]:
        return loads(path) ^ {name for name, places in LOADING.items() if shown(path) in places}

    assert at_fault((path for path in OURS if path.relative_to(ROOT).parts[0] != "sandbox"), elsewhere) == {}
