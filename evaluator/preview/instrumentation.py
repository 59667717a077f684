"""What is missing in real traffic, and which evaluators that blinds: `evaluator check --traces`.

Roots of the last hours are listed, and some traces of them read whole, drawn by a hash of their ids. Every evaluator is
asked about those without asking a model: one that would skip most of what it takes is blind, and its reason says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Final, NamedTuple

from rich.console import Console
from rich.text import Text

from evaluator.app import Desk, open_desk, with_managed_prompts
from evaluator.definitions import Evaluator, load
from evaluator.langfuse import Window
from evaluator.messages.words import percent
from evaluator.preview.looking import Drawn, look, read
from evaluator.sampling.sampler import position
from evaluator.settings import Settings
from evaluator.telemetry.logs import spelled_out
from traces import Trace, TraceRoot

MOST_ROOTS: Final = 5000
CONTENT: Final = 50
"""Traces that are listed, and those of them that are read whole."""

_LOT: Final = "evaluator check --traces"
_BLIND: Final = 0.5
"""An evaluator that skips this share of what it takes, or more, is blind."""

_STEPS: Final = frozenset({"TOOL", "RETRIEVER", "AGENT", "CHAIN", "EMBEDDING", "GUARDRAIL", "EVALUATOR"})


class Gap(NamedTuple):
    """Something that traces should tell: how many of how many do not, what it is for, and how to tell it."""

    what: str
    missing: int
    of: int
    purpose: str
    remedy: str
    blinds: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share that lacks it, from 0 to 1."""
        return self.missing / self.of if self.of else 0.0


class Blind(NamedTuple):
    """An evaluator that has nothing to say of most of what it takes: of how many it was asked, how many it skips."""

    evaluator: str
    skipped: int
    of: int
    reason: str


@dataclass(frozen=True, slots=True)
class Instrumented:
    """What was found in traffic."""

    roots: int
    traces: int
    gaps: tuple[Gap, ...]
    blind: tuple[Blind, ...]


def tell(settings: Settings, since: timedelta, shown: str, out: Console) -> None:
    """Look at what finished in the last time, which is `shown` as that, and print what was found.

    Raises:
        ConfigError: the definitions or the environment are wrong.
        Unavailable, Refused: Langfuse.
    """
    definitions = with_managed_prompts(settings, load(settings.evaluator_config))
    with open_desk(settings, definitions) as desk:
        show(inspect(desk, since, CONTENT), shown, out)


def inspect(desk: Desk, since: timedelta, content: int) -> Instrumented:
    """Look at what finished in the last time, at most `MOST_ROOTS` of it, and read `content` traces whole.

    Raises:
        Unavailable, Refused: Langfuse.
    """
    discovery = desk.definitions.service.discovery
    until = desk.clock.now() - discovery.quiet_for
    pages = desk.langfuse.finished_roots(
        Window(until - since, until),
        longest=discovery.longest_trace,
        exclude_environments=discovery.exclude_environments,
    )
    roots = list(islice((root for page in pages for root in page), MOST_ROOTS))
    drawn = sorted(roots, key=lambda root: position(root.ref.id, _LOT))[:content]
    traces = read(desk.langfuse, [root.ref for root in drawn])
    evaluators = [each for each in desk.definitions.evaluators if each.target != "session"]
    gaps = (*of_roots(roots, desk.definitions.evaluators), *of_traces(list(traces.values())))
    blind = _blind(evaluators, drawn, traces, desk.definitions.service.sampling.salt)
    return Instrumented(len(roots), len(traces), tuple(gap for gap in gaps if gap.missing), tuple(blind))


def show(found: Instrumented, since: str, out: Console) -> None:
    """Print what was found."""
    if not found.roots:
        _say(out, f"no trace finished in the last {since}: `check --traces --since 7d` looks further back")
        return
    _say(out, f"{found.roots:,} traces finished in the last {since}, {found.traces:,} of them were read whole")
    for gap in found.gaps:
        _say(
            out, f"  {percent(gap.share):>4} without {gap.what}: {gap.purpose}", "yellow" if gap.share > _BLIND else ""
        )
        _say(out, f"       {gap.remedy}", "dim")
        if gap.blinds:
            _say(out, f"       these never see such a trace: {', '.join(gap.blinds)}", "yellow")
    for each in found.blind:
        share = percent(each.skipped / each.of)
        _say(out, f"  {each.evaluator} is blind: it skips {share} of what it was asked about ({each.reason})", "yellow")
    if not found.gaps and not found.blind:
        _say(out, "nothing is missing: every evaluator has what it looks at", "green")


