"""Judge calls seen in Langfuse: each a trace of its own in environment `llm-as-a-judge`.

Langfuse's own evaluators refuse that environment, and so does our discovery: nothing judges the judge. Tracing goes
through Langfuse's SDK and its background queue; should it fail, it says so in the log and no evaluation suffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from judges import Question, answers_of
from traces import Failure, Outcome, Subject, Unscored, Usage, Verdict

if TYPE_CHECKING:
    from langfuse import Langfuse as LangfuseSdk
    from langfuse import LangfuseGeneration

ENVIRONMENT: Final = "llm-as-a-judge"
"""The one environment name a client may write that Langfuse's evaluators leave alone (contract 5.5)."""

_LONGEST_NAME: Final = 200

Which = Literal["all", "failures", "off"]


@dataclass(frozen=True, slots=True)
class Call:
    """A question on its way; `span` is open while every call is traced.

    `evaluators` are those it is asked for, with their versions.
    """

    subject: Subject
    evaluators: Mapping[str, str]
    question: Question
    span: LangfuseGeneration | None = None


class JudgeTraces:
    """Writes judge calls to Langfuse: all of them, those that failed, or none. Safe for many threads."""

    def __init__(
        self,
        base_url: str,
        public_key: str,
        secret_key: str,
        which: Which,
        url_of: Callable[[str], str] = lambda trace_id: trace_id,
    ) -> None:
        """Write to the project of these keys; `url_of` tells where a person reads the trace of an id."""
        self._base_url = base_url
        self._public_key = public_key
        self._secret_key = secret_key
        self._which = which
        self._url_of = url_of
        self._sdk: LangfuseSdk | None = None

    def begin(self, subject: Subject, evaluators: Mapping[str, str], question: Question) -> Call:
        """Note that a question is about to be asked for `evaluators`, by name with their versions."""
        call = Call(subject, evaluators, question)
        return replace(call, span=self._open(call)) if self._which == "all" else call

    def end(self, call: Call, outcome: Outcome) -> str | None:
        """Write how it went, when such calls are to be written; return the id of the trace that says so."""
        failed = isinstance(outcome, Failure) and not outcome.retryable
        used = outcome.usage if isinstance(outcome, Verdict | Unscored | Failure) else Usage()
        if used.cached and not used.calls:
            return None  # nobody was called; what was begun is left unsent
        span = call.span or (self._open(call) if failed and self._which == "failures" else None)
        if span is None:
            return None
        span.update(
            output=_said(outcome),
            model=used.model or call.question.prompt.model,
            usage_details=_usage_details(used),
            cost_details={"total": used.usd},
            level="ERROR" if isinstance(outcome, Failure) else "DEFAULT",
            status_message=f"{outcome.kind}: {outcome.reason}" if isinstance(outcome, Failure) else None,
        )
        span.end()
        return span.trace_id

    def close(self) -> None:
        """Send what is waiting."""
        if self._sdk is not None:
            self._sdk.shutdown()

    def _open(self, call: Call) -> LangfuseGeneration:
        prompt = call.question.prompt
        return self._client().start_observation(
            as_type="generation",
            name=f"judge {' + '.join(call.evaluators)}"[:_LONGEST_NAME],
            input=[{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            model=prompt.model,
            metadata={
                **self._judged(call.subject),
                "evaluator": ", ".join(call.evaluators),
                "evaluator_version": ", ".join(call.evaluators.values()),
            },
        )

    def _judged(self, subject: Subject) -> dict[str, str]:
        """Say what was judged, and where a person reads it."""
        ids = (("trace", subject.trace_id), ("observation", subject.observation_id), ("session", subject.session_id))
        told = {f"judged_{kind}_id": known for kind, known in ids if known is not None}
        return told | ({"judged_trace_url": self._url_of(subject.trace_id)} if subject.trace_id else {})

    def _client(self) -> LangfuseSdk:
        if self._sdk is None:
            # Where no call is traced its SDK is not even loaded.
            from langfuse import Langfuse as LangfuseSdk  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

            # A provider of its own: the process may trace other things, elsewhere.
            provider = TracerProvider(resource=Resource({"langfuse.environment": ENVIRONMENT}))
            self._sdk = LangfuseSdk(
                base_url=self._base_url,
                public_key=self._public_key,
                secret_key=self._secret_key,
                environment=ENVIRONMENT,
                tracer_provider=provider,
            )
        return self._sdk


def _usage_details(used: Usage) -> dict[str, int]:
    """Return tokens by kind, none of them in two: Langfuse adds them up."""
    held = {"input_cached_tokens": used.cached_tokens} if used.cached_tokens else {}
    return {"input": used.input_tokens - used.cached_tokens, **held, "output": used.output_tokens}


def _said(outcome: Outcome) -> dict[str, Any] | None:
    if (answers := answers_of(outcome)) is not None:
        return {key: _said(answer) for key, answer in answers.items()}
    match outcome:
        case Verdict(value, reason):
            return {"reasoning": reason, "score": value}
        case Unscored(reason):
            return {"reasoning": reason, "score": None}
    return None
