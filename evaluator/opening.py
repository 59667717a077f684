"""How single parts of an application are opened, from the settings and definitions; app.py puts them together."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import redis
import structlog

from evaluator.alerts.kept_weeks import KeptWeeks
from evaluator.alerts.people import places
from evaluator.calibration.anchoring import Anchoring
from evaluator.calibration.low_scores import LowScores
from evaluator.clock import Clock
from evaluator.definitions import Definitions
from evaluator.langfuse import Langfuse
from evaluator.loop import LoopThread
from evaluator.messages.delivery import Delivery
from evaluator.model import BatchApi
from evaluator.money.opening import Money
from evaluator.pipeline import Evaluation
from evaluator.scoring.batch_lane import BatchLane
from evaluator.scoring.judge_traces import JudgeTraces
from evaluator.scoring.prompts import Prompts
from evaluator.scoring.scores import Accepted
from evaluator.settings import Settings
from evaluator.state.alert_memory import AlertMemory
from evaluator.state.batch_room import BatchRoom
from evaluator.state.cache import Cache
from evaluator.state.connection import connect
from evaluator.state.fleet import State
from evaluator.state.judges_seen import JudgesSeen
from evaluator.state.paces import Paces
from evaluator.state.prompts import KeptPrompts
from evaluator.telemetry.spans import NO_SPANS, Spans
from evaluator.watch import Watch

if TYPE_CHECKING:
    from evaluator.telemetry.events import ScoreEvents

Told = Callable[[Accepted], None]
"""Hears of the scores that Langfuse accepted."""

_CLOSE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


def judge_traces(
    settings: Settings, definitions: Definitions, langfuse: Langfuse, loop: LoopThread, clock: Clock
) -> JudgeTraces:
    """Return what lets people see judge calls in Langfuse, all or those that failed, as the definitions say."""
    return JudgeTraces(
        settings.langfuse_base_url,
        settings.langfuse_public_key,
        settings.langfuse_secret_key.get_secret_value(),
        definitions.service.judges.trace,
        clock.now,
        loop.time,
        langfuse.trace_url,
    )


def shared(settings: Settings, definitions: Definitions, client: redis.Redis) -> dict[str, Any]:
    """Return what judges of the service share; people who try and test a rubric see no kept verdicts."""
    namespace, expires = settings.evaluator_namespace, definitions.service.cache.expires
    secret = settings.langfuse_secret_key.get_secret_value()
    kept = None if expires is None else Cache(client, namespace, expires, secret)
    return {"paces": Paces(client, namespace), "cache": kept}


@contextlib.contextmanager
def prompts(definitions: Definitions, langfuse: Langfuse, url: str, namespace: str, clock: Clock) -> Iterator[Prompts]:
    """Give the prompts that Langfuse keeps, asked for as long as the block runs."""
    with connect(url) as client:
        kept = KeptPrompts(client, namespace)
        with contextlib.closing(Prompts(definitions.evaluators, langfuse, kept, clock)) as asked:
            asked.start()
            yield asked


def sender(settings: Settings) -> str:
    """Return a short name of our own among all who may send to the same people: a project has keys of its own."""
    return hashlib.blake2b(settings.langfuse_public_key.encode(), digest_size=4).hexdigest()


def watch(
    definitions: Definitions,
    langfuse: Langfuse,
    state: State,
    delivery: Delivery,
    alerts: AlertMemory,
    clock: Clock,
    weeks: KeptWeeks,
    judges: Anchoring,
) -> Watch:
    """Return what looks at the weeks of scores and tells people."""
    wanted = definitions.service.watch
    return Watch(
        langfuse,
        state,
        definitions.monitors,
        delivery,
        alerts,
        clock,
        wanted.digest,
        weeks.read,
        wanted.false_alerts_per_year,
        places(definitions.rubrics()),
        judges,
    )


def batch_lane(
    definitions: Definitions,
    room: BatchRoom,
    api: BatchApi,
    state: State,
    clock: Clock,
    evaluation: Evaluation,
    money: Money,
) -> BatchLane:
    """Return what moves questions through the provider's batch API."""
    every, size = definitions.service.batches.every, definitions.service.batch_size
    return BatchLane(room, api, state, clock, evaluation.questions, every, size, money.batches)


def batch_api(settings: Settings, definitions: Definitions, loop: LoopThread) -> BatchApi:
    """Return the way to the provider's batch API."""
    key = settings.openai_api_key.get_secret_value()
    return BatchApi(base_url=settings.openai_base_url, api_key=key, loop=loop, prices=definitions.prices)


def listener(state: State, low: LowScores, weeks: KeptWeeks, judges: JudgesSeen, events: ScoreEvents | None) -> Told:
    """Return what hears of accepted scores."""

    def all_of_them(accepted: Accepted) -> None:
        every = [score for _, scores in accepted for score in scores]
        state.counters.count("scores_written", by=len(every))
        low.written(every)
        weeks.written(every)
        judges.written(every)
        if events is not None:
            for ref, scores in accepted:
                events.tell(scores, ref)

    return all_of_them


class Tellers(NamedTuple):
    """Who tells others what is done: Langfuse of judge calls, a collector of scores and of the service's own work."""

    seen: JudgeTraces
    events: ScoreEvents | None
    spans: Spans


@contextlib.contextmanager
def tellers(
    settings: Settings, definitions: Definitions, langfuse: Langfuse, loop: LoopThread, clock: Clock
) -> Iterator[Tellers]:
    """Give those who tell. At the end all send what waits at the same time, for some seconds at most."""
    seen, events = judge_traces(settings, definitions, langfuse, loop, clock), _events(settings, definitions, clock)
    spans = _spans(settings)
    sending = {"judge calls to Langfuse": seen.close, "spans to the collector": spans.close}
    if events is not None:
        sending["score events to the collector"] = events.close
    try:
        yield Tellers(seen, events, spans)
    finally:
        _end_in_time(sending, clock)


def _end_in_time(sending: Mapping[str, Callable[[], object]], clock: Clock) -> None:
    """Let what waits be sent: a server that is away must not keep a process from ending."""
    threads = {what: threading.Thread(target=send, name=what, daemon=True) for what, send in sending.items()}
    for thread in threads.values():
        thread.start()
    end = clock.monotonic() + _CLOSE_SECONDS
    for what, thread in threads.items():
        thread.join(max(0.0, end - clock.monotonic()))
        if thread.is_alive():
            _log.warning("not all was sent before the end", what=what, waited=f"{_CLOSE_SECONDS:g}s")


def _events(settings: Settings, definitions: Definitions, clock: Clock) -> ScoreEvents | None:
    """Return the way to the collector of the environment; without one nothing of OpenTelemetry is loaded."""
    if not settings.otlp_logs_endpoint:
        return None
    from evaluator.telemetry.events import open_events  # noqa: PLC0415

    told = definitions.service.judges.event_explanations
    return open_events(settings, lambda: clock.now().timestamp(), explanations=told)


def _spans(settings: Settings) -> Spans:
    """Return what tells a collector of the service's own work; without one nothing of OpenTelemetry is loaded."""
    if not settings.otlp_traces_endpoint:
        return NO_SPANS
    from evaluator.telemetry.tracing import open_spans  # noqa: PLC0415

    return open_spans(settings)
