"""What can go wrong: small named values that begin and end in a world."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sandbox.faults import Faults
from sandbox.langfuse import Behaviour
from sandbox.model_api import Answers
from tests.matrix.world import BATCH_CALLS, SCHEDULER, SWEEP, WORKERS, World

Act = Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail.

    `wasted` judge calls and `repeated` alert messages are what it may cost; what the stand-ins count themselves (lost
    answers, hangs) comes on top. `seconds` is the shortest and longest time it lasts. `wipes`: what Redis remembers
    is lost.
    """

    name: str
    begin: Act
    end: Act
    seconds: tuple[float, float] = (0.3, 1.5)
    wasted: int = 0
    repeated: int = 0
    wipes: bool = False


def _langfuse(name: str, **values: Any) -> Fault:
    defaults = _defaults(Faults, values)
    return Fault(
        f"langfuse-{name}",
        lambda world: world.sandbox.langfuse.faults.change(values),
        lambda world: world.sandbox.langfuse.faults.change(defaults),
    )


def _behaviour(name: str, **values: Any) -> Fault:
    defaults = _defaults(Behaviour, values)
    return Fault(
        f"langfuse-{name}",
        lambda world: world.sandbox.langfuse.behaviour.change(values),
        lambda world: world.sandbox.langfuse.behaviour.change(defaults),
    )


def _model(name: str, **values: Any) -> Fault:
    defaults = _defaults(Faults, values)
    return Fault(
        f"model-{name}",
        lambda world: world.sandbox.model.faults.change(values),
        lambda world: world.sandbox.model.faults.change(defaults),
    )


def _answers(name: str, **values: float) -> Fault:
    return Fault(
        f"model-{name}",
        lambda world: _set(world.sandbox.model.answers, values),
        lambda world: _set(world.sandbox.model.answers, _defaults(Answers, values)),
    )


def _slack(name: str, **values: Any) -> Fault:
    defaults = _defaults(Faults, values)
    return Fault(
        f"slack-{name}",
        lambda world: world.sandbox.slack.faults.change(values),
        lambda world: world.sandbox.slack.faults.change(defaults),
    )


def _defaults(kind: type[Any], names: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: field.default for field in fields(kind) if field.name in names}


