"""How a stand-in misbehaves: errors, refusals, resets, lost answers, hangs and latency, drawn from a seeded generator.

Shared by all stand-ins. A fault is decided once a request, before the handler runs, so one seed gives one sequence.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from random import Random
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONTROL = "/_sandbox/"


class FaultKind(StrEnum):
    """What goes wrong with one request."""

    ERROR = "error"
    RATE_LIMITED = "rate_limited"
    RESET = "reset"
    LOST_ANSWER = "lost_answer"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Fault:
    """One decided fault: `status` for errors, `seconds` is Retry-After of a refusal or the length of a hang."""

    kind: FaultKind
    status: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Faults:
    """What share of requests fails, and how. All off by default; every field may be changed while serving.

    Attributes:
        errors: Probability of an answer with one of `error_statuses`.
        error_statuses: The statuses to draw from.
        burst: This many coming requests fail for sure, before any probability is looked at.
        rate_limited: Probability of a 429.
        retry_after: Seconds a 429 asks to wait.
        resets: Probability of a connection reset before the request is carried out.
        lost_answers: Probability of a connection reset after it was carried out: the caller cannot know.
        hangs: Probability of a pause of `hang_seconds` before the request is carried out, if its sender still waits.
        hang_seconds: Length of a hang.
        latency: Median seconds added to every request.
        latency_spread: Sigma of the log-normal spread of `latency`; 0 is constant.
        paths: Regular expression; only paths in which it is found are touched. Empty touches all.
        seed: Starts the generator anew when set through `change`.
        happened: How often each kind was decided, for whoever counts the damage.
    """

    errors: float = 0.0
    error_statuses: tuple[int, ...] = (500, 502, 503)
    burst: int = 0
    rate_limited: float = 0.0
    retry_after: float = 1.0
    resets: float = 0.0
    lost_answers: float = 0.0
    hangs: float = 0.0
    hang_seconds: float = 30.0
    latency: float = 0.0
    latency_spread: float = 0.0
    paths: str = ""
    seed: int = 0
    happened: Counter[FaultKind] = field(init=False, repr=False, default_factory=Counter)
    _random: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def change(self, values: Mapping[str, Any]) -> None:
        """Set fields by name.

        Raises:
            ValueError: A name is unknown or a value is of another type; nothing is changed then.
        """
        checked = {name: _coerced(name, value) for name, value in values.items()}
        for name, value in checked.items():
            setattr(self, name, value)
        if "seed" in checked:
            self._random = Random(self.seed)

    def clear(self) -> None:
        """Switch everything off and start the generator anew from the same seed."""
        self.change(dict(_DEFAULTS) | {"seed": self.seed})

    def document(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        return {name: getattr(self, name) for name in _DEFAULTS}

    def decide(self, path: str) -> Fault | None:
        """Return what goes wrong with the next request to `path`; None when nothing does."""
        fault = self._decided(path)
        if fault is not None:
            self.happened[fault.kind] += 1
        return fault

    def _decided(self, path: str) -> Fault | None:
        if self.paths and not re.search(self.paths, path):
            return None
        if self.burst > 0:
            self.burst -= 1
            return self._error()
        draw = self._random.random()
        for share, make in (
            (self.errors, self._error),
            (self.rate_limited, lambda: Fault(FaultKind.RATE_LIMITED, 429, self.retry_after)),
            (self.resets, lambda: Fault(FaultKind.RESET)),
            (self.lost_answers, lambda: Fault(FaultKind.LOST_ANSWER)),
            (self.hangs, lambda: Fault(FaultKind.HANG, seconds=self.hang_seconds)),
        ):
            if draw < share:
                return make()
            draw -= share
        return None

    def delay(self) -> float:
        """Return the seconds of latency of the next request."""
        if self.latency <= 0 or self.latency_spread <= 0:
            return max(self.latency, 0.0)
        return self.latency * self._random.lognormvariate(0.0, self.latency_spread)

    def _error(self) -> Fault:
        return Fault(FaultKind.ERROR, self._random.choice(self.error_statuses))


_DEFAULTS: Mapping[str, Any] = {f.name: f.default for f in fields(Faults) if f.init}


def _coerced(name: str, value: Any) -> Any:
    if name not in _DEFAULTS:
        raise ValueError(f"no fault is called {name!r}; known: {', '.join(_DEFAULTS)}")
    default = _DEFAULTS[name]
    if isinstance(default, tuple) and isinstance(value, (list, tuple)) and value:
        return tuple(int(status) for status in value)
    if isinstance(default, str) and isinstance(value, str):
        re.compile(value)
        return value
    if isinstance(default, (int, float)) and isinstance(value, (int, float)) and value >= 0:
        return type(default)(value)
    raise ValueError(f"{name} cannot be {value!r}; the default is {default!r}")


def injecting(faults: Faults, answer: Callable[[Fault], web.StreamResponse]) -> Any:
    """Return an aiohttp middleware that lets `faults` happen.

    `answer` writes the body of an error or a refusal in the provider's own form. Control requests are left alone.
    """

    @web.middleware
    async def inject(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(CONTROL):
            return await handler(request)
        fault = faults.decide(request.path)
        await asyncio.sleep(faults.delay())
        match fault:
            case None:
                return await handler(request)
            case Fault(FaultKind.ERROR | FaultKind.RATE_LIMITED):
                return answer(fault)
            case Fault(FaultKind.HANG):
                await asyncio.sleep(fault.seconds)
                if request.transport is not None:
                    return await handler(request)
            case Fault(FaultKind.LOST_ANSWER):
                await handler(request)
        return cut(request)

    return inject


def cut(request: web.Request) -> web.Response:
    """Reset the connection of `request`; the returned response never arrives."""
    if request.transport is not None:
        if (connection := request.transport.get_extra_info("socket")) is not None:
            # Lingering for no time makes the kernel send a reset instead of an orderly end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response(status=499, reason="connection reset by the sandbox")


def controlling(faults: Faults) -> Handler:
    """Return the handler of POST /_sandbox/faults: a JSON object of fields to change, answered with all settings."""

    async def change(request: web.Request) -> web.StreamResponse:
        try:
            faults.change(await request.json())
        except (ValueError, AttributeError, TypeError, re.error) as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.json_response(faults.document())

    return change
