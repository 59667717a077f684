"""How the service is doing, in one look: how far behind, what waits, what became of all, what was given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from evaluator.alerts.coverage_notices import LOOKED_BACK, promises_nothing
from evaluator.app import App
from evaluator.calibration.anchors import is_pass_rate
from evaluator.calibration.trust import Trust, trusted
from evaluator.messages.blame import in_words
from evaluator.money.budgets import budgets_of, whose
from evaluator.pulse import Process, living
from evaluator.sampling.jobs import Backlog, Lane
from evaluator.sampling.overload import Load
from evaluator.state.alert_memory import DONE
from evaluator.state.anchor_rounds import known_judges
from evaluator.state.arrears import Span
from evaluator.state.coverage import Kept, kept
from evaluator.state.hours import STATES, Funnel, Promises
from evaluator.state.paces import Slowed
from evaluator.worker import Queue


class Spending(NamedTuple):
    """What was spent of a day's limit, in USD."""

    spent: float
    limit: float


class Limit(NamedTuple):
    """What one server may be asked: requests a minute (None: no limit), and how long it wants a pause from now on.

    `slowed` says of its models that are slowed down now, how far and why.
    """

    name: str
    per_minute: int | None
    pause: timedelta
    slowed: tuple[str, ...] = ()


class JudgeStands(NamedTuple):
    """Whether a judge with anchors is known to have moved, and in words how it stands."""

    moved: bool
    how: str


@dataclass(frozen=True, slots=True)
class Status:
    """One look.

    Attributes:
        leader: the scheduler that leads; None when none does.
        behind: from the end of the last window read whole to now; None before the first one.
        lanes: messages of each lane that no worker has taken.
        in_hand: messages that workers have in hand, or that come again later.
        sessions: sessions that wait until they have been idle for long enough.
        load: the lag and the shares of the sampling rates taken, as of the scheduler's last look.
        funnel: how many pairs of trace and evaluator reached each state, for ever.
        dead: work given up in the last 30 days, by reason.
        undelivered: messages that some destination has not confirmed.
        not_taken: of those, which destination did not take which, with why.
        batches: questions that wait for a batch of the provider, and those in one.
        budgets: what was spent today of each limit, in USD, by whose it is.
        parked: pairs that wait for money, by evaluator.
        closed: models that take no calls, with why.
        owed: when traces ended that an evaluator will look at when there is money.
        low: traces that scored low, on the way to where people find them.
        anchors: of each judge that has any, what they say of it.
        workers: processes that live.
        hours: what became of the traces that ended in each of the last 24 hours.
        promises: what became of live traces, in slots of five minutes.
        kept: what each evaluator kept of what fell due in the last hour.
        limits: of Langfuse and the models.
        trust: what golden tests and people say of each judge, by rubric.
        slowed: models of which fewer calls are made at once than may be, with how many and why.
    """

    leader: str | None
    behind: timedelta | None
    lanes: Mapping[Lane, Backlog]
    in_hand: int
    sessions: int
    load: Load
    funnel: Funnel
    dead: Counter[str]
    undelivered: int
    batches: tuple[int, int] = (0, 0)
    budgets: Mapping[str, Spending] = field(default_factory=dict)
    parked: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    owed: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    not_taken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    low: Counter[str] = field(default_factory=Counter)
    anchors: Mapping[str, JudgeStands] = field(default_factory=dict)
    workers: Sequence[Process] = ()
    hours: Mapping[datetime, Funnel] = field(default_factory=dict)
    promises: Sequence[Promises] = ()
    kept: Sequence[Kept] = ()
    limits: Sequence[Limit] = ()
    trust: Mapping[str, Trust] = field(default_factory=dict)
    slowed: Mapping[str, Slowed] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """How many traces are in each state, by evaluator; `pending` are those sampled and not yet any further."""
        counts: dict[str, Counter[str]] = {}
        for (evaluator, state, _), number in sorted(self.funnel.items()):
            counts.setdefault(evaluator, Counter())[state] += number
        for states in counts.values():
            done = sum(states[state] for state in STATES[STATES.index("scored") :])
            if states["sampled"] > done:
                states["pending"] = states["sampled"] - done
        return counts

    @property
    def per_minute(self) -> float:
        """How many live pairs of trace and evaluator ended a minute, in the last quarter of an hour."""
        last = sorted({each.start for each in self.promises})[-3:]
        ended = sum(each.kept + each.missed for each in self.promises if each.start in last)
        return ended / 15

    @property
    def reasons(self) -> Counter[str]:
        """How often traces were not scored, by state and reason."""
        reasons: Counter[str] = Counter()
        for (_, state, reason), number in self.funnel.items():
            if reason:
                reasons[f"{state}: {reason}"] += number
        return reasons

    def as_json(self) -> dict[str, Any]:
        """Return the look as plain JSON; times are in seconds."""
        return {
            "leader": self.leader,
            "behind_seconds": None if self.behind is None else round(self.behind.total_seconds(), 1),
            "lanes": {
                lane.value: {"waiting": known.messages, "oldest_seconds": round(known.oldest.total_seconds(), 1)}
                for lane, known in self.lanes.items()
            },
            "in_hand": self.in_hand,
            "sessions_waiting": self.sessions,
            "lag_seconds": round(self.load.lag.total_seconds(), 1),
            "share": self.load.share,
            "shares": dict(self.load.shares),
            "evaluators": {name: dict(states) for name, states in self.counts.items()},
            "reasons": dict(self.reasons.most_common()),
            "dead_letters": dict(self.dead.most_common()),
            "workers": [
                {"name": each.name, "role": each.role, "threads": each.threads, "release": each.release}
                for each in self.workers
            ],
            "ended_per_minute": round(self.per_minute, 2),
            "judges": {name: trust.as_json() for name, trust in self.trust.items()},
            "kept": {each.evaluator: {"due": each.due, "share": round(each.share, 6)} for each in self.kept},
            "undelivered": self.undelivered,
            "undelivered_messages": [
                {"to": destination, "message": message, "reason": why}
                for (destination, message), why in self.not_taken.items()
            ],
            "low_scores_waiting": dict(self.low.most_common()),
            "anchors": {name: judge._asdict() for name, judge in self.anchors.items()},
            "closed_models": dict(self.closed),
            "slowed_models": {model: known._asdict() for model, known in self.slowed.items()},
            "batches": {"waiting": self.batches[0], "sent": self.batches[1]},
            "budgets": {
                whose: {"spent_usd": round(known.spent, 6), "usd_per_day": known.limit}
                for whose, known in self.budgets.items()
            },
            "waiting_for_money": dict(self.parked),
            "left_for_later": {
                name: [[span.start.isoformat(), span.end.isoformat()] for span in spans]
                for name, spans in self.owed.items()
            },
        }


