"""The only place where things are opened and wired. The command line, the workers and the tests open the same thing."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import redis

from evaluator import opening
from evaluator.alerts.kept_weeks import KeptWeeks
from evaluator.calibration.anchoring import Anchoring
from evaluator.calibration.low_scores import LowScores, Waiting
from evaluator.calibration.weekly import Calibrating
from evaluator.clock import Clock, SystemClock
from evaluator.definitions import Definitions, load
from evaluator.discovery.filter_scores import asks_for_metadata
from evaluator.discovery.idle_sessions import IdleSessions
from evaluator.discovery.late_scores import LateScores
from evaluator.discovery.sweep import Discovery
from evaluator.errors import ConfigError
from evaluator.langfuse import Langfuse
from evaluator.limits import FleetGate, Gate, OpenGate, TwoLines
from evaluator.loop import LoopThread
from evaluator.messages.alert import model_closed
from evaluator.messages.delivery import Delivery, Destination
from evaluator.messages.destinations import destinations
from evaluator.model import Breaker, ModelApi
from evaluator.model.entries import model_arguments
from evaluator.money.opening import Money, open_money
from evaluator.pipeline import Evaluation
from evaluator.sampling.jobs import Enqueue
from evaluator.scoring.batch_lane import BatchLane
from evaluator.scoring.batched import Batched
from evaluator.scoring.calls import Calls
from evaluator.scoring.prompts import fetched, sources
from evaluator.settings import Settings
from evaluator.state.alert_memory import AlertMemory
from evaluator.state.batch_room import BatchRoom
from evaluator.state.circuits import Circuits
from evaluator.state.connection import connect
from evaluator.state.earlier import Earlier
from evaluator.state.embedded import embedded_redis
from evaluator.state.fleet import State
from evaluator.state.golden_tests import KeptTest, KeptTests
from evaluator.state.judges_seen import JudgesSeen
from evaluator.state.paces import Paces
from evaluator.state.sessions import SessionState
from evaluator.telemetry.spans import NO_SPANS, Spans
from evaluator.watch import Watch

_KEPT_BESIDE_OVERLAP: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class App:
    """Everything a scheduler or a worker needs, open."""

    settings: Settings
    definitions: Definitions
    clock: Clock
    redis_url: str
    state: State
    sessions: SessionState
    langfuse: Langfuse
    model: ModelApi
    destinations: tuple[Destination, ...]
    evaluation: Evaluation
    watch: Watch
    alerts: AlertMemory
    circuits: Circuits
    batches: BatchLane
    money: Money
    low: LowScores
    tests: KeptTests
    anchoring: Anchoring
    paces: Paces
    spans: Spans = NO_SPANS

    def discovery(self, enqueue: Enqueue) -> Discovery:
        """Return the finder of traces, handing them to `enqueue`."""
        idle = IdleSessions(self.definitions, self.langfuse, self.state, self.sessions, self.money.rations, self.clock)
        rations, owing = self.money.rations, self.money.owing
        known = (self.definitions, self.langfuse, self.state, idle, rations, self.clock, enqueue, owing, self.spans)
        return Discovery(*known)

    def calibrating(self) -> Calibrating:
        """Return what holds the judges against people."""
        delivers = bool(self.destinations)
        return Calibrating(self.definitions, self.langfuse, self.state, self.clock, delivers=delivers)

    def late_scores(self, enqueue: Enqueue) -> LateScores:
        """Return what takes up traces because of scores that came late."""
        rations = self.money.rations
        return LateScores(self.definitions, self.langfuse, self.state, rations, self.clock, enqueue, self.low)


@contextlib.contextmanager
def open_app(
    settings: Settings, *, definitions: Definitions | None = None, clock: Clock | None = None
) -> Iterator[App]:
    """Open everything and close it in reverse order.

    Raises:
        ConfigError: the environment or the definitions are wrong, with every problem.
        Unavailable: the embedded Valkey does not start.
    """
    if missing := settings.missing():
        raise ConfigError(missing)
    clock, definitions = clock or SystemClock(), definitions or load(settings.evaluator_config)
    with contextlib.ExitStack() as stack:
        url = settings.redis_url.get_secret_value() or stack.enter_context(embedded_redis(settings.evaluator_data))
        client, namespace = stack.enter_context(connect(url)), settings.evaluator_namespace
        state, told = _state(settings, definitions, client), destinations(settings, clock)
        money = open_money(definitions, client, namespace, state, clock, delivers=bool(told))
        sessions = SessionState(stack.enter_context(connect(url)), namespace)
        loop = stack.enter_context(LoopThread())
        langfuse = stack.enter_context(
            contextlib.closing(_langfuse(settings, definitions, _gate(definitions, state), loop, clock))
        )
        circuits = Circuits(stack.enter_context(connect(url)), namespace)
        breaker = Breaker(circuits, loop.time, *([model_closed] if told else []))
        fleet = {"breaker": breaker, "purse": money.purse, **opening.shared(settings, definitions, client)}
        model = stack.enter_context(contextlib.closing(_model(settings, definitions, state, loop, langfuse, **fleet)))
        tellers = opening.tellers(settings, definitions, langfuse, loop, clock)
        seen, events, spans = stack.enter_context(tellers)
        prompts = stack.enter_context(opening.prompts(definitions, langfuse, url, namespace, clock))
        room = BatchRoom(stack.enter_context(connect(url)), namespace)
        api = stack.enter_context(contextlib.closing(opening.batch_api(settings, definitions, loop)))
        low = LowScores(definitions.monitors, Waiting(client, namespace), langfuse, clock)
        weeks = KeptWeeks(client, namespace, langfuse, clock)
        anchored = [each.name for each in definitions.rubrics() if each.spec.anchors]
        judges = JudgesSeen(client, namespace, anchored, clock.monotonic)
        batched, hears = (
            Batched(room, seen, clock.now, money.batches),
            opening.listener(state, low, weeks, judges, events),
        )
        evaluation = Evaluation(
            *(definitions, langfuse, model, state, money.arrears, clock, seen, prompts.evaluators, hears, batched),
            Earlier(client, namespace, definitions),
            spans,
        )
        batches = opening.batch_lane(definitions, room, api, state, clock, evaluation, money)
        alerts = AlertMemory(client, namespace)
        delivery = Delivery(state, alerts, told, clock, opening.sender(settings), spans)
        asks = Calls(model, seen, spans)
        around = (langfuse, asks, state, alerts, judges, clock, prompts.evaluators)
        anchoring = Anchoring(*around, delivers=bool(told), spans=spans)
        watch = opening.watch(definitions, langfuse, state, delivery, alerts, clock, weeks, anchoring)
        yield App(
            *(settings, definitions, clock, url, state, sessions, langfuse, model, told, evaluation, watch, alerts),
            *(circuits, batches, money, low, KeptTests(client, namespace), anchoring, fleet["paces"], spans),
        )


@contextlib.contextmanager
def open_judges(settings: Settings, definitions: Definitions) -> Iterator[ModelApi]:
    """Open the model API as the service does, and nothing else: neither Langfuse nor the fleet's Redis is asked.

    Its limits are kept where nobody else sees them, and are forgotten with it.

    Raises:
        ConfigError: the address of the model API is none.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="evaluator-"))
        url = stack.enter_context(embedded_redis(Path(folder)))
        state = _state(settings, definitions, stack.enter_context(connect(url)))
        loop = stack.enter_context(LoopThread())
        yield stack.enter_context(contextlib.closing(_model(settings, definitions, state, loop)))


