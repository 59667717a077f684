from __future__ import annotations

import ast
from pathlib import Path as File

import traces

PACKAGE = File(traces.__file__).parent


def test_the_export_list_is_sorted_and_true() -> None:
    assert traces.__all__ == sorted(traces.__all__)
    assert all(hasattr(traces, name) for name in traces.__all__)


def test_everything_the_package_imports_for_others_is_exported() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == traces.__all__


def test_the_domain_imports_nothing_of_ours() -> None:
    for file in PACKAGE.glob("*.py"):
        imports = [
            node.module or "" for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)
        ]
        assert not {name.split(".")[0] for name in imports} & {"rules", "judges", "monitors", "evaluator", "sandbox"}
