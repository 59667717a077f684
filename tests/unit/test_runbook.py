"""The runbook is complete: whatever the service can send, raise or give up has its heading, and no heading is stale."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest
from ruamel.yaml import YAML

from evaluator import errors

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "runbook.md").read_text()
TREES: Final = [
    ast.parse(path.read_text()) for folder in ("evaluator", "judges", "rules") for path in (ROOT / folder).rglob("*.py")
]
SECTIONS: Final = {part.splitlines()[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
KIND: Final = re.compile(r"[a-z]+(?:_[a-z]+)+|interrupted")


def headed(section: str) -> set[str]:
    """Return what a section explains; a heading may name several things."""
    heads = re.findall(r"^### (.+)$", SECTIONS[section], flags=re.MULTILINE)
    return {name for head in heads for name in head.split(" · ")}


def texts(node: ast.expr, scope: ast.AST) -> Iterator[str]:
    """Give the texts an expression may come to; … stands for what is known only when it runs."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            ways = ([*_of_part(part, scope)] for part in parts)
            yield from ("".join(way) for way in itertools.product(*ways))
        case ast.IfExp(body=one, orelse=other):
            yield from texts(one, scope)
            yield from texts(other, scope)
        case ast.BoolOp(values=several):
            yield from (text for each in several for text in texts(each, scope))
        case ast.Dict(values=several):
            yield from (text for each in several for text in texts(each, scope))
        case ast.Tuple(elts=[first, *_]):
            yield from texts(first, scope)
        case ast.Call(func=ast.Attribute(attr="fromkeys"), args=[_, value]):
            yield from texts(value, scope)
        case ast.Subscript(value=table):
            yield from texts(table, scope)
        case ast.Name(id=name):
            yield from (text for value in _assigned(name, scope) for text in texts(value, scope))


def _of_part(part: ast.expr, scope: ast.AST) -> Iterator[str]:
    match part:
        case ast.Constant(value=str() as text):
            yield text
        case ast.FormattedValue(value=ast.IfExp(body=ast.Constant(), orelse=ast.Constant()) as either):
            yield from texts(either, scope)
        case _:
            yield "…"


def _assigned(name: str, scope: ast.AST) -> Iterable[ast.expr]:
    """Give what a name stands for: in its function, or else as a constant of any module."""
    local = list(_values(name, ast.walk(scope)))
    return local or [value for tree in TREES for value in _values(name, tree.body)]


def _values(name: str, nodes: Iterable[ast.AST]) -> Iterator[ast.expr]:
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                yield value
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                yield value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                pairs = zip(names, values, strict=True)
                yield from (value for each, value in pairs if isinstance(each, ast.Name) and each.id == name)


def called(name: str, place: int = 0) -> set[str]:
    """Return the texts that may stand at a place of the arguments of calls of a function."""
    found: set[str] = set()
    for call, scope in calls().get(name, ()):
        if len(call.args) > place:
            found |= {*texts(call.args[place], scope)}
    return found


@functools.cache
def calls() -> dict[str, list[tuple[ast.Call, ast.AST]]]:
    """Return the calls of each function, with the functions they stand in or the module."""
    found: dict[str, list[tuple[ast.Call, ast.AST]]] = {}
    for tree in TREES:
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                for node in ast.walk(scope) if not isinstance(scope, ast.Module) else _outside(scope):
                    if isinstance(node, ast.Call):
                        found.setdefault(_name(node.func), []).append((node, scope))
    return found


def _outside(module: ast.Module) -> Iterator[ast.AST]:
    for node in module.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from ast.walk(node)


def _name(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


@functools.cache
def kinds() -> set[str]:
    """Return every kind of failure there is."""
    table = {text for value in _assigned("_KINDS", ast.Module([], [])) for text in texts(value, ast.Module([], []))}
    said = called("Failure") | called("FinalRefusal") | called("give_up", 2) | called("end") | table
    scored = {
        node.value.elts[1].value
        for tree in TREES
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and len(node.value.elts) > 1
        and isinstance(node.value.elts[0], ast.Constant)
        and node.value.elts[0].value == "failed"
        and isinstance(node.value.elts[1], ast.Constant)
    }
    return {kind for kind in said | scored if isinstance(kind, str) and KIND.fullmatch(kind)}


@functools.cache
def messages() -> set[str]:
    """Return the title of every message that people get."""
    found = called("notice") | called("_Said") | called("post")
    return {title for title in found if " " in title and not {"→", "?"} & {*title}}


def test_every_kind_of_failure_is_explained() -> None:
    assert {"bad_answer", "score_refused", "worker_error", "model_unavailable", "rule_slow", "key_refused"} <= kinds()
    assert kinds() == headed("Why a pair failed")


def test_every_message_is_explained() -> None:
    assert {"Discovery stands still", "… fell", "Judge model … takes no calls"} <= messages()
    assert messages() == headed("Messages")


def test_every_alert_of_prometheus_is_explained() -> None:
    groups = YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "evaluator.rules.yaml")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == headed("Alerts of Prometheus")
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_every_class_of_errors_is_explained() -> None:
    classes = (each for each in vars(errors).values() if isinstance(each, type))
    ours = {each.__name__ for each in classes if issubclass(each, errors.EvaluatorError)}
    assert ours - {"EvaluatorError"} == headed("Errors")


@pytest.mark.parametrize(
    "part", re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:], ids=lambda part: part.splitlines()[0]
)
def test_each_says_what_it_means_and_what_to_do(part: str) -> None:
    said = part.split("\n## ", maxsplit=1)[0]
    assert "**Do:**" in said
    assert len(said.split("**Do:**")[0].splitlines()) > 2, "it says what it means"
