"""Questions become calls: those of a group are asked in one, each call is seen in Langfuse, each question ends once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeGuard

from evaluator.model import UNFUNDED, Ended, ModelApi
from evaluator.scoring.judge_traces import JudgeTraces, Spoilt
from evaluator.telemetry.spans import NO_SPANS, Span, Spans, about
from judges import Call, Question, Share, asked_alone, shares, together
from traces import Failure, Outcome, Subject, Unscored, Verdict, record

JUDGE_TRACE: Final = "judge_trace_id"
"""Where the details of a verdict name the trace of the call it came from."""


@record(frozen=True, slots=True)
class Asked:
    """A question of one evaluator about a subject; only questions about the same are asked together.

    `spoilt` is a reply to it that came in a batch of the provider and could not be read: the question repairs it.
    """

    subject: Subject
    evaluator: str
    version: str
    question: Question
    spoilt: Spoilt | None = None


class _Answered(NamedTuple):
    call: Call
    outcome: Outcome
    trace_id: str | None


class Calls:
    """Asks questions, in as few calls as their rubrics allow. Safe for many threads."""

    def __init__(self, model: ModelApi, judge_traces: JudgeTraces, spans: Spans = NO_SPANS) -> None:
        self._model = model
        self._judge_traces = judge_traces
        self._spans = spans

    def ask(
        self, asked: Sequence[Asked], patience: float | None = None, *, gives_way: bool = False
    ) -> Iterator[list[Ended]]:
        """Ask all questions and give their outcomes as they end, each by its place.

        What the answer of a group's call does not hold is asked alone when all calls have ended.

        Args:
            asked: of any rubrics and traces.
            patience: seconds after which no question waits any more, as for `ModelApi.ask`.
            gives_way: whether others go first, as there.
        """
        left: dict[int, Share] = {}
        calls = together([each.question for each in asked], [str(each.subject) for each in asked])
        for lot in self._answered(asked, calls, patience, gives_way=gives_way):
            ended: list[Ended] = []
            for call, outcome, trace_id in lot:
                for place, share in zip(call.places, shares(call.question, outcome), strict=True):
                    if share.outcome is None:
                        left[place] = share
                    elif len(call.places) > 1 and _is_unfunded(share.outcome):
                        # One of the group has no money left; that keeps the others from nothing.
                        left[place] = Share(None, share.outcome.usage, share.outcome.kind)
                    else:
                        ended.append((place, _linked(share.outcome, trace_id)))
            yield ended
        alone = [Call((place,), asked[place].question) for place in left]
        for lot in self._answered(asked, alone, patience, gives_way=gives_way):
            yield [(c.places[0], asked_alone(_linked(outcome, seen), left[c.places[0]])) for c, outcome, seen in lot]

    def _answered(
        self, asked: Sequence[Asked], calls: Sequence[Call], patience: float | None, *, gives_way: bool
    ) -> Iterator[list[_Answered]]:
        """Make calls and give what came of them; each is a trace of its own where calls are traced."""
        if not calls:
            return
        subjects = [asked[call.places[0]].subject for call in calls]
        spoilt = [asked[call.places[0]].spoilt for call in calls]  # what came of a batch is asked about alone
        seen = [
            self._judge_traces.begin(subject, _names(asked, call), call.question, before)
            for subject, call, before in zip(subjects, calls, spoilt, strict=True)
        ]
        spans = [
            self._spans.begin("judge", about(subject, _names(asked, call))) if self._spans.is_on else None
            for subject, call in zip(subjects, calls, strict=True)
        ]
        known = [_known(subject, _names(asked, call)) for subject, call in zip(subjects, calls, strict=True)]
        journals = [each.journal for each in seen]
        try:
            questions = [call.question for call in calls]
            for lot in self._model.ask(questions, patience, known, journals, gives_way=gives_way):
                for place, outcome in lot:
                    _ended(spans[place], outcome)
                whole = [(i, _with_cost(outcome, spoilt[i])) for i, outcome in lot]
                yield [_Answered(calls[i], outcome, self._judge_traces.end(seen[i], outcome)) for i, outcome in whole]
        finally:
            for span in spans:
                if span is not None:
                    span.end()  # those that nobody answered


def _is_unfunded(outcome: Outcome) -> TypeGuard[Failure]:
    return isinstance(outcome, Failure) and outcome.kind == UNFUNDED


def _names(asked: Sequence[Asked], call: Call) -> dict[str, str]:
    return {asked[place].evaluator: asked[place].version for place in call.places}


def _ended(span: Span | None, outcome: Outcome) -> None:
    """Say on a call's span how it went: who answered, what it cost, or the kind of failure."""
    if span is None:
        return
    if isinstance(outcome, Verdict | Unscored | Failure):
        used = outcome.usage
        span.note(
            {
                "gen_ai.response.model": used.model,
                "gen_ai.usage.input_tokens": used.input_tokens,
                "gen_ai.usage.output_tokens": used.output_tokens,
                "evaluator.calls": used.calls,
                "evaluator.cost_usd": used.usd,
            }
        )
    span.note({"evaluator.outcome": type(outcome).__name__.lower()})
    if isinstance(outcome, Failure):
        span.fail(outcome.kind)
    span.end()


def _with_cost(outcome: Outcome, spoilt: Spoilt | None) -> Outcome:
    """Return an outcome that says what the unreadable reply before it cost too."""
    if spoilt is None or not isinstance(outcome, Verdict | Unscored | Failure):
        return outcome
    return replace(outcome, usage=spoilt.reply.usage + outcome.usage)


def _known(subject: Subject, names: Iterable[str]) -> dict[str, str]:
    """Return what the log says of a call: of whose subject, and who asks."""
    known = {"trace_id": subject.trace_id, "observation_id": subject.observation_id, "session_id": subject.session_id}
    return {name: value for name, value in known.items() if value} | {"evaluator": ",".join(names)}


def _linked(outcome: Outcome, trace_id: str | None) -> Outcome:
    if trace_id is None or not isinstance(outcome, Verdict):
        return outcome
    return replace(outcome, details={**outcome.details, JUDGE_TRACE: trace_id})
