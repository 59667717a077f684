"""What was judged, kept as plain JSON: judged again from it, it is the same material, whatever became of the original.

Nothing that a path or a transcript can see is left out. `earlier` is: it is for rules that compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from traces.model import Observation, Trace
from traces.session import Session

FORM: Final = 1
"""Version of the form; what another release wrote in another one is not read."""

_TIMES: Final = frozenset({"start", "end", "updated"})
_STEP: Final = tuple(field.name for field in fields(Observation))
_PLAIN: Final = ("id", "name", "environment", "session_id", "user_id", "tags", "release", "version")


def frozen(material: Trace | Session) -> dict[str, Any]:
    """Return a trace, one of its steps, or a session as a JSON object; `thawed` is the inverse."""
    if isinstance(material, Session):
        traces = [_trace(each) for each in material.traces]
        return {"form": FORM, "session": material.id, "older_left_out": material.older_left_out, "traces": traces}
    if material.whole is not None:
        return {"form": FORM, "traces": [_trace(material.whole)], "step": material.root.id}
    return {"form": FORM, "traces": [_trace(material)]}


def thawed(data: Mapping[str, Any]) -> Trace | Session:
    """Read what `frozen` wrote; fields unknown here are left out.

    Raises:
        ValueError: it is nothing that `frozen` wrote, or of another form.
    """
    try:
        if data["form"] != FORM:
            raise ValueError(f"form {data['form']!r} is not {FORM}")
        traces = tuple(_thawed(each) for each in data["traces"])
        if "session" in data:
            return Session(data["session"], traces, bool(data["older_left_out"]))
        (trace,) = traces
        if "step" not in data:
            return trace
        return trace.at(next(each for each in trace.observations if each.id == data["step"]))
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ValueError(f"not a frozen trace: {type(error).__name__}") from error


def _trace(trace: Trace) -> dict[str, Any]:
    steps = [_step(each) for each in trace.observations]
    return {**{name: getattr(trace, name) for name in _PLAIN}, "root": trace.root.id, "observations": steps}


def _step(step: Observation) -> dict[str, Any]:
    known = {name: getattr(step, name) for name in _STEP}
    for name in _TIMES:
        known[name] = None if known[name] is None else known[name].isoformat()
    for name in ("metadata", "usage"):
        known[name] = dict(known[name])
    return known


def _thawed(data: Mapping[str, Any]) -> Trace:
    steps = tuple(_thawed_step(each) for each in data["observations"])
    root = next(each for each in steps if each.id == data["root"])
    known = {name: data[name] for name in _PLAIN}
    return Trace(root=root, observations=steps, **{**known, "tags": tuple(known["tags"])})


def _thawed_step(data: Mapping[str, Any]) -> Observation:
    known = {name: data[name] for name in _STEP if name in data}
    for name in _TIMES:
        text = known.get(name)
        known[name] = None if text is None else datetime.fromisoformat(text)
    return Observation(**known)
