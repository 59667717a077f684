"""Judge calls seen in Langfuse: each question a trace of its own in environment `llm-as-a-judge`.

A question that took one call is one generation. One that took several (a jury, samples, a repair, parts, retries, a
fallback) is an evaluator observation with a generation for each call below it: what was sent, what came back word for
word, which model, tokens, cost, time, and why an answer was of no use. Texts are as the judge saw them, redacted where
that is on.

Langfuse's own evaluators refuse that environment, and so does our discovery: nothing judges the judge. Calls go to
Langfuse's OTLP endpoint in the background, under the names of its SDK; should that fail, the log says so and no
evaluation suffers. The SDK's own client cannot write a call that has ended, and whether one is worth writing is mostly
known only then; nor may it be opened twice in one process, as is done when definitions are read again.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import structlog

from evaluator.model import UNREADABLE, Journal, Sent, attempt_of, titled
from judges import PartPrompt, Prompt, Question, Reply, answers_of
from traces import Failure, Outcome, Subject, Unscored, Usage, Verdict, json_text, well_formed

if TYPE_CHECKING:
    from langfuse import LangfuseOtelSpanAttributes
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from evaluator.scoring.judge_queue import Room

ENVIRONMENT: Final = "llm-as-a-judge"
"""The one environment name a client may write that Langfuse's evaluators leave alone (contract 5.5)."""

_LONGEST_NAME: Final = 200
_A_SECOND: Final = 1_000_000_000
_log = structlog.get_logger(__name__)

Which = Literal["all", "failures", "off"]


@dataclass(frozen=True, slots=True)
class Call:
    """A question on its way, asked for `evaluators`, by name with their versions.

    `journal` is where what is sent for it belongs; None when nobody will read it.
    """

    subject: Subject
    evaluators: Mapping[str, str]
    question: Question
    journal: Journal | None


class Spoilt(NamedTuple):
    """A reply that could not be read, with what it answers."""

    prompt: Prompt
    reply: Reply


class _Way(NamedTuple):
    """The way to Langfuse, and how much may wait on it."""

    provider: TracerProvider
    room: Room