def _say(out: Console, text: str, style: str = "") -> None:
    out.print(Text(spelled_out(text), style))


def of_roots(roots: Sequence[TraceRoot], evaluators: Iterable[Evaluator]) -> list[Gap]:
    """Return what roots should tell of their trace, as far as some do not; and who cannot do without it."""
    asked: tuple[tuple[str, str, Callable[[TraceRoot], object], str, str], ...] = (
        ("a name", "trace_name", lambda root: root.name, "falls are traced to a part of the application by it",
         "name the root span, or set langfuse.trace.name"),
        ("user_id", "user_id", lambda root: root.user_id, "filters by user, and finding whom a fall hits",
         "pass user_id on every request, or the attribute user.id"),
        ("session_id", "session_id", lambda root: root.session_id,
         "conversations are judged as a whole, and intervals know which traces belong together",
         "pass session_id on every request, or the attribute session.id"),
        ("release", "release", lambda root: root.release, "a fall is told with the release it began with",
         "set LANGFUSE_RELEASE where the application runs"),
    )  # fmt: skip
    known = list(evaluators)
    return [
        Gap(what, sum(not tells(root) for root in roots), len(roots), purpose, remedy, _wanting(known, condition))
        for what, condition, tells, purpose, remedy in asked
    ]


def of_traces(traces: Sequence[Trace]) -> list[Gap]:
    """Return what traces should hold, as far as some do not."""
    asked = [trace for trace in traces if any(step.type == "GENERATION" for step in trace.observations)]
    generations = [step for trace in asked for step in trace.observations if step.type == "GENERATION"]
    return [
        Gap("the root's output", sum(trace.root.output is None for trace in traces), len(traces),
            "it is what rubrics judge", "set the output of the root span when the request ends"),
        Gap("the root's input", sum(trace.root.input is None for trace in traces), len(traces),
            "an answer is judged by its question", "set the input of the root span"),
        Gap("a generation", len(traces) - len(asked), len(traces),
            "model, tokens, cost and prompt are known from it", "trace each model call as a generation"),
        Gap("a prompt link on a generation", sum(step.prompt_name is None for step in generations), len(generations),
            "falls are traced to prompt versions by it", "fetch prompts from Langfuse and pass them to the generation"),
        Gap("tool, retriever or agent steps", sum(not _has_steps(trace) for trace in traces), len(traces),
            "rules and rubrics of agents and of retrieval look at them", "trace each as a nested span of its type"),
    ]  # fmt: skip


def _has_steps(trace: Trace) -> bool:
    return any(step.type in _STEPS and not step.is_root for step in trace.observations)


def _wanting(evaluators: Iterable[Evaluator], condition: str) -> tuple[str, ...]:
    """Return the evaluators that never see a trace of which this is not known."""
    return tuple(
        each.name
        for each in evaluators
        if getattr(each.when, condition) is not None or (condition == "session_id" and each.target == "session")
    )


def _blind(
    evaluators: Sequence[Evaluator], drawn: Sequence[TraceRoot], traces: Mapping[str, Trace], salt: str
) -> Iterable[Blind]:
    """Ask each evaluator about the traces its filters let pass, whatever its rates are."""
    read_whole = [root for root in drawn if root.ref.id in traces]
    takers = [Drawn(root.ref, frozenset(e.name for e in evaluators if e.when.matches(root))) for root in read_whole]
    lots = {each.name: [drawn for drawn in takers if each.name in drawn.takers] for each in evaluators}
    looked = look({each.name: each for each in evaluators}, lots, set(traces), traces, salt)
    for name, seen in looked.items():
        if seen.parts and seen.skips >= _BLIND:
            reason, _ = seen.skipped.most_common(1)[0]
            yield Blind(name, seen.skipped.total(), seen.parts, reason)
