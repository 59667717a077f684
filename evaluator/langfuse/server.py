"""What the server is: its version, its project and which of the two ways it takes scores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from evaluator.errors import Refused, Unavailable
from evaluator.langfuse.wire import TooWide, Wire

BATCHES_FROM: Final = (4, 59)
"""First version that takes an array of scores (contract 0)."""

_NEEDED: Final = "evaluator needs Langfuse Cloud or a self-hosted Langfuse from 4.0 with v4 reads"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a Langfuse can do; `batch_scores`: many scores in one request."""

    version: str
    project_id: str
    project_name: str
    batch_scores: bool


async def probe(wire: Wire, now: datetime) -> Capabilities:
    """Ask the server what it is.

    Raises:
        ConfigError: the keys are wrong.
        Refused: the server is too old.
        Unavailable: it does not answer, or is too busy to.
    """
    version = str((await wire.get("health")).get("version") or "unknown")
    projects = (await wire.get("projects")).get("data") or []
    if not projects:
        raise Refused("these keys belong to no project: use a project's keys, not an organisation's")
    since = (now - timedelta(minutes=5)).isoformat()
    try:
        await wire.get("v2/observations", [("limit", "1"), ("fromStartTime", since)])
    except Refused as error:
        raise Refused(f"Langfuse {version} has no v2/observations: {_NEEDED} ({error})") from error
    except TooWide as error:
        raise Unavailable(f"Langfuse cannot read even five minutes now: {error}") from error
    number = re.match(r"v?(\d+)\.(\d+)", version)
    # A version nobody can read is Cloud's; should it refuse arrays after all, the writer falls back.
    batches = number is None or (int(number[1]), int(number[2])) >= BATCHES_FROM
    return Capabilities(version, str(projects[0]["id"]), str(projects[0].get("name") or ""), batches)
