"""What workers have before them, as the scheduler sees it: how many messages lie on the lanes, and what some hold."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from typing import Final, NamedTuple

from evaluator.app import App
from evaluator.pulse import Processes
from evaluator.sampling.jobs import Burden, Lane
from evaluator.state.counters import DECIDED
from evaluator.state.hours import Funnel
from evaluator.state.ledger import NO_MONEY
from evaluator.worker import Queue

_LOOKED_INTO: Final = 64
"""Messages of a lane, at most, that tell how much is in it and for whom; read at each look while any wait."""

_HOURS: Final = 2
"""Of so many hours, this one among them, it is known how many pairs were skipped."""

_ENDED: Final = frozenset({"scored", "unscored", "failed", "skipped"})


class LaneLoad(NamedTuple):
    """What is on a lane, in a worker's hand or not: messages, their jobs, and their pairs by evaluator."""

    messages: int
    jobs: int
    pairs: Counter[str]


def lane_load(queue: Queue, lane: Lane) -> LaneLoad:
    """Look at a lane; jobs and pairs are estimated from a sample of its messages.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    messages, some = queue.some(lane, _LOOKED_INTO)
    each = messages / len(some) if some else 0.0
    pairs = Counter(sampled.evaluator for jobs in some for job in jobs for sampled in job.samples)
    scaled = Counter({name: math.ceil(number * each) for name, number in pairs.items()})
    return LaneLoad(messages, math.ceil(sum(map(len, some)) * each), scaled)


def asked_share(lately: Funnel, evaluator: str) -> float:
    """Return which share of an evaluator's pairs are not skipped, by what became of some: of those its judge is asked.

    Nobody looked yet at what is on the live lane. Most traces may have nothing that a rubric looks at; taken for work
    of its judge, they would make a judge that is idle look overrun.
    """
    ended = Counter[bool]()
    for (name, state, reason), number in lately.items():
        if name == evaluator and state in _ENDED and reason != NO_MONEY:
            ended[state == "skipped"] += number
    return ended[False] / ended.total() if ended.total() > 0 else 1.0


def burden(app: App, queue: Queue, now: datetime) -> Burden:
    """Return what workers have before them.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    waits, live, patient = queue.backlog(now), lane_load(queue, Lane.LIVE), lane_load(queue, Lane.PATIENT)
    threads = sum(each.threads for each in Processes(queue.broker.client, app.settings.evaluator_namespace).living(now))
    unworked = max(waits.messages, live.messages - threads) / live.messages if live.messages else 0.0
    lately = sum(app.state.hours.funnels(now, _HOURS).values(), Funnel())
    pairs = patient.pairs + Counter({name: round(n * asked_share(lately, name)) for name, n in live.pairs.items()})
    counts = app.state.counters.read() if pairs else {}
    decided = {name[1]: int(number) for name, number in counts.items() if name[0] == DECIDED}
    return Burden(math.ceil(live.jobs * unworked), waits.oldest, queue.ended(Lane.LIVE), pairs, decided)
