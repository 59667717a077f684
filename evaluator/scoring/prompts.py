"""Rubrics whose criteria Langfuse keeps: fetched behind the scenes, never waited for, and remembered.

Each process looks once a minute; whoever finds that nobody of the fleet asked lately asks Langfuse. What was known last
holds until Langfuse says something else: through outages, refusals and restarts.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

import structlog

from evaluator.clock import Clock
from evaluator.definitions import Definitions, Evaluator
from evaluator.errors import ConfigError, EvaluatorError, Problem, Unavailable
from evaluator.state.prompts import Kept
from judges import ManagedPrompt, PromptSource, grouped, unknown_variables

EVERY: Final = timedelta(minutes=1)
"""How often Langfuse is asked whether a prompt has changed."""

_FIRST_SECONDS: Final = 5.0
"""How long a start waits for prompts that were never seen."""

_log = structlog.get_logger(__name__)


class Source(Protocol):
    """Where prompts come from."""

    def prompt(self, source: PromptSource) -> ManagedPrompt:
        """Return a prompt, or raise an `EvaluatorError`."""


class Memory(Protocol):
    """Where the fleet keeps prompts."""

    def all(self) -> dict[str, Kept]:
        """Return what is known, by source."""

    def keep(self, source: str, kept: Kept) -> None:
        """Keep what a prompt is now."""


class Prompts:
    """The evaluators as they stand now. Safe for many threads; nothing of it ever waits for Langfuse but `start`."""

    def __init__(self, evaluators: Sequence[Evaluator], langfuse: Source, memory: Memory, clock: Clock) -> None:
        self._defined = tuple(evaluators)
        self._langfuse = langfuse
        self._memory = memory
        self._clock = clock
        self._sources = sources(evaluators)
        self._known: dict[str, ManagedPrompt] = {}
        self._now = {evaluator.name: evaluator for evaluator in evaluators}
        self._looking = threading.Lock()
        self._looked: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for the first time, and wait for it a little: what is not there then comes later."""
        if not self._sources:
            return
        self._recalled()
        self._look()
        if self._thread is not None and self._known.keys() != self._sources.keys():
            self._thread.join(_FIRST_SECONDS)

    def evaluators(self) -> Mapping[str, Evaluator]:
        """Return the evaluators by name, with the criteria known now; looks again behind the scenes when it is time."""
        if self._sources:
            self._look()
        return self._now

    def close(self) -> None:
        """Stop looking; one look on its way is not waited for long."""
        self._sources = {}
        if self._thread is not None:
            self._thread.join(1)

    def refresh(self) -> None:
        """Ask for every prompt that nobody of the fleet asked for lately; what cannot be had stays as it was."""
        held = self._recalled()
        for name, source in self._sources.items():
            kept = held.get(name)
            if kept is None or abs(self._clock.now() - kept.at) >= EVERY:
                self._ask(name, source)

    def _recalled(self) -> dict[str, Kept]:
        """Return what the fleet knows, and go by it."""
        try:
            held = self._memory.all()
        except Unavailable as error:
            _log.warning("prompts wait for Redis", reason=str(error))
            return {}
        for name in self._sources.keys() & held.keys():
            self._take(name, held[name].prompt)
        return held

    def _look(self) -> None:
        now = self._clock.monotonic()
        with self._looking:
            is_looking = self._thread is not None and self._thread.is_alive()
            if is_looking or (self._looked is not None and now - self._looked < EVERY.total_seconds()):
                return
            self._looked = now
            self._thread = threading.Thread(target=self.refresh, name="prompts", daemon=True)
            self._thread.start()

    def _ask(self, name: str, source: PromptSource) -> None:
        try:
            prompt = self._langfuse.prompt(source)
            self._take(name, prompt)
            self._memory.keep(name, Kept(prompt, self._clock.now()))
        except CancelledError:
            _log.info("the process stops before a prompt came", prompt=name)
        except EvaluatorError as error:
            last = self._known.get(name)
            going_on = "its rubrics wait" if last is None else f"version {last.version} is used on"
            _log.warning("a prompt cannot be had", prompt=name, reason=str(error), meanwhile=going_on)

    def _take(self, name: str, prompt: ManagedPrompt) -> None:
        before = self._known.get(name)
        if before == prompt:
            return
        self._known[name] = prompt
        self._now = {evaluator.name: evaluator for evaluator in with_prompts(self._defined, self._known)}
        _log.info("a prompt is used", prompt=name, version=prompt.version, before=before.version if before else None)


def sources(evaluators: Sequence[Evaluator]) -> dict[str, PromptSource]:
    """Return the prompts that evaluators need, by how they are called."""
    specs = [evaluator.rubric.spec for evaluator in evaluators if evaluator.rubric is not None]
    return {str(spec.prompt): spec.prompt for spec in specs if spec.prompt is not None}


def with_prompts(evaluators: Sequence[Evaluator], known: Mapping[str, ManagedPrompt]) -> list[Evaluator]:
    """Return evaluators with the criteria of known prompts; those whose prompt is not known stay as they are."""
    filled = [_filled(evaluator, known) for evaluator in evaluators]
    among = {rubric.name: rubric for rubric in grouped([each.rubric for each in filled if each.rubric is not None])}
    return [
        each if each.rubric is None else replace(each, rubric=among[each.name], version=among[each.name].version)
        for each in filled
    ]


def _filled(evaluator: Evaluator, known: Mapping[str, ManagedPrompt]) -> Evaluator:
    rubric = evaluator.rubric
    prompt = known.get(str(rubric.spec.prompt)) if rubric is not None else None
    return evaluator if rubric is None or prompt is None else replace(evaluator, rubric=rubric.with_prompt(prompt))


def fetched(definitions: Definitions, langfuse: Source) -> Definitions:
    """Return definitions with the criteria that Langfuse holds now, for who asks once and wants to know.

    Raises:
        ConfigError: prompts cannot be had, with every one.
    """
    known: dict[str, ManagedPrompt] = {}
    problems = []
    for name, source in sources(definitions.evaluators).items():
        try:
            known[name] = langfuse.prompt(source)
        except EvaluatorError as error:
            problems.append(Problem(f"prompt {name}", str(error)))
    if problems:
        raise ConfigError(problems)
    return replace(definitions, evaluators=tuple(with_prompts(definitions.evaluators, known)))


def told(evaluators: Sequence[Evaluator]) -> list[str]:
    """Return a line on each evaluator whose criteria came from Langfuse, and on what its judge would not understand."""
    lines = []
    for evaluator in evaluators:
        spec = evaluator.rubric.spec if evaluator.rubric is not None else None
        if spec is None or spec.prompt is None:
            continue
        strange = unknown_variables(spec.criteria, spec.inputs)
        note = f"; {{{{{strange[0]}}}}} in it is no input: {', '.join(spec.inputs)}" if strange else ""
        lines.append(f"{evaluator.name} has version {spec.prompt.version} of {spec.prompt.langfuse}{note}")
    return lines