def look(app: App, queue: Queue, now: datetime) -> Status:
    """Take a look; only Redis is asked.

    Raises:
        Unavailable: Redis does not answer.
    """
    mark = app.state.watermark()
    within, batched = app.definitions.service.coverage.within, promises_nothing(app.definitions)
    slowed = app.paces.slowed(sorted(app.definitions.models))
    promises = app.state.hours.promises(now, within + LOOKED_BACK + timedelta(hours=1))
    lanes = {lane: queue.backlog(now, lane) for lane in Lane}
    return Status(
        leader=app.state.holder("scheduler"),
        behind=None if mark is None else now - mark,
        lanes=lanes,
        in_hand=queue.size() - sum(known.messages for known in lanes.values()),
        sessions=app.sessions.number(),
        load=app.state.load(),
        funnel=app.state.funnel(),
        dead=app.state.dead.kinds(now),
        undelivered=len(app.state.outbox()),
        batches=(app.batches.room.waiting()[0], app.batches.room.asked()),
        budgets=_budgets(app, now),
        parked=app.money.arrears.parked(),
        closed={model: circuit.why for model, circuit in app.circuits.look(app.definitions.models).items()},
        owed=app.money.arrears.owed(),
        not_taken={pair: why for pair, why in sorted(app.alerts.deliveries().items()) if why != DONE},
        low=Counter(f"{low.kind} {low.place}" + (f": {low.why}" if low.why else "") for low in app.low.waiting()),
        anchors=_anchors(app),
        workers=living(app),
        hours=app.state.hours.funnels(now, 24),
        promises=promises,
        kept=kept(promises, now, within, LOOKED_BACK, batched),
        limits=_limits(app, slowed),
        trust=trusted(app.definitions.rubrics(), app.tests, app.alerts),
        slowed=slowed,
    )


def _anchors(app: App) -> dict[str, JudgeStands]:
    rubrics = {each.name: each for each in app.definitions.rubrics()}
    known = known_judges(rubrics.values(), app.alerts.states)
    return {
        name: JudgeStands(each.state.opened is not None, in_words(each.state, each.shift, is_pass_rate(rubrics[name])))
        for name, each in known.items()
    }


def _limits(app: App, slowed: Mapping[str, Slowed]) -> list[Limit]:
    limits, entries = app.definitions.service.limits, app.definitions.service.models.entries
    known = {"langfuse": limits.langfuse_requests_per_minute, "model": limits.model_requests_per_minute}
    known |= {f"model:{name}": entry.requests_per_minute for name, entry in entries.items()}
    said: dict[str, list[str]] = {}
    for model, each in slowed.items():
        own = model in entries
        place = f"model:{model}" if own else "model"
        said.setdefault(place, []).append(slowed_text(each) if own else f"{model}: {slowed_text(each)}")
    return [
        Limit(name, per_minute, app.state.tokens.paused(name), tuple(said.get(name, ())))
        for name, per_minute in known.items()
    ]


def slowed_text(slowed: Slowed) -> str:
    """Return how far a model's calls are slowed down, and why."""
    return f"{slowed.calls:,} of {slowed.most:,} calls at once a process: {slowed.why}"


def _budgets(app: App, now: datetime) -> dict[str, Spending]:
    budgets = budgets_of(app.definitions)
    if not budgets.are_set:
        return {}
    spent = app.money.ledger.spent(now.date())
    return {whose(payer): Spending(spent.get(payer, 0.0), limit) for payer, limit in budgets.limits.items()}


def span_text(span: timedelta) -> str:
    """Return a span of time as people say it."""
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
