"""Traces for tests, with as few words as a test needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from traces import Observation, Trace

ANY_TEXT: Final = st.lists(st.sampled_from("\ud800\udfff\x00\n") | st.characters(), max_size=40).map("".join)
"""Text of any kind, halves of characters and NULs often among it (an alphabet for `text` would make them rare)."""

START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def step(
    name: str = "step",
    *,
    at: float = 0.0,
    took: float | None = 1.0,
    type: str = "SPAN",  # noqa: A002 - Langfuse's word
    id: str | None = None,  # noqa: A002 - Langfuse's word
    parent: str | None = "root",
    **fields: Any,
) -> Observation:
    """Return an observation that starts `at` seconds after the trace and is open when `took` is None."""
    start = START + timedelta(seconds=at)
    end = None if took is None else start + timedelta(seconds=took)
    fields.setdefault("trace_id", "t1")
    return Observation(id=id or name, type=type, name=name, start=start, end=end, parent_id=parent, **fields)


def tool(name: str, arguments: Any = None, *, id: str = "", **fields: Any) -> Observation:  # noqa: A002
    """Return a tool call."""
    return step(name, type="TOOL", id=id or f"{name}-{arguments!r}"[:40], input=arguments, **fields)


def trace(*steps: Observation, output: Any = "All done.", input: Any = "Please help.", **fields: Any) -> Trace:  # noqa: A002
    """Return a trace of a ten-second root span over `steps`; fields beginning with `root_` go to the root."""
    of_root = {key.removeprefix("root_"): fields.pop(key) for key in list(fields) if key.startswith("root_")}
    of_root = {"took": 10.0, "parent": None, **of_root}
    root = step("root", input=input, output=output, is_root=True, **of_root)
    return Trace(id="t1", root=root, observations=(root, *steps), **fields)


def nested(levels: int, inner: Any = "bottom") -> Any:
    """Return `inner` inside that many lists and objects, in turn."""
    for level in range(levels):
        inner = [inner] if level % 2 else {"in": inner}
    return inner
