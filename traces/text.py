"""Text forms of recorded values: total (no recorded value raises) and well-formed (every edge can encode them)."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import orjson

DEEPEST: Final = 100
"""Levels of nesting that are written out when a value is nested too deeply to be written whole."""

_SURROGATES: Final = re.compile(
    r"""
    \\\\ | \\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}  # a backslash, a pair: stay as they are
    | (?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})
    """,
    re.VERBOSE,
)

_MOST_MARKS: Final = 30
"""Of a run, as Unicode's stream-safe text has it (UAX 15)."""

_MARKS: Final = re.compile(rb"[^\0]{%d,}" % (_MOST_MARKS + 1))
"""A longer run, among the combining classes of a text's characters."""

_MESSAGE_KEYS: Final = frozenset({"role", "content", "tool_calls"})
_BOOKKEEPING: Final = frozenset({"id", "index", "name", "tool_call_id", "type", "status"})
"""Keys of a chat message that a reader does not miss."""


def as_text(value: object) -> str:
    """Return a recorded value as the text a person or a judge reads.

    Text stays as it is, a chat message becomes `role: content` with its tool calls one line each, a list of messages
    one after the other, anything else JSON. Nothing is left out: an object that only resembles a message stays JSON.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return well_formed(value)
    if is_message(value):
        return _message(value)
    if isinstance(value, list) and value and all(is_message(item) for item in value):
        return "\n".join(_message(item) for item in value)
    return json_text(value)


def json_text(value: object) -> str:
    """Return a value as compact JSON; what JSON cannot hold becomes its text, never an error.

    A value nested more deeply than the interpreter can follow is cut at `DEEPEST` levels, with … in place of the rest.
    """
    try:
        text = _dump(value)
    except (RecursionError, TypeError):
        # Too deep, or keys that are no text: neither comes from JSON we would write, both from JSON strangers write.
        text = _dump(_pruned(value, DEEPEST))
    return well_formed(text)


class TooDeep(ValueError):
    """JSON is nested too deeply to be read."""


def parsed_json(written: str | bytes) -> Any:
    """Return the value of a JSON text.

    Half of a surrogate pair, as JavaScript leaves where it cuts a text within an emoji, and bytes that are no UTF-8
    become the replacement character: one odd character does not cost all that stands around it.

    Raises:
        TooDeep: it is nested too deeply, about a thousand levels.
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(written)
    except orjson.JSONDecodeError as error:
        if "limit" in error.msg:
            raise TooDeep(error.msg) from None
        if isinstance(written, bytes):
            written = written.decode("utf-8", "replace")
        elif r"\u" not in written:
            raise
        return orjson.loads(_SURROGATES.sub(lambda found: r"\ufffd" if found["lone"] else found[0], written))


def well_formed(text: str) -> str:
    """Return `text` with every lone surrogate replaced, so that it can be encoded; pairs become their character."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def composed(text: str) -> str:
    """Return `text` in Unicode's form NFC, in linear time.

    The interpreter sorts each run of marks on one letter by insertion and holds everybody while it does: an answer of
    300 kB took a minute. Runs longer than any language has are taken in parts.
    """
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        if not any(map(unicodedata.combining, text[::_MOST_MARKS])):
            return unicodedata.normalize("NFC", text)  # a longer run would have been met
        classes = bytes(map(unicodedata.combining, text))
        ends = [at for run in _MARKS.finditer(classes) for at in range(run.start(), run.end(), _MOST_MARKS)[1:]]
        parts = pairwise((0, *ends, len(text)))
        return "".join(unicodedata.normalize("NFC", text[start:end]) for start, end in parts)
    return text  # not one mark among its characters


def is_message(value: object) -> bool:
    """Whether `value` is a chat message and has nothing in it that `spoken` would leave out."""
    if not isinstance(value, Mapping) or not (value.get("content") or value.get("tool_calls")):
        return False
    if not isinstance(value.get("role"), str):
        return value.keys() == {"content"} and isinstance(value["content"], str)
    return (
        not any(held for key, held in value.items() if key not in _MESSAGE_KEYS | _BOOKKEEPING)
        and _is_content(value.get("content"))
        and _are_calls(value.get("tool_calls"))
    )


def _is_content(content: object) -> bool:
    return content is None or isinstance(content, str) or (isinstance(content, list) and all(map(_is_part, content)))


def _is_part(part: object) -> bool:
    return isinstance(part, str) or (isinstance(part, Mapping) and isinstance(part.get("type"), str))


def _are_calls(calls: object) -> bool:
    return calls is None or (
        isinstance(calls, list)
        and all(isinstance(call, Mapping) and isinstance(call.get("function"), Mapping) for call in calls)
    )


def spoken(message: Any) -> tuple[str, list[str]]:
    """Return what a chat message says, with its role in front, and its calls of tools; `is_message` told it is one."""
    role = message.get("role")
    content = message.get("content")
    said = content if isinstance(content, str) else "\n".join(_part(part) for part in content or ())
    calls = message.get("tool_calls") or ()
    lines = [f"{role} calls {call['function'].get('name')}({_arguments(call['function'])})" for call in calls]
    return well_formed(f"{role}: {said}" if role else said) if said or not calls else "", [*map(well_formed, lines)]


def _message(value: Any) -> str:
    said, calls = spoken(value)
    return "\n".join([said, *calls] if said else calls)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    return part["text"] if part["type"] == "text" and isinstance(part.get("text"), str) else json_text(part)


def _arguments(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments", "")
    return arguments if isinstance(arguments, str) else json_text(arguments)


def _dump(value: object) -> str:
    return _ENCODER.encode(value)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "), default=_plain)


def _pruned(value: object, levels: int) -> object:
    if levels == 0 and isinstance(value, (Mapping, list, tuple)):
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _pruned(item, levels - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pruned(item, levels - 1) for item in value]
    return value
