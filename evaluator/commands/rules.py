"""`evaluator rules`: the kinds of rules, ours and the team's own, with parameters and an example each."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evaluator.errors import ConfigError, Problem
from evaluator.settings import load_settings

if TYPE_CHECKING:
    from rules import Rule

_out = Console(soft_wrap=True)

Kind = Annotated[str | None, typer.Argument(help="one kind: its documentation, parameters and an example")]


def rules(
    kind: Kind = None, as_json: Annotated[bool, typer.Option("--json", help="print it as one JSON object")] = False
) -> None:
    """List the kinds of rules that rules.yaml may use, the team's own among them."""
    from evaluator.definitions import rule_kinds
    from evaluator.definitions.mistakes import nearest

    kinds = rule_kinds(load_settings().evaluator_config)
    if kind is not None and kind not in kinds:
        raise ConfigError([Problem("rules", f"unknown kind {kind!r}; {nearest(kind, kinds)}")])
    told = {name: _told(one) for name, one in kinds.items() if kind in {None, name}}
    if as_json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    elif kind is not None:
        from rules.document import section

        _out.print(section(kinds[kind]), markup=False, highlight=False, end="")
    else:
        _list(told)


def _told(kind: type[Rule]) -> dict[str, Any]:
    """Return a kind as JSON; what it is written in says whose it is."""
    schema = kind.model_json_schema(by_alias=True)
    return {
        "gives": str(kind.gives),
        "documentation": inspect.cleandoc(kind.__doc__ or ""),
        "parameters": schema.get("properties", {}),
        "required": schema.get("required", []),
        "example": dict(kind.example),
        "module": kind.__module__,
        "file": inspect.getsourcefile(kind),
        "ours": kind.__module__.startswith("rules."),
    }


def _list(told: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("rule", "gives", "what it checks"):
        table.add_column(title, no_wrap=title != "what it checks", overflow="fold")
    for name, one in told.items():
        first = " ".join(one["documentation"].split("\n\n")[0].split())
        table.add_row(name, one["gives"], first if one["ours"] else f"{first} ({one['file']})")
    Console(soft_wrap=False).print(table, markup=False)
    _out.print(
        f"\n{len(told)} kinds; `evaluator rules KIND` shows one with its parameters and an example", highlight=False
    )
