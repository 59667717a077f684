"""One question to a judge: its prompt, how an answer is read, and the one repair of an answer that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from judges.scale import BooleanScale, CategoricalScale, NumericScale, OffScale
from traces import Failure, Outcome, Unscored, Usage, Verdict

CANNOT_JUDGE: Final = "cannot_judge"
LONGEST_REASON: Final = 4000
MORE_ROOM: Final = 4
"""A cut answer is asked for again with so many times the output limit: a reasoning model may spend it all thinking."""

_CUT: Final = frozenset({"length", "max_tokens"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to a model. `schema` is the strict JSON Schema of the answer, `max_output_tokens` its limit."""

    model: str
    system: str
    user: str
    schema: Mapping[str, Any]
    temperature: float | None = 0.0
    max_output_tokens: int = 1500
    repair: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered. `usage` counts this and every earlier call for the same question."""

    text: str
    model: str
    finish_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the scale its answer must lie on. `details` go into the verdict."""

    prompt: Prompt
    scale: NumericScale | BooleanScale | CategoricalScale
    details: Mapping[str, Any] = field(default_factory=dict)

    def read(self, reply: Reply) -> Outcome | Prompt:
        """Read a reply: an outcome, or the prompt to send once more.

        An answer that cannot be read is asked for again once; after that it is a failure, never a number.
        """
        if reply.finish_reason == "content_filter":
            return Failure("content filter", "the provider withheld the answer", usage=reply.usage)
        try:
            return self._verdict(reply)
        except OffScale as problem:
            return self._repair_or_fail(reply, problem)

    def _verdict(self, reply: Reply) -> Verdict | Unscored:
        answer = _object(reply.text)
        value, reason = answer.get("score"), _reason(answer)
        if value is None or value == CANNOT_JUDGE:
            if "score" not in answer:
                raise OffScale("expected an object with reasoning and score")
            return Unscored(reason or "the judge could not tell", reply.usage)
        return Verdict(self.scale.parse(value), reason, usage=reply.usage, details=dict(self.details))

    def _repair_or_fail(self, reply: Reply, problem: OffScale) -> Failure | Prompt:
        cut = reply.finish_reason in _CUT
        if self.prompt.repair:
            kind = "answer cut" if cut else "bad answer"
            return Failure(kind, f"twice no usable answer: {problem}", usage=reply.usage)
        if cut:
            room = self.prompt.max_output_tokens * MORE_ROOM
            return replace(self.prompt, repair=True, max_output_tokens=room)
        note = f"\n\nYour previous answer could not be used: {problem}. Answer with the JSON object only."
        return replace(self.prompt, repair=True, user=self.prompt.user + note)

    def again(self, prompt: Prompt) -> Question:
        """Return the question as it stands after a repair."""
        return replace(self, prompt=prompt)


def answer_schema(scale: NumericScale | BooleanScale | CategoricalScale) -> dict[str, Any]:
    """Return the strict schema of an answer: reason first, then the score, or that it cannot be told."""
    abstain = {"type": "string", "enum": [CANNOT_JUDGE]}
    return {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "description": "two to four sentences, naming what decided the score"},
            "score": {"anyOf": [scale.answer_schema(), abstain]},
        },
        "required": ["reasoning", "score"],
        "additionalProperties": False,
    }


def _object(text: str) -> dict[str, Any]:
    """Find the answer's JSON object: the whole text, or the last object in it when a model wrapped it in words."""
    decoder = json.JSONDecoder()
    stripped = text.strip()
    starts = [0] if stripped.startswith("{") else [i for i, c in enumerate(stripped[:20_000]) if c == "{"]
    found: dict[str, Any] | None = None
    end = 0
    for start in starts:
        if start < end:
            continue
        try:
            value, end = decoder.raw_decode(stripped, start)
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(value, dict) and "score" in value:
            found = value
    if found is None:
        raise OffScale("expected an object with reasoning and score")
    return found


def _reason(answer: Mapping[str, Any]) -> str:
    reason = answer.get("reasoning")
    return reason.strip()[:LONGEST_REASON] if isinstance(reason, str) else ""
