"""Rules about what a model asked for against what it was offered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final

from pydantic import Field

from rules.agents import named
from rules.base import Rule, counted, failed, passed, quoted
from rules.schemas import BadSchema, Schema
from traces import NotApplicable, Trace, Verdict, asked_calls, json_text, offered_tools, parsed

_NO_CALLS: Final = NotApplicable("no tool calls")
_NOTHING_OFFERED: Final = NotApplicable("no tool definitions recorded")
_NO_SCHEMAS: Final = NotApplicable("no schema of a called tool recorded")

_REFERENCE: Final = re.compile(r'"\$(?:dynamicRef|ref|recursiveRef)": "([^"]*)"')
_LARGEST_SCHEMA: Final = 100_000
"""Characters: a schema that strangers wrote is compiled while others wait."""


class KnownTools(Rule):
    """The model asks only for tools that it was offered: others are made up, or spelt as in another prompt.

    What was offered is read from the input of generations (`tools`, `functions`) and from their metadata
    (`gen_ai.tool.definitions`), or said in `tools`. A trace in which neither is known is not scored.
    """

    example: ClassVar = {"name": "no-made-up-tools", "rule": "known_tools"}

    tools: tuple[str, ...] = Field(default=(), description="tools that exist, beside those recorded as offered")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Compare what was asked for with what was offered."""
        calls = asked_calls(trace)
        if not calls:
            return _NO_CALLS
        known = {*offered_tools(trace), *self.tools}
        if not known:
            return _NOTHING_OFFERED
        strange = list(dict.fromkeys(call.name for call in calls if call.name not in known))
        if strange:
            return failed(f"{named(strange)} called, not among {counted(len(known), 'tool')} offered", len(strange))
        return passed(f"{counted(len(calls), 'tool call')}, all of {counted(len(known), 'tool')} offered", 0)


class ToolArguments(Rule):
    """The arguments of every tool call fit the JSON Schema of the tool, as the model was given it.

    Schemas are read where `known_tools` reads them; `schemas` gives those of tools whose definitions are not recorded.
    A call of a tool without a schema, or with one that is not JSON Schema 2020-12, is not looked at; a trace with no
    other calls is not scored. The comment says where the arguments are wrong, never what they were.
    """

    example: ClassVar = {
        "name": "arguments-fit",
        "rule": "tool_arguments",
        "schemas": {"get_order": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}},
    }

    schemas: dict[str, dict[str, Any]] = Field(default={}, description="JSON Schemas of arguments, by tool")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Validate each call."""
        calls = asked_calls(trace)
        if not calls:
            return _NO_CALLS
        known = {name: _compiled(schema) for name, schema in ({**offered_tools(trace), **self.schemas}).items()}
        checked = [(call, schema) for call in calls if (schema := known.get(call.name)) is not None]
        if not checked:
            return _NO_SCHEMAS
        wrong = [
            (call.name, problem)
            for call, schema in checked
            if (problem := schema.problem({} if call.arguments is None else parsed(call.arguments))) is not None
        ]
        found = f"{len(wrong)} of {counted(len(checked), 'call')} with arguments that do not fit"
        if not wrong:
            return passed(found, 0)
        name, problem = wrong[0]
        return failed(f"{found}: {quoted(name)}: {problem}", len(wrong))


def _compiled(schema: Any) -> Schema | None:
    """Return a schema ready to use; None when it is none we can use."""
    document = parsed(schema)
    if not isinstance(document, Mapping):
        return None
    # Generators name an older draft, and use nothing of it that the newest does not have.
    text = json_text({key: held for key, held in document.items() if key != "$schema"})
    return _schema(text) if len(text) <= _LARGEST_SCHEMA else None


@lru_cache(maxsize=256)
def _schema(text: str) -> Schema | None:
    document = parsed(text)
    if not isinstance(document, dict) or _is_recursive(document):
        return None
    try:
        return Schema(document)
    except BadSchema:
        return None


def _is_recursive(document: Mapping[str, Any]) -> bool:
    """Whether definitions refer to each other in a circle, or to anything else: such a schema might never be done."""
    definitions = {
        f"#/{key}/{name}": set(_REFERENCE.findall(json_text(held)))
        for key in ("$defs", "definitions")
        if isinstance(document.get(key), Mapping)
        for name, held in document[key].items()
    }
    rest = {key: held for key, held in document.items() if key not in {"$defs", "definitions"}}
    if not set(_REFERENCE.findall(json_text(rest))) <= definitions.keys():
        return True
    while done := {name for name, references in definitions.items() if not references}:
        definitions = {name: held - done for name, held in definitions.items() if name not in done}
    return bool(definitions)
