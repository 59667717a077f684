"""A trace, or the traces of a session, as text a judge can read: every step in order, and nothing said twice.

An agent sends its whole conversation to the model again and again. What an earlier step has shown is only counted
here, and what was not shown is never left out: a message is the same only with the same speaker and the same text,
and the third "yes" of a conversation is new as long as two were shown.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from traces.lengths import Shortened, in_tokens
from traces.packing import Passage, Piece
from traces.text import as_text, is_message, json_text, spoken, well_formed

if TYPE_CHECKING:
    from traces.model import Observation, Trace

_MOST_INDENTED: Final = 12
"""Levels shown by indenting: a chain of hundreds would make gigabytes of blanks of a few megabytes."""

_LONGEST_NAME: Final = 120
_RECOGNISABLE: Final = 60
_LONG: Final = 200
"""Characters of a value from which on it is not written out again."""

_OURS: Final = (
    r"(?=[ \t]*(?:\[(?:end of )?[A-Z_]+[ \]]|\[\.\.\.|\(\+\d|(?:in|out|ERROR|WARNING): "
    r"|(?:system|developer|user|human|assistant|ai|model|tool|function)(?:: | calls )))"
)
_FORGED: Final = {end: re.compile(end + _OURS) for end in "\n\r\v\f\x85\u2028\u2029"}
"""By what ends the line before: the beginning of a line in a value that looks like one of the transcript's own."""


class _Weight(IntEnum):
    """What a piece may cost, by the weight of others."""

    ENDS = 256
    """The question and the answer."""
    ERROR = 16
    CALL = 8
    SAID = 4
    """What a tool answered, what a person or the assistant said."""
    REST = 1


class _Side(Enum):
    WHOLE = 0
    OPENED = 1
    CLOSED = 2


def transcript(traces: Sequence[Trace], budget: int | None = None) -> Shortened:
    """Return traces as text, of at most `budget` tokens as `tokens` estimates them."""
    written = transcript_of(traces)
    return Shortened(written.text, 0) if budget is None else written.packed(in_tokens(budget))


def transcript_of(traces: Sequence[Trace], remark: str = "") -> Passage:
    """Return the transcript of traces, of one or of a session's in the order of their start, as it may be packed.

    A `remark` stands in front of all.
    """
    writing = _Writing()
    if remark:
        writing.title(remark)
    for number, trace in enumerate(traces, 1):
        if len(traces) > 1:
            name = f"{_named(trace.name)}, " if trace.name else ""
            writing.title(f"[TRACE {number} of {len(traces)}] {name}{trace.root.start:%Y-%m-%d %H:%M:%S} UTC")
        writing.trace(trace, first=trace is traces[0], last=trace is traces[-1])
    return Passage(writing.pieces)


