"""Text forms of recorded values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast


def as_text(value: object) -> str:
    """Return a recorded value as the text a person or a judge reads.

    Text stays as it is, a chat message becomes `role: content`, a list of them one line each, anything else JSON.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("content"), str) and "tool_calls" not in value:
        role = value.get("role")
        return f"{role}: {value['content']}" if isinstance(role, str) else cast("str", value["content"])
    if isinstance(value, list) and value and all(isinstance(v, Mapping) and "content" in v for v in value):
        return "\n".join(as_text(v) for v in value)
    return json_text(value)


def json_text(value: object) -> str:
    """Return a value as compact JSON; what JSON cannot hold becomes its text, never an error."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=_plain)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)