def _set(target: object, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(target, name, value)


def _clock(role: str, name: str, seconds: float) -> Fault:
    return Fault(
        f"clock-{role}-{name}",
        lambda world: world.shift_clock(role, seconds),
        lambda world: world.shift_clock(role, 0),
    )


def _process(name: str, end: Callable[[World, str], None], process: str) -> Fault:
    return Fault(name, lambda world: end(world, process), lambda world: world.start(process))


def _killed_scheduler() -> Fault:
    def begin(world: World) -> None:
        world.kill(SCHEDULER)

    def end(world: World) -> None:
        world.start(SCHEDULER)

    # Killed between enqueueing and claiming a batch: it is enqueued again.
    return Fault("kill-scheduler", begin, end, wasted=BATCH_CALLS, repeated=1)


def _frozen(name: str, process: str, seconds: tuple[float, float], wasted: int, repeated: int = 0) -> Fault:
    def begin(world: World) -> None:
        world.send(process, signal.SIGSTOP)

    def end(world: World) -> None:
        world.send(process, signal.SIGCONT)

    return Fault(name, begin, end, seconds, wasted, repeated)


def _kill_store(world: World) -> None:
    world.store.kill()


def _empty_store(world: World) -> None:
    world.store.kill()
    world.store.wipe()


def _start_store(world: World) -> None:
    world.store.start()


def _cut(world: World) -> None:
    world.cable.breaks = 0.05


def _kill_workers(world: World) -> None:
    for name in WORKERS:
        world.kill(name)


def _start_workers(world: World) -> None:
    for name in WORKERS:
        world.start(name)


def _nothing(world: World) -> None:
    del world


def _fill(world: World) -> None:
    if world.store.is_small:
        world.store.fill()


def _restart_leader(world: World) -> None:
    world.kill(SCHEDULER)
    world.start(SCHEDULER)


def _roll(world: World) -> None:
    for name in (*WORKERS, SCHEDULER):
        world.stop(name)
        world.start(name)


FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for fault in (
        _langfuse("5xx", errors=0.5),
        _langfuse("422", errors=0.5, error_statuses=(422,), paths="observations"),
        _langfuse("422-always", errors=1.0, error_statuses=(422,), paths="observations"),
        _langfuse("429", rate_limited=0.3, retry_after=0.5),
        _langfuse("timeouts", hangs=0.2, hang_seconds=1.5),
        _langfuse("resets", resets=0.4),
        _langfuse("lost-answers", lost_answers=0.4),
        _langfuse("slow", latency=0.2, latency_spread=0.8),
        _langfuse("down", errors=1.0),
        _behaviour("207", rejected=0.3),
        _behaviour("lag", stale=0.5, stale_seconds=1.0),
        _behaviour("duplicates", duplicates=0.6),
        _behaviour("out-of-order", shuffled=1.0),
        _model("429", rate_limited=0.6, retry_after=0.3),
        _model("5xx", errors=0.6),
        _model("hangs", hangs=0.2, hang_seconds=3.0),
        _model("resets", resets=0.3, lost_answers=0.1),
        _model("down", errors=1.0),
        replace(_model("gone", errors=1.0), seconds=(6.0, 8.0)),
        _answers("truncated", truncated=0.4),
        _answers("malformed", malformed=0.4),
        _answers("wrong-schema", wrong_schema=0.4),
        _answers("off-scale", out_of_range=0.4),
        _answers("empty", empty=0.4),
        _answers("filtered", filtered=0.3),
        _answers("too-long", too_long=0.3),
        _slack("down", errors=1.0),
        _slack("resets", resets=1.0),
        _slack("429", rate_limited=0.7, retry_after=1.0),
        _clock("scheduler", "an-hour-ahead", 3600.0),
        _clock("scheduler", "an-hour-behind", -3600.0),
        _clock("worker", "an-hour-ahead", 3600.0),
        _clock("worker", "an-hour-behind", -3600.0),
        Fault(
            "kill-worker",
            lambda world: world.kill(WORKERS[0]),
            lambda world: world.start(WORKERS[0]),
            wasted=BATCH_CALLS,
        ),
        Fault("kill-workers", _kill_workers, _start_workers, wasted=2 * BATCH_CALLS),
        _process("stop-worker", World.stop, WORKERS[1]),
        _killed_scheduler(),
        _frozen("freeze-worker", WORKERS[0], (2.0, 3.0), wasted=2 * BATCH_CALLS),
        _frozen("freeze-scheduler", SCHEDULER, (3.5, 4.5), wasted=BATCH_CALLS, repeated=1),
        Fault("two-schedulers", lambda world: world.start("scheduler-2"), lambda world: world.stop("scheduler-2")),
        Fault("leader-killed", lambda world: world.start("scheduler-2"), _restart_leader, (1.5, 2.5), BATCH_CALLS, 1),
        Fault("rolling-restart", _roll, _nothing),
        Fault("sweep", lambda world: world.start(SWEEP), _nothing, wasted=2 * BATCH_CALLS),
        Fault("redis-killed", _kill_store, _start_store, wasted=BATCH_CALLS),
        Fault("redis-away", _kill_store, _start_store, (2.0, 3.0), wasted=BATCH_CALLS),
        Fault("redis-cut", _cut, lambda world: setattr(world.cable, "breaks", 0.0), wasted=2 * BATCH_CALLS),
        Fault("redis-emptied", _empty_store, _start_store, repeated=1, wipes=True),
        Fault("redis-flushed", lambda world: world.flush(), _nothing, repeated=1, wipes=True),
        Fault("disk-full", _fill, lambda world: world.store.free(), (0.5, 2.5), wasted=BATCH_CALLS),
    )
}
