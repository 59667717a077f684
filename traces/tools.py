"""What a model was offered and what it asked for, as the usual SDKs record them.

Providers write the definitions of tools in four ways and calls in five; who checks an agent wants none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from traces.text import parsed_json

if TYPE_CHECKING:
    from traces.model import Observation, Trace

_IN_INPUT: Final = ("tools", "functions", "tool_definitions")
_IN_METADATA: Final = (*_IN_INPUT, "gen_ai.tool.definitions", "ai.prompt.tools", "llm.tools")
_SCHEMAS: Final = ("parameters", "input_schema", "inputSchema", "json_schema")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asked for, or an application made; `arguments` as recorded, parsed where they are JSON."""

    name: str
    arguments: Any


def offered_tools(trace: Trace) -> dict[str, Any]:
    """Return the tools that the model calls of a trace were given, by name: the JSON Schema of each, None without one.

    They are looked for in the input of generations (`tools`, `functions`, messages that hold a definition) and in their
    metadata (OpenTelemetry's `gen_ai.tool.definitions`, the Vercel AI SDK's `ai.prompt.tools`).
    """
    found: dict[str, Any] = {}
    for step in trace.generations:
        for definition in _definitions(step):
            name = definition.get("name")
            if isinstance(name, str) and name:
                schema = next((definition[key] for key in _SCHEMAS if definition.get(key) is not None), None)
                found[name] = found.get(name) if schema is None else schema
    return found


def asked_calls(trace: Trace) -> list[ToolCall]:
    """Return the tool calls in the order in which they were asked for: those in what models wrote.

    Where no generation's output holds one, the observations of type TOOL tell.
    """
    asked = [call for step in trace.generations for call in calls_in(step.output)]
    return asked or [ToolCall(step.name, parsed(step.input)) for step in trace.tool_calls]


def calls_in(output: Any) -> list[ToolCall]:
    """Return the tool calls that a model's output asks for."""
    return [call for message in _messages(output) for call in _calls(message)]


def text_in(output: Any) -> str:
    """Return what a model's output says to people, without its calls; empty when it says nothing."""
    if isinstance(output, str):
        return output.strip()
    return "\n".join(filter(None, (_said(message) for message in _messages(output)))).strip()


def parsed(value: Any) -> Any:
    """Return text as the JSON it is, anything else as it stands."""
    try:
        return parsed_json(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _definitions(step: Observation) -> Iterator[Mapping[str, Any]]:
    """Give the definitions that one generation was given, each as an object with its name."""
    if isinstance(step.input, Mapping):
        for key in _IN_INPUT:
            yield from _unwrapped(step.input.get(key))
    beside = step.metadata.get("attributes")
    for metadata in (step.metadata, beside if isinstance(beside, Mapping) else {}):
        for key in _IN_METADATA:
            yield from _unwrapped(metadata.get(key))
    # As Langfuse's handler for LangChain has it: definitions are messages in front of the others.
    for message in step.input if isinstance(step.input, list) else ():
        held = message.get("content") if isinstance(message, Mapping) and message.get("role") == "tool" else None
        if isinstance(held, Mapping) and "tool_call_id" not in message and ("function" in held or "parameters" in held):
            yield from _unwrapped([held])


def _unwrapped(value: Any) -> Iterator[Mapping[str, Any]]:
    listed = parsed(value)
    if isinstance(listed, Mapping):
        listed = [{"name": name, **held} for name, held in listed.items() if isinstance(held, Mapping)]
    for each in listed if isinstance(listed, list) else ():
        one = parsed(each)
        if not isinstance(one, Mapping):
            continue
        inner = one.get("function")
        if isinstance(inner, Mapping):
            yield inner
        elif isinstance(one.get("functionDeclarations"), list):
            yield from (held for held in one["functionDeclarations"] if isinstance(held, Mapping))
        else:
            yield one


def _messages(output: Any) -> Iterator[Mapping[str, Any]]:
    """Give the messages of an output: one, a list, or those of a provider's whole answer."""
    if isinstance(output, list):
        yield from (message for message in output if isinstance(message, Mapping))
    elif isinstance(output, Mapping):
        choices = output.get("choices", output.get("generations"))
        if isinstance(choices, list):
            held = (choice.get("message") for choice in choices if isinstance(choice, Mapping))
            yield from (message for message in held if isinstance(message, Mapping))
        elif isinstance(inner := output.get("message", output.get("messages")), Mapping | list):
            yield from _messages(inner)
        else:
            yield output


def _calls(message: Mapping[str, Any]) -> Iterator[ToolCall]:
    listed = message.get("tool_calls", message.get("toolCalls"))
    old = message.get("function_call")
    content = message.get("content")
    blocks = content if isinstance(content, list) else ()
    alone = [message] if message.get("type") in {"tool_use", "function_call", "tool-call"} else []
    for call in (*(listed if isinstance(listed, list) else ()), old, *blocks, *alone):
        if isinstance(call, Mapping) and (found := _call(call, of_message=call is old)) is not None:
            yield found


def _call(call: Mapping[str, Any], *, of_message: bool) -> ToolCall | None:
    inner = call.get("function")
    held = inner if isinstance(inner, Mapping) else call
    is_block = call.get("type") in {"tool_use", "function_call", "tool-call", "tool_call"}
    name = held.get("name", held.get("toolName"))
    if not isinstance(name, str) or not (held is inner or is_block or of_message or "args" in held):
        return None
    arguments = next((held[key] for key in ("arguments", "args", "input") if key in held), None)
    return ToolCall(name, parsed(arguments))


def _said(message: Mapping[str, Any]) -> str:
    content = next((message[key] for key in ("content", "text", "output_text") if message.get(key) is not None), None)
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str)).strip()
    return content.strip() if isinstance(content, str) else ""
