"""One look at the service for tests, with as few words as a test needs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from evaluator.pulse import Process
from evaluator.sampling.jobs import Backlog, Lane
from evaluator.sampling.overload import Load
from evaluator.state.coverage import Kept
from evaluator.state.paces import Slowed
from evaluator.status.overview import Limit, Spending, Status

NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)


def status(**changes: Any) -> Status:
    """Return a healthy service that has evaluated a little."""
    funnel = Counter({("answered", "sampled", ""): 10, ("answered", "scored", ""): 9, ("answered", "filtered", ""): 2})
    known: dict[str, Any] = {
        "leader": "host:1",
        "behind": timedelta(seconds=95),
        "lanes": {lane: Backlog() for lane in Lane},
        "in_hand": 0,
        "sessions": 0,
        "load": Load(),
        "funnel": funnel,
        "dead": Counter(),
        "undelivered": 0,
        "workers": [Process("host:1:a", "run", 8, "0.1.0", NOW, NOW)],
        "hours": {NOW.replace(minute=0): funnel},
        "limits": [Limit("langfuse", 99, timedelta())],
    }
    return Status(**{**known, **changes})


def busy() -> Status:
    """Return a look at a service in which everything happens at once."""
    hostile = "<script>alert(1)</script>\x1b[2J"
    return status(
        leader=hostile,
        lanes={Lane.LIVE: Backlog(3, timedelta(minutes=4)), Lane.PATIENT: Backlog(), Lane.BACKFILL: Backlog()},
        in_hand=2,
        funnel=Counter(
            {("answered", "sampled", ""): 10, ("answered", "failed", hostile): 4, ("tone", "scored", ""): 2}
        ),
        dead=Counter({hostile: 4}),
        undelivered=1,
        not_taken={("slack", hostile): hostile},
        budgets={"all judges": Spending(5.0, 20.0)},
        parked={"tone": 3},
        closed={"gpt": hostile},
        kept=[Kept("answered", 100, 60, 10)],
        limits=[
            Limit("langfuse", 99, timedelta(seconds=20)),
            Limit("model", None, timedelta(), (f"gpt: 12 of 64 calls at once a process: {hostile}",)),
        ],
        slowed={"gpt": Slowed(12, 64, hostile)},
    )
