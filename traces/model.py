"""Finished work as plain values: an observation, and the trace it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from traces.packing import Passage
from traces.record import record
from traces.transcript import transcript_of
from traces.when import Severity

T = TypeVar("T")


@record(frozen=True, slots=True)
class TraceRef:
    """Enough of a trace for a queue message and a score id; never content.

    `started` and `ended` are the root observation's, timezone-aware.
    """

    id: str
    root_id: str
    environment: str
    started: datetime
    ended: datetime


@record(frozen=True, slots=True)
class TraceRoot:
    """What a root observation tells about its trace before anything else is read.

    Filters and sampling see this and nothing more, so an inclusion probability is always a function of what was
    known when the decision was made. `scores` and `metadata` are only there where some filter asks for them, `found` is
    the worst severity of a rule of ours that failed, as far as that is known.
    """

    ref: TraceRef
    name: str = ""
    level: str = "DEFAULT"
    user_id: str | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    release: str | None = None
    version: str | None = None
    model: str | None = None
    prompt_name: str | None = None
    prompt_version: int | None = None
    scores: Mapping[str, float | str] = field(default_factory=dict)
    found: Severity | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def latency(self) -> float:
        """Seconds from start to end."""
        return (self.ref.ended - self.ref.started).total_seconds()


@record(frozen=True, slots=True)
class Observation:
    """One step of a trace.

    `type` is Langfuse's (GENERATION, SPAN, EVENT, AGENT, TOOL, CHAIN, RETRIEVER, ...). `input` and `output` are parsed
    JSON where the recorded text is JSON, else the text itself. `usage` counts tokens by kind (`input`, `output`,
    `total`, ...), `cost` is in USD, `time_to_first_token` in seconds. `end` is None while the step is still open.
    `updated` is when Langfuse last changed the row: of two copies of one id the newest wins.
    """

    id: str
    trace_id: str
    type: str
    name: str
    start: datetime
    end: datetime | None = None
    parent_id: str | None = None
    is_root: bool = False
    input: Any = None
    output: Any = None
    level: str = "DEFAULT"
    status_message: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    usage: Mapping[str, float] = field(default_factory=dict)
    cost: float | None = None
    prompt_name: str | None = None
    prompt_version: int | None = None
    time_to_first_token: float | None = None
    updated: datetime | None = None

    @property
    def latency(self) -> float | None:
        """Seconds from start to end; None while open."""
        return None if self.end is None else (self.end - self.start).total_seconds()

    @property
    def tokens(self) -> float:
        """Total tokens: the recorded total, else the sum of input and output."""
        total = self.usage.get("total")
        return total if total is not None else self.usage.get("input", 0.0) + self.usage.get("output", 0.0)

    def document(self) -> dict[str, Any]:
        """Return the plain JSON object that a JSONPath sees."""
        return {
            "id": self.id,
            "parent_id": self.parent_id,
            "type": self.type,
            "name": self.name,
            "input": self.input,
            "output": self.output,
            "level": self.level,
            "status_message": self.status_message,
            "metadata": dict(self.metadata),
            "model": self.model,
            "usage": dict(self.usage),
            "cost": self.cost,
            "latency": self.latency,
            "prompt_name": self.prompt_name,
            "prompt_version": self.prompt_version,
        }


@record(frozen=True, slots=True)
class Trace:
    """A whole request: its root and every observation, in start order (the root among them).

    `whole` is the request that this one is a part of, when it is only a step of it with what is below. `earlier` is
    what was kept of traces that ended before it, by topic, for rules that compare; None where nothing is known of them.
    """

    id: str
    root: Observation
    observations: tuple[Observation, ...]
    name: str = ""
    environment: str = "default"
    session_id: str | None = None
    user_id: str | None = None
    tags: tuple[str, ...] = ()
    release: str | None = None
    version: str | None = None
    whole: Trace | None = field(default=None, repr=False, compare=False)
    earlier: Mapping[str, Sequence[str]] | None = field(default=None, repr=False, compare=False)
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def ref(self) -> TraceRef:
        """The reference a score needs, made once. Without an ended root it ends when anything last moved."""
        return self.once("ref", self._as_ref)

    def _as_ref(self) -> TraceRef:
        return TraceRef(self.id, self.root.id, self.environment, self.root.start, self.root.end or self.last_moment)

    @property
    def last_moment(self) -> datetime:
        """The latest start or end of any observation."""
        return max(o.end or o.start for o in self.observations)

    @property
    def is_open(self) -> bool:
        """Whether any step has not ended. An EVENT is a moment: it never has an end."""
        return any(o.end is None and o.type != "EVENT" for o in self.observations)

    @property
    def duration(self) -> timedelta:
        """From the root's start to its end (to the last moment when it is open)."""
        return (self.root.end or self.last_moment) - self.root.start

    @property
    def latency(self) -> float:
        """`duration` in seconds."""
        return self.duration.total_seconds()

    @property
    def generations(self) -> tuple[Observation, ...]:
        """Calls of a language model, in start order."""
        return tuple(o for o in self.observations if o.type == "GENERATION")

    @property
    def tool_calls(self) -> tuple[Observation, ...]:
        """Calls of a tool, in start order."""
        return tuple(o for o in self.observations if o.type == "TOOL")

    @property
    def errors(self) -> tuple[Observation, ...]:
        """Steps recorded at level ERROR, in start order."""
        return tuple(o for o in self.observations if o.level == "ERROR")

    @property
    def tokens(self) -> float:
        """Total tokens of all generations."""
        return sum(o.tokens for o in self.generations)

    @property
    def cost(self) -> float | None:
        """Cost in USD of all observations that have one; None when none has."""
        known = [o.cost for o in self.observations if o.cost is not None]
        return sum(known) if known else None

    @property
    def model(self) -> str | None:
        """The model of the last generation: the one that wrote the answer."""
        return next((o.model for o in reversed(self.observations) if o.type == "GENERATION" and o.model), None)

    @property
    def prompt(self) -> tuple[str, int] | None:
        """Name and version of the last prompt that a step is linked to."""
        for o in reversed(self.observations):
            if o.prompt_name is not None and o.prompt_version is not None:
                return o.prompt_name, o.prompt_version
        return None

    def segments(self) -> Mapping[str, str]:
        """The keys a monitor may attribute a drop to, as text, made once; absent ones are left out."""
        return self.once("segments", self._segments)

    def _segments(self) -> dict[str, str]:
        of_all = {} if self.whole is None else {**self.whole.segments(), "observation_name": self.root.name}
        prompt = self.prompt
        known = {
            "trace_name": self.name or None,
            "model": self.model,
            "prompt_version": f"{prompt[0]}:{prompt[1]}" if prompt else None,
            "release": self.release,
            "version": self.version,
            "environment": self.environment,
            "tags": ",".join(sorted(self.tags)) or None,
        }
        return of_all | {key: value for key, value in known.items() if value is not None}

    def document(self) -> dict[str, Any]:
        """Return the trace as one plain JSON object, made once: what a JSONPath sees, of a part the whole."""
        return self.once("document", self._as_document)

    def document_with(self, key: str | None) -> dict[str, Any]:
        """Return as much of `document` as a path sees that begins with `key`: most look at the root alone."""
        if key != "root":
            return self.document()
        if self.whole is not None:
            return self.whole.document_with(key)
        return self.once("root", lambda: {"root": self.root.document()})

    def once(self, what: str, make: Callable[[], T]) -> T:
        """Return what `make` gives, made once for this trace under the name `what`: many ask for the same."""
        if what not in self._made:
            self._made[what] = make()
        made: T = self._made[what]
        return made

    def _as_document(self) -> dict[str, Any]:
        if self.whole is not None:
            return {**self.whole.document(), "observation": self.root.document()}
        root = self.document_with("root")["root"]
        return {
            "id": self.id,
            "name": self.name,
            "environment": self.environment,
            "session_id": self.session_id,
            "user_id": self.user_id,
            "tags": list(self.tags),
            "release": self.release,
            "version": self.version,
            "latency": self.latency,
            "cost": self.cost,
            "root": root,
            "observations": [root if o is self.root else o.document() for o in self.observations],
        }

    def at(self, step: Observation) -> Trace:
        """Return the part of the trace that is one step: the step is its root, what was recorded below it its rest.

        A path still sees the whole trace, and the step beside it as `$.observation`. What the step does not tell of
        itself, such as the model, is the whole trace's.
        """
        return replace(self, root=step, observations=self._below(step), whole=self)

    def _below(self, step: Observation) -> tuple[Observation, ...]:
        """Return a step and all its descendants, in start order; broken data may have it below itself."""
        children = self.once("children", self._children)
        found, left = {step.id}, [step.id]
        while left:
            inner = [child for child in children.get(left.pop(), ()) if child not in found]
            found.update(inner)
            left += inner
        return tuple(each for each in self.observations if each.id in found)

    def _children(self) -> dict[str | None, list[str]]:
        children: dict[str | None, list[str]] = {}
        for each in self.observations:
            children.setdefault(each.parent_id, []).append(each.id)
        return children

    def transcript(self) -> str:
        """Return the trace as text a judge can read: every step in order, and nothing said twice."""
        return self.passage().text

    def passage(self) -> Passage:
        """Return the transcript as it may be packed or divided when it is too long."""
        return transcript_of([self])
