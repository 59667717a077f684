"""The only place where things are opened and wired. The command line, the workers and the tests open the same thing."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import redis

from evaluator.alert_memory import AlertMemory
from evaluator.batch import Enqueue
from evaluator.batch_lane import BatchLane
from evaluator.batch_room import BatchRoom
from evaluator.batched import Batched
from evaluator.cache import Cache
from evaluator.calibrating import Calibrating
from evaluator.circuits import Circuits
from evaluator.clock import Clock, SystemClock
from evaluator.connection import connect
from evaluator.definitions import Definitions, load
from evaluator.delivery import Delivery, Destination
from evaluator.destinations import destinations
from evaluator.discovery import Discovery
from evaluator.earlier import Earlier
from evaluator.embedded import embedded_redis
from evaluator.errors import ConfigError
from evaluator.filter_scores import asks_for_metadata
from evaluator.idle_sessions import IdleSessions
from evaluator.judge_traces import JudgeTraces
from evaluator.kept_prompts import KeptPrompts
from evaluator.kept_weeks import KeptWeeks
from evaluator.langfuse import Langfuse
from evaluator.late_scores import LateScores
from evaluator.limits import FleetGate, Gate, OpenGate
from evaluator.loop import LoopThread
from evaluator.low_scores import LowScores, Waiting
from evaluator.message import model_closed
from evaluator.model import BatchApi, Breaker, ModelApi
from evaluator.model_entries import model_arguments
from evaluator.money import Money, open_money
from evaluator.paces import Paces
from evaluator.people import places
from evaluator.pipeline import Evaluation
from evaluator.prompts import Prompts, fetched, sources
from evaluator.session_state import SessionState
from evaluator.settings import Settings
from evaluator.state import State
from evaluator.watch import Watch
from traces import Ref, Score

if TYPE_CHECKING:
    from evaluator.events import ScoreEvents

Told = Callable[[Sequence[Score], Ref], None]
"""Hears of the scores of one trace or session that Langfuse accepted."""

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

    def discovery(self, enqueue: Enqueue) -> Discovery:
        """Return the finder of traces, handing them to `enqueue`."""
        idle = IdleSessions(self.definitions, self.langfuse, self.state, self.sessions, self.money.rations, self.clock)
        rations, owing = self.money.rations, self.money.owing
        return Discovery(self.definitions, self.langfuse, self.state, idle, rations, self.clock, enqueue, owing)

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
        fleet = {"breaker": breaker, "purse": money.purse, **_shared(settings, definitions, client)}
        model = stack.enter_context(contextlib.closing(_model(settings, definitions, state, loop, langfuse, **fleet)))
        seen = stack.enter_context(contextlib.closing(_judge_traces(settings, definitions, langfuse, loop, clock)))
        prompts = stack.enter_context(_prompts(definitions, langfuse, url, namespace, clock))
        events = stack.enter_context(_events(settings, definitions, clock))
        room = BatchRoom(stack.enter_context(connect(url)), namespace)
        api = stack.enter_context(contextlib.closing(_batch_api(settings, definitions, loop)))
        low = LowScores(definitions.monitors, Waiting(client, namespace), langfuse, clock)
        weeks = KeptWeeks(client, namespace, langfuse, clock)
        batched, hears = Batched(room, seen, clock.now, money.batches), _hears(state, low, weeks, events)
        evaluation = Evaluation(
            *(definitions, langfuse, model, state, money.arrears, clock, seen, prompts.evaluators, hears, batched),
            Earlier(client, namespace, definitions),
        )
        batches = _batch_lane(definitions, room, api, state, clock, evaluation, money)
        alerts = AlertMemory(client, namespace)
        delivery = Delivery(state, alerts, told, clock, _sender(settings))
        watch = _watch(definitions, langfuse, state, delivery, alerts, clock, weeks)
        yield App(
            settings,
            definitions,
            clock,
            url,
            state,
            sessions,
            langfuse,
            model,
            told,
            evaluation,
            watch,
            alerts,
            circuits,
            batches,
            money,
            low,
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


def _gate(definitions: Definitions, state: State) -> FleetGate:
    return FleetGate(state, "langfuse", definitions.service.limits.langfuse_requests_per_minute)


def _judge_traces(
    settings: Settings, definitions: Definitions, langfuse: Langfuse, loop: LoopThread, clock: Clock
) -> JudgeTraces:
    return JudgeTraces(
        settings.langfuse_base_url,
        settings.langfuse_public_key,
        settings.langfuse_secret_key.get_secret_value(),
        definitions.service.judges.trace,
        clock.now,
        loop.time,
        langfuse.trace_url,
    )


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


def _shared(settings: Settings, definitions: Definitions, client: redis.Redis) -> dict[str, Any]:
    """Return what judges of the service share; people who try and test a rubric see no kept verdicts."""
    namespace, expires = settings.evaluator_namespace, definitions.service.cache.expires
    secret = settings.langfuse_secret_key.get_secret_value()
    cache = None if expires is None else Cache(client, namespace, expires, secret)
    return {"paces": Paces(client, namespace), "cache": cache}


@contextlib.contextmanager
def _prompts(definitions: Definitions, langfuse: Langfuse, url: str, namespace: str, clock: Clock) -> Iterator[Prompts]:
    with connect(url) as client:
        kept = KeptPrompts(client, namespace)
        with contextlib.closing(Prompts(definitions.evaluators, langfuse, kept, clock)) as prompts:
            prompts.start()
            yield prompts


def _sender(settings: Settings) -> str:
    """Return a short name of our own among all who may send to the same people: a project has keys of its own."""
    return hashlib.blake2b(settings.langfuse_public_key.encode(), digest_size=4).hexdigest()


def _watch(
    definitions: Definitions,
    langfuse: Langfuse,
    state: State,
    delivery: Delivery,
    alerts: AlertMemory,
    clock: Clock,
    weeks: KeptWeeks,
) -> Watch:
    watch = definitions.service.watch
    return Watch(
        langfuse,
        state,
        definitions.monitors,
        delivery,
        alerts,
        clock,
        watch.digest,
        weeks.read,
        watch.false_alerts_per_year,
        places(definitions.rubrics()),
    )


def _batch_lane(
    definitions: Definitions,
    room: BatchRoom,
    api: BatchApi,
    state: State,
    clock: Clock,
    evaluation: Evaluation,
    money: Money,
) -> BatchLane:
    every, size = definitions.service.batches.every, definitions.service.batch_size
    return BatchLane(room, api, state, clock, evaluation.questions, every, size, money.batches)


def _batch_api(settings: Settings, definitions: Definitions, loop: LoopThread) -> BatchApi:
    key = settings.openai_api_key.get_secret_value()
    return BatchApi(base_url=settings.openai_base_url, api_key=key, loop=loop, prices=definitions.prices)


def _hears(state: State, low: LowScores, weeks: KeptWeeks, events: ScoreEvents | None) -> Told:
    """Return what hears of accepted scores."""

    def all_of_them(scores: Sequence[Score], ref: Ref) -> None:
        state.counters.count("scores_written", by=len(scores))
        low.written(scores)
        weeks.written(scores)
        if events is not None:
            events.tell(scores, ref)

    return all_of_them


@contextlib.contextmanager
def _events(settings: Settings, definitions: Definitions, clock: Clock) -> Iterator[ScoreEvents | None]:
    """Give the way to the collector of the environment; without one nothing of OpenTelemetry is loaded."""
    if not settings.otlp_logs_endpoint:
        yield None
        return
    from evaluator.events import open_events  # noqa: PLC0415

    told = definitions.service.judges.event_explanations
    with contextlib.closing(open_events(settings, lambda: clock.now().timestamp(), explanations=told)) as events:
        yield events