class _Writing:
    """A transcript that grows; remembers what it has shown."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._times: Counter[str] = Counter()
        self._shown: dict[str, Piece] = {}
        self._pad = ""
        self._heading: int | None = None

    def title(self, text: str) -> None:
        """Write a line about what follows."""
        self._pad = ""
        self._head(text, _Weight.ERROR)

    def trace(self, trace: Trace, *, first: bool, last: bool) -> None:
        """Write all steps of a trace; the question of the first and the answer of the last weigh most."""
        asked = next((o for o in (trace.root, *trace.observations) if o.input is not None), None) if first else None
        answered = _answering(trace) if last else None
        for step, depth, side in _walk(trace.observations):
            self._pad = "  " * min(depth, _MOST_INDENTED)
            if side is not _Side.CLOSED:
                self._open(step, is_root=step is trace.root)
                self._input(step, is_asked=step is asked, is_root=step is trace.root)
            if side is not _Side.OPENED and step.output is not None:
                if side is _Side.CLOSED:
                    self._head(f"[end of {step.type} {_named(step.name)}]", _heading_weight(step))
                self._output(step, is_answer=step is answered)

    def _open(self, step: Observation, *, is_root: bool) -> None:
        took = "" if step.type == "EVENT" else " still open" if step.latency is None else f" {step.latency:.2f}s"
        weight = _Weight.ENDS if is_root else _heading_weight(step)
        self._head(f"[{step.type} {_named(step.name)}{took}]", weight)
        if step.level in {"WARNING", "ERROR"}:
            self._piece(f"{step.level}: ", step.status_message or "no message", _Weight.ERROR)

    def _input(self, step: Observation, *, is_asked: bool, is_root: bool) -> None:
        if step.input is None:
            return
        weight = _Weight.CALL if step.type == "TOOL" else _Weight.REST
        messages, beside = _messages(step.input)
        if beside is not None:
            speaker = "user" if is_root else ""
            self._value("in", beside, speaker, _Weight.ENDS if is_asked and not messages else weight)
        self._conversation("in", messages)
        if is_asked and messages:
            self._shown[_key(_last_said(messages))].weight = _Weight.ENDS

    def _output(self, step: Observation, *, is_answer: bool) -> None:
        messages, beside = _messages(step.output)
        weight = _Weight.ENDS if is_answer else _weight_out(step)
        if beside is not None:
            speaker = {"GENERATION": "assistant", "TOOL": "tool"}.get(step.type, "")
            self._value("out", beside, speaker, weight)
        if step.type == "GENERATION":
            for message in messages:  # said just now, whatever was said before
                self._message("out", message)
                self._times[_key(message)] += 1
        else:
            self._conversation("out", messages)
        if is_answer and messages:
            self._shown[_key(messages[-1])].weight = _Weight.ENDS

    def _value(self, name: str, value: Any, speaker: str, weight: int) -> None:
        text = as_text(value)
        known = self._shown.get(text) if len(text) > _LONG else None
        if known is None:
            known = self._shown[text] = self._piece(f"{name}: ", text, weight)
        else:
            known.weight = max(known.weight, weight)
            begins = " ".join(text[:_RECOGNISABLE].split())
            self._piece(f"{name}: ", f"{begins}… (shown above, {len(text):,} characters)", weight)
        if speaker:
            self._times[f"{speaker}: {text}"] += 1
            self._shown[f"{speaker}: {text}"] = known

    def _conversation(self, name: str, messages: Sequence[Any]) -> None:
        """Write those messages that are new; of the others only how many they are."""
        here: Counter[str] = Counter()
        above = 0
        for message in messages:
            key = _key(message)
            here[key] += 1
            if here[key] <= self._times[key]:
                above += 1
                continue
            above = self._above(name, above)
            self._message(name, message)
        self._above(name, above)
        for key, times in here.items():
            self._times[key] = max(self._times[key], times)

    def _above(self, name: str, number: int) -> int:
        if number:
            self._piece(f"{name}: ", f"(+{number} message{'s' * (number > 1)} shown above)", _Weight.REST)
        return 0

    def _message(self, name: str, message: Any) -> None:
        said, calls = spoken(message) if is_message(message) else (json_text(message), [])
        role = message.get("role") if isinstance(message, Mapping) else None
        weight = _Weight.REST if role in {"system", "developer"} else _Weight.SAID
        shown = [self._piece(f"{name}: ", said, weight)] if said or not calls else []
        shown += [self._piece(f"{name}: ", call, _Weight.CALL) for call in calls]
        self._shown[_key(message)] = shown[0]
        if shown and isinstance(message, Mapping) and isinstance(message.get("content"), str):
            self._shown[message["content"]] = shown[0]

    def _head(self, text: str, weight: int) -> None:
        self._heading = None
        self._piece("", text, weight)
        self._heading = len(self.pieces) - 1

    def _piece(self, lead: str, text: str, weight: int) -> Piece:
        body = well_formed(text)
        for end, forged in _FORGED.items():
            if end in body:
                body = forged.sub(f"{end}| ", body)
        # Indenting never doubles a value: ten million empty lines would become a quarter of a gigabyte.
        if self._pad and body.count("\n") * len(self._pad) <= len(body):
            body = body.replace("\n", "\n" + self._pad)
        lead = self._pad + lead
        piece = Piece(lead + body, int(weight), len(lead), self._heading)
        self.pieces.append(piece)
        return piece


def _walk(steps: Sequence[Observation]) -> Iterator[tuple[Observation, int, _Side]]:
    """Give every step once, each above its children, with its depth, and those with children a second time behind them.

    A parent may be missing or, in broken data, be its own descendant: then its children stand at the top.
    """
    known = {step.id for step in steps}
    children: dict[str, list[int]] = defaultdict(list)
    for number, step in enumerate(steps):
        if step.parent_id in known:
            children[str(step.parent_id)].append(number)
    tops = (number for number, step in enumerate(steps) if step.parent_id not in known)
    done: set[int] = set()
    for top in chain(tops, range(len(steps))):
        stack = [(top, 0, False)]
        while stack:
            number, depth, is_behind = stack.pop()
            step = steps[number]
            if is_behind:
                yield step, depth, _Side.CLOSED
            elif number not in done:
                done.add(number)
                below = [child for child in children.pop(step.id, ()) if child not in done]
                yield step, depth, _Side.OPENED if below else _Side.WHOLE
                if below:
                    stack.append((number, depth, True))
                    stack.extend((child, depth + 1, False) for child in reversed(below))


def _messages(value: Any) -> tuple[Sequence[Any], Any]:
    """Return the chat messages of a recorded value, and what is beside them; None when nothing is."""
    if _are_messages(value):
        return value, None
    if is_message(value) and "role" in value:
        return [value], None
    if isinstance(value, Mapping) and "messages" in value:
        found = value["messages"]
        if isinstance(found, list) and len(found) == 1 and _are_messages(found[0]):
            found = found[0]  # as LangChain has it: one list for each of several conversations
        if _are_messages(found):
            return found, {key: held for key, held in value.items() if key != "messages"} or None
    return (), value


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_said, value))


def _is_said(value: Any) -> bool:
    return isinstance(value, Mapping) and ("role" in value or ("type" in value and "content" in value))


def _key(message: Any) -> str:
    """Return what tells a message from others: who says it, and everything it says."""
    if not is_message(message):
        return json_text(message)
    said, calls = spoken(message)
    content = message.get("content")
    if message.get("role") == "tool" and isinstance(content, str) and content[:1] in {"{", "["}:
        # The step of the tool has it as a value: white space does not make it another one.
        try:
            said = f"tool: {as_text(json.loads(content))}"
        except (ValueError, RecursionError):
            said = f"tool: {content}"
    return "\n".join([said, *calls])


def _last_said(messages: Sequence[Any]) -> Any:
    """Return the last message of a person; the last of all when there is none."""
    return next((m for m in reversed(messages) if m.get("role", m.get("type")) in {"user", "human"}), messages[-1])


def _answering(trace: Trace) -> Observation:
    """Return the step whose output is the answer."""
    said = [step for step in trace.generations if step.output is not None]
    return said[-1] if trace.root.output is None and said else trace.root


def _weight_out(step: Observation) -> _Weight:
    if step.level == "ERROR":
        return _Weight.ERROR
    return _Weight.SAID if step.type in {"TOOL", "GENERATION", "RETRIEVER"} else _Weight.REST


def _heading_weight(step: Observation) -> _Weight:
    if step.level == "ERROR":
        return _Weight.ERROR
    return _Weight.CALL if step.type == "TOOL" else _Weight.REST


def _named(name: str) -> str:
    """Return a name on one line, and no longer than a name is."""
    plain = " ".join(name.split())
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[: _LONGEST_NAME - 1]}…"
