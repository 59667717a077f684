"""Writing scores: what Langfuse would drop in silence is refused here; what it takes is proved by its answer."""

from __future__ import annotations

import asyncio
import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from evaluator.errors import EvaluatorError, Refused
from evaluator.langfuse.wire import ArrayRefused, TooWide, Wire
from traces import DataType, Score, json_text, well_formed

SCORES_A_REQUEST: Final = 100
BYTES_A_REQUEST: Final = 900_000
"""Langfuse takes bodies of 1 MB; a little is left for the brackets."""

LONGEST_ID: Final = 800
_NOTICE: Final = " [... shortened: Langfuse takes scores of at most 1 MB]"
_ENVIRONMENT: Final = re.compile(r"[a-z0-9_-]{1,40}")
_AT_ONCE: Final = 8
_PARTLY_ACCEPTED: Final = 207


@dataclass(frozen=True, slots=True)
class _Item:
    place: int
    body: bytes


class Writer:
    """Writes scores; remembers when the server turns out to take only one a request."""

    def __init__(self, wire: Wire, *, batches: bool) -> None:
        self._wire = wire
        self._batches = batches
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def write(self, scores: Sequence[Score]) -> list[EvaluatorError | None]:
        """Write scores and answer for each: None when Langfuse accepted it, else why not.

        Sending again what may have arrived is harmless: id and timestamp are the same.
        """
        answers: list[EvaluatorError | None] = [None] * len(scores)
        items: list[_Item] = []
        for place, score in enumerate(scores):
            try:
                items.append(_Item(place, body_of(score)))
            except Refused as error:
                answers[place] = error
        await asyncio.gather(*(self._group(group, answers) for group in _groups(items)))
        return answers

    async def _group(self, group: Sequence[_Item], answers: list[EvaluatorError | None]) -> None:
        if self._batches and len(group) > 1:
            try:
                async with self._at_once:
                    status = await self._wire.post("scores", b"[" + b",".join(i.body for i in group) + b"]")
            except ArrayRefused:
                self._batches = False
            except (Refused, TooWide):
                pass  # one of them is at fault: each is asked for alone
            except EvaluatorError as error:
                for item in group:
                    answers[item.place] = error
                return
            else:
                if status != _PARTLY_ACCEPTED:
                    return
        # 207 does not say which were rejected; alone, each gets its own answer.
        await asyncio.gather(*(self._alone(item, answers) for item in group))

    async def _alone(self, item: _Item, answers: list[EvaluatorError | None]) -> None:
        try:
            async with self._at_once:
                await self._wire.post("scores", item.body)
        except EvaluatorError as error:
            answers[item.place] = error


def body_of(score: Score) -> bytes:
    """Return a score as Langfuse takes it.

    Raises:
        Refused: Langfuse would reject it, or accept and never store it.
    """
    _refuse_what_would_be_lost(score)
    subject = score.subject
    body: dict[str, Any] = {
        "id": score.id,
        "name": score.name,
        "value": score.value,
        "dataType": score.data_type,
        "timestamp": score.timestamp,
        "environment": score.environment if _ENVIRONMENT.fullmatch(score.environment) else "default",
        "metadata": score.metadata,
    }
    if comment := well_formed(score.comment):
        body["comment"] = comment
    if subject.trace_id is not None:
        body["traceId"] = subject.trace_id
    if subject.observation_id is not None:
        body["observationId"] = subject.observation_id
    if subject.session_id is not None:
        body["sessionId"] = subject.session_id
    written = _written(body)
    if len(written) > BYTES_A_REQUEST:
        written = _with_shorter_comment(body)
    if len(written) > BYTES_A_REQUEST:
        raise Refused(f"score {score.name}: its metadata has more than {BYTES_A_REQUEST:,} bytes")
    return written


def _with_shorter_comment(body: dict[str, Any]) -> bytes:
    """Write as much of the comment as fits: measured as it is written, for JSON makes six bytes of some characters."""
    comment = str(body.get("comment", ""))

    def written(length: int) -> bytes:
        return _written({**body, "comment": comment[:length] + _NOTICE})

    longest = bisect_right(range(len(comment)), BYTES_A_REQUEST, key=lambda length: len(written(length))) - 1
    return written(max(longest, 0))


def _refuse_what_would_be_lost(score: Score) -> None:
    if problem := _what_would_be_lost(score):
        raise Refused(f"score {score.name!r}: {problem}")


def _what_would_be_lost(score: Score) -> str | None:
    if not score.name.strip() or "," in score.name:
        return "a name must not be empty nor hold a comma"
    if not 0 < len(score.id) <= LONGEST_ID or "\r" in score.id:
        return f"an id has 1 to {LONGEST_ID} characters and no carriage return"
    if score.timestamp.tzinfo is None:
        return "its timestamp has no time zone"
    if score.data_type is DataType.CATEGORICAL:
        if not isinstance(score.value, str) or not score.value:
            return "a CATEGORICAL value is a text that is not empty"
    elif isinstance(score.value, str) or not math.isfinite(score.value):
        return f"a {score.data_type.value} value is a finite number"
    elif score.data_type is DataType.BOOLEAN and score.value not in {0.0, 1.0}:
        return "a BOOLEAN value is 0 or 1"
    return None


def _written(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        # Numbers or texts orjson does not write; a score is not lost for odd metadata.
        return well_formed(json_text(body | {"timestamp": body["timestamp"].isoformat()})).encode()


def _groups(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    group: list[_Item] = []
    size = 0
    for item in items:
        if group and (len(group) == SCORES_A_REQUEST or size + len(item.body) > BYTES_A_REQUEST):
            yield group
            group, size = [], 0
        group.append(item)
        size += len(item.body) + 1
    if group:
        yield group
