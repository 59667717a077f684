"""Is this process alive, and can it do its work? For Docker, Kubernetes and systemd.

/healthz is about the process alone: to start it again would mend it. /readyz is about what it needs: Redis, Langfuse,
and somebody who leads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from evaluator.app import App
from evaluator.errors import EvaluatorError
from evaluator.pulse import Pulse
from evaluator.telemetry.logs import spelled_out

OK: Final = "ok"

NOBODY_LEADS: Final = "nobody leads: start `evaluator scheduler` or `evaluator run`; nothing new is found meanwhile"


@dataclass(frozen=True, slots=True)
class Health:
    """What is asked, and what each answers: `ok`, or what is wrong in words."""

    is_well: bool
    checks: Mapping[str, str]

    def as_json(self) -> dict[str, object]:
        """Return it as plain JSON."""
        return {"status": OK if self.is_well else "failing", "checks": dict(self.checks)}


def alive(pulse: Pulse) -> Health:
    """Whether the process itself is well; an outage of others never makes it ill."""
    said = "hangs: its pulse has stopped, start it again" if pulse.is_stuck else OK
    return Health(said == OK, {"process": said})


def ready(app: App, *, schedules: bool) -> Health:
    """Whether a process can do its work now.

    One that `schedules` wants a leader, itself or another; a worker goes on with what is queued, and only tells.
    """
    asked: dict[str, Callable[[], str]] = {
        "redis": lambda: _answers(app.state.ping),
        "langfuse": app.langfuse.trouble,
        "leader": lambda: OK if app.state.holder("scheduler") else NOBODY_LEADS,
    }
    checks = {name: _said(check) for name, check in asked.items()}
    needed = checks if schedules else {name: said for name, said in checks.items() if name != "leader"}
    return Health(all(said == OK for said in needed.values()), checks)


def _answers(ask: Callable[[], object]) -> str:
    ask()
    return OK


def _said(check: Callable[[], str]) -> str:
    try:
        return check() or OK
    except EvaluatorError as error:
        return spelled_out(str(error))