class JudgeTraces:
    """Writes judge calls to Langfuse: all of them, those that failed, or none. Safe for many threads.

    A question has failed when no verdict came of it, or nothing of one of its opinions.
    """

    def __init__(
        self,
        base_url: str,
        public_key: str,
        secret_key: str,
        which: Which,
        now: Callable[[], datetime],
        seconds: Callable[[], float],
        url_of: Callable[[str], str] = lambda trace_id: trace_id,
    ) -> None:
        """Write to the project of these keys.

        Args:
            base_url: where Langfuse is.
            public_key: of the project.
            secret_key: of the project.
            which: calls are written.
            now: tells the time.
            seconds: tells the clock that journals go by.
            url_of: tells where a person reads the trace of an id.
        """
        key = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()
        self._endpoint = base_url.rstrip("/") + "/api/public/otel/v1/traces"
        self._headers = {"Authorization": f"Basic {key}", "x-langfuse-ingestion-version": "4"}
        self._which = which
        self._now = now
        self._seconds = seconds
        self._url_of = url_of
        self._way: _Way | None = None
        self._opening = threading.Lock()

    def begin(
        self, subject: Subject, evaluators: Mapping[str, str], question: Question, spoilt: Spoilt | None = None
    ) -> Call:
        """Note that a question is about to be asked for `evaluators`, by name with their versions.

        `spoilt` came by another way before and is of no use: the question is the repair of it.
        """
        if self._which == "off":
            return Call(subject, evaluators, question, None)
        if spoilt is None:
            return Call(subject, evaluators, question, [])
        now = self._seconds()
        first = Sent(spoilt.prompt, spoilt.reply.model, 0, now, now, spoilt.reply, UNREADABLE)
        return Call(subject, evaluators, question.again(spoilt.prompt), [first])

    def heard(self, call: Call, reply: Reply) -> None:
        """Note a reply that came by another way than a call of ours, now."""
        if call.journal is not None:
            now = self._seconds()
            call.journal.append(Sent(call.question.prompt, reply.model, 0, now, now, reply, ""))

    def end(self, call: Call, outcome: Outcome) -> str | None:
        """Write how it went, when such calls are to be written; return the id of the trace that says so."""
        failed = isinstance(outcome, Failure) and not outcome.retryable
        failed = failed or any(sent.is_lost for sent in call.journal or ())
        if self._which == "off" or (self._which == "failures" and not failed):
            return None
        used = outcome.usage if isinstance(outcome, Verdict | Unscored | Failure) else Usage()
        if used.cached and not used.calls:
            return None  # nobody was called
        journal = call.journal or []
        times = self._times(journal)
        span = self._begun(self._name(call), min((began for began, _ in times), default=None))
        seen = span.get_span_context()
        if not seen.is_valid or not self._opened().room.take(seen.span_id, *_size(call.question.prompt, journal)):
            return None
        failure = f"{outcome.kind}: {outcome.reason}" if isinstance(outcome, Failure) else ""
        told = {
            **_shown(call.question.prompt, _said(outcome) or _heard(journal), "ERROR" if failure else "", failure),
            **_metadata(self._about(call)),
        }
        if len(journal) > 1:
            for sent, moments in zip(journal, times, strict=True):
                self._add(sent, journal, moments, span)
            told[_keys().OBSERVATION_TYPE] = "evaluator"
        else:
            told |= _generation(call.question.prompt, used.model or call.question.prompt.model, used)
        span.set_attributes(told)
        span.end(max((ended for _, ended in times), default=None))
        return f"{seen.trace_id:032x}"

    def close(self) -> None:
        """Send what is waiting."""
        if self._way is not None:
            self._way.provider.shutdown()

    def _add(self, sent: Sent, journal: Journal, moments: tuple[int, int], parent: Span) -> None:
        """Write one call below its question."""
        began, ended = moments
        span = self._begun(titled(sent, journal)[:_LONGEST_NAME], began, parent)
        reply = sent.reply
        level = ("ERROR" if reply is None else "WARNING") if sent.failed else ""
        span.set_attributes(
            _shown(sent.prompt, None if reply is None else reply.text, level, sent.failed)
            | _generation(sent.prompt, sent.model, Usage() if reply is None else reply.usage)
            | _metadata(_place(sent, journal))
        )
        span.end(ended)

    def _times(self, journal: Journal) -> list[tuple[int, int]]:
        """Return when each call began and ended, in nanoseconds of the time of day."""
        seconds = self._seconds()
        zero = self._now().timestamp() - seconds
        ends = (seconds if sent.ended is None else sent.ended for sent in journal)
        return [
            (int((zero + sent.began) * _A_SECOND), int((zero + end) * _A_SECOND))
            for sent, end in zip(journal, ends, strict=True)
        ]

    def _name(self, call: Call) -> str:
        return f"judge {' + '.join(call.evaluators)}"[:_LONGEST_NAME]

    def _about(self, call: Call) -> dict[str, str]:
        return {
            **self._judged(call.subject),
            "evaluator": ", ".join(call.evaluators),
            "evaluator_version": ", ".join(call.evaluators.values()),
        }

    def _judged(self, subject: Subject) -> dict[str, str]:
        """Say what was judged, and where a person reads it."""
        ids = (("trace", subject.trace_id), ("observation", subject.observation_id), ("session", subject.session_id))
        told = {f"judged_{kind}_id": known for kind, known in ids if known is not None}
        return told | ({"judged_trace_url": self._url_of(subject.trace_id)} if subject.trace_id else {})

    def _begun(self, name: str, began: int | None, parent: Span | None = None) -> Span:
        """Return a new span; without a parent it is a trace of its own, whatever else the process traces."""
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

        within = Context() if parent is None else set_span_in_context(parent, Context())
        return self._opened().provider.get_tracer("evaluator").start_span(name, within, start_time=began)

    def _opened(self) -> _Way:
        with self._opening:
            if self._way is None:
                self._way = self._open()
        return self._way

    def _open(self) -> _Way:
        from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

        from evaluator.scoring.judge_queue import Room, sending  # noqa: PLC0415

        if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
            _log.warning("judge calls are not seen in Langfuse: the environment says OTEL_SDK_DISABLED=true")
        room = Room(self._seconds)
        # What the environment says of traces concerns those of the service itself, not these.
        provider = TracerProvider(resource=Resource({_keys().ENVIRONMENT: ENVIRONMENT}), sampler=ALWAYS_ON)
        provider.add_span_processor(sending(self._endpoint, self._headers, room))
        return _Way(provider, room)