def keep_tests(settings: Settings, tests: Mapping[str, KeptTest]) -> None:
    """Keep what golden tests came to where the service shows it; where none has ever run nobody would look.

    Raises:
        Unavailable: Redis does not answer.
    """
    if not settings.redis_url.get_secret_value() and not settings.evaluator_data.exists():
        return
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(connect(_where_limits_are(settings, stack)))
        KeptTests(client, settings.evaluator_namespace).keep(tests)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a person needs who looks and tries: traces and judges, and no queue, no alerts, nothing that is claimed."""

    settings: Settings
    definitions: Definitions
    clock: Clock
    state: State
    langfuse: Langfuse
    model: ModelApi
    money: Money
    alerts: AlertMemory
    circuits: Circuits


@contextlib.contextmanager
def open_desk(settings: Settings, definitions: Definitions, clock: Clock | None = None) -> Iterator[Desk]:
    """Open Langfuse and the model API, within the limits that the service keeps, where it runs.

    Raises:
        ConfigError: the environment is wrong, with every problem.
        Unavailable: the embedded Valkey does not start.
    """
    if missing := settings.missing():
        raise ConfigError(missing)
    clock = clock or SystemClock()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(connect(_where_limits_are(settings, stack)))
        state = _state(settings, definitions, client)
        money = open_money(definitions, client, settings.evaluator_namespace, state, clock)
        loop = stack.enter_context(LoopThread())
        langfuse = stack.enter_context(
            contextlib.closing(_langfuse(settings, definitions, _gate(definitions, state), loop, clock))
        )
        model = stack.enter_context(
            contextlib.closing(_model(settings, definitions, state, loop, langfuse, purse=money.purse))
        )
        alerts = AlertMemory(client, settings.evaluator_namespace)
        circuits = Circuits(client, settings.evaluator_namespace)
        yield Desk(settings, definitions, clock, state, langfuse, model, money, alerts, circuits)


def with_managed_prompts(settings: Settings, definitions: Definitions) -> Definitions:
    """Return definitions with the criteria that Langfuse holds; where it holds none, nobody is asked.

    Raises:
        ConfigError: keys are missing, or prompts cannot be had, with every one.
    """
    if not sources(definitions.evaluators):
        return definitions
    if missing := settings.missing():
        raise ConfigError(missing)
    with (
        LoopThread() as loop,
        contextlib.closing(_langfuse(settings, definitions, OpenGate(), loop, SystemClock())) as it,
    ):
        return fetched(definitions, it)


def _where_limits_are(settings: Settings, stack: contextlib.ExitStack) -> str:
    """Return the address of the service's Redis; where no service has ever run, of one that goes with its user."""
    if url := settings.redis_url.get_secret_value():
        return url
    folder = settings.evaluator_data
    if not folder.exists():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evaluator-")))
    return stack.enter_context(embedded_redis(folder))