def _size(question: Prompt, journal: Journal) -> tuple[int, int]:
    """Return how many spans tell of a question and its calls, and how many bytes their texts take in memory."""
    calls = journal if len(journal) > 1 else []
    prompts = [question, *(sent.prompt for sent in calls)]
    asked = sum(sys.getsizeof(prompt.system) + sys.getsizeof(prompt.user) for prompt in prompts)
    replies = (sent.reply.text for sent in journal if sent.reply is not None)
    return 1 + len(calls), asked + sum(map(sys.getsizeof, replies))


def _place(sent: Sent, journal: Journal) -> dict[str, Any]:
    told: dict[str, Any] = {"opinion": sent.opinion + 1, "attempt": attempt_of(sent, journal)}
    if isinstance(sent.prompt, PartPrompt):
        told["part"] = len(sent.prompt.notes) + 1
    if sent.reply is not None and sent.reply.finish_reason:
        told["finish_reason"] = sent.reply.finish_reason
    return told | ({"repair": True} if sent.prompt.repair else {})


def _keys() -> type[LangfuseOtelSpanAttributes]:
    """Return the names that Langfuse's OTLP endpoint reads."""
    from langfuse import LangfuseOtelSpanAttributes  # noqa: PLC0415 - where no call is traced it is not even loaded

    return LangfuseOtelSpanAttributes


def _shown(prompt: Prompt, output: object, level: str, why: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
    key = _keys()
    known = {
        key.ENVIRONMENT: ENVIRONMENT,
        key.OBSERVATION_INPUT: json_text(messages),
        key.OBSERVATION_OUTPUT: output if output is None or isinstance(output, str) else json_text(output),
        key.OBSERVATION_LEVEL: level,
        key.OBSERVATION_STATUS_MESSAGE: why,
    }
    return {name: well_formed(value) for name, value in known.items() if value}


def _generation(prompt: Prompt, asked: str, used: Usage) -> dict[str, str]:
    """Return who answered at what cost; tokens by kind, none of them in two: Langfuse adds them up."""
    warm = {} if prompt.temperature is None else {"temperature": prompt.temperature}
    held = {"input_cached_tokens": used.cached_tokens} if used.cached_tokens else {}
    usage = {"input": used.input_tokens - used.cached_tokens, **held, "output": used.output_tokens}
    key = _keys()
    return {
        key.OBSERVATION_TYPE: "generation",
        key.OBSERVATION_MODEL: used.model or asked,
        key.OBSERVATION_MODEL_PARAMETERS: json_text({**warm, "max_output_tokens": prompt.max_output_tokens}),
        key.OBSERVATION_USAGE_DETAILS: json_text(usage),
        key.OBSERVATION_COST_DETAILS: json_text({"total": used.usd}),
    }


def _metadata(told: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{_keys().OBSERVATION_METADATA}.{name}": value for name, value in told.items()}


def _said(outcome: Outcome) -> dict[str, Any] | None:
    if (answers := answers_of(outcome)) is not None:
        return {key: _said(answer) for key, answer in answers.items()}
    match outcome:
        case Verdict(value, reason):
            return {"reasoning": reason, "score": value}
        case Unscored(reason):
            return {"reasoning": reason, "score": None}
    return None


def _heard(journal: Journal) -> str | None:
    """Return the last words that came back, of whatever use."""
    return next((sent.reply.text for sent in reversed(journal) if sent.reply is not None), None)