def _state(settings: Settings, definitions: Definitions, client: redis.Redis) -> State:
    keep = definitions.service.discovery.overlap + _KEPT_BESIDE_OVERLAP
    return State(client, settings.evaluator_namespace, keep, definitions.service.coverage.within)


def _langfuse(settings: Settings, definitions: Definitions, gate: Gate, loop: LoopThread, clock: Clock) -> Langfuse:
    per_minute = definitions.service.limits.langfuse_requests_per_minute
    return Langfuse(
        base_url=settings.langfuse_base_url,
        public_key=settings.langfuse_public_key,
        secret_key=settings.langfuse_secret_key.get_secret_value(),
        loop=loop,
        gate=gate,
        clock=clock,
        random=Random(),
        # Where requests are few, each gathers for as long as the next one would have to wait anyway.
        group_seconds=min(max(0.03, 60 / per_minute), 2.5) if per_minute else 0.03,
        root_metadata=asks_for_metadata(definitions),
    )


def _gate(definitions: Definitions, state: State) -> Gate:
    return TwoLines(state, "langfuse", definitions.service.limits.langfuse_requests_per_minute)


def _model(
    settings: Settings,
    definitions: Definitions,
    state: State,
    loop: LoopThread,
    langfuse: Langfuse | None = None,
    **fleet: Any,
) -> ModelApi:
    return ModelApi(
        **model_arguments(settings, definitions, partial(FleetGate, state)),
        loop=loop,
        random=Random(),
        attach=langfuse.attachment if langfuse is not None else None,
        **fleet,
    )
