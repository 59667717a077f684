"""How the service is doing, in one look: how far behind, what waits, what became of all, what was given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from evaluator.alert_memory import DONE
from evaluator.app import App
from evaluator.arrears import Span
from evaluator.batch import Backlog, Lane
from evaluator.budgets import budgets_of, whose
from evaluator.state import Funnel, Load
from evaluator.telemetry import spelled_out
from evaluator.worker import Queue

STATES = ("filtered", "sampled_out", "shed", "sampled", "scored", "skipped", "unscored", "failed", "gone")
"""Every state of a trace and an evaluator, in the order in which they are reached."""


class Spending(NamedTuple):
    """What was spent of a day's limit, in USD."""

    spent: float
    limit: float


@dataclass(frozen=True, slots=True)
class Status:
    """One look.

    Attributes:
        leader: the scheduler that leads; None when none does.
        behind: from the end of the last window read whole to now; None before the first one.
        lanes: messages of each lane that no worker has taken.
        in_hand: messages that workers have in hand, or that come again later.
        sessions: sessions that wait until they have been idle for long enough.
        load: the lag and the share of the sampling rates taken, as of the scheduler's last look.
        funnel: how many pairs of trace and evaluator reached each state, for ever.
        dead: work given up in the last 30 days, by reason.
        undelivered: messages that some destination has not confirmed.
        not_taken: of those, which destination did not take which, with why.
        batches: questions that wait for a batch of the provider, and those in one.
        budgets: what was spent today of each limit, in USD, by whose it is.
        parked: pairs that wait for money, by evaluator.
        closed: models that take no calls, with why.
        owed: when traces ended that an evaluator will look at when there is money.
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
            "evaluators": {name: dict(states) for name, states in self.counts.items()},
            "reasons": dict(self.reasons.most_common()),
            "dead_letters": dict(self.dead.most_common()),
            "undelivered": self.undelivered,
            "undelivered_messages": [
                {"to": destination, "message": message, "reason": why}
                for (destination, message), why in self.not_taken.items()
            ],
            "low_scores_waiting": dict(self.low.most_common()),
            "closed_models": dict(self.closed),
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
    lanes = {lane: queue.backlog(now, lane) for lane in Lane}
    letters = app.state.dead_letters()
    return Status(
        leader=app.state.holder("scheduler"),
        behind=None if mark is None else now - mark,
        lanes=lanes,
        in_hand=queue.size() - sum(known.messages for known in lanes.values()),
        sessions=app.sessions.number(),
        load=app.state.load(),
        funnel=app.state.funnel(),
        dead=Counter(letter.reason.partition(":")[0] for letter in letters),
        undelivered=len(app.state.outbox()),
        batches=(app.batches.room.waiting()[0], app.batches.room.asked()),
        budgets=_budgets(app, now),
        parked=app.money.arrears.parked(),
        closed={model: circuit.why for model, circuit in app.circuits.look(app.definitions.models).items()},
        owed=app.money.arrears.owed(),
        not_taken={pair: why for pair, why in sorted(app.alerts.deliveries().items()) if why != DONE},
        low=Counter(f"{low.kind} {low.place}" + (f": {low.why}" if low.why else "") for low in app.low.waiting()),
    )


def _budgets(app: App, now: datetime) -> dict[str, Spending]:
    budgets = budgets_of(app.definitions)
    if not budgets.are_set:
        return {}
    spent = app.money.ledger.spent(now.date())
    return {whose(payer): Spending(spent.get(payer, 0.0), limit) for payer, limit in budgets.limits.items()}


def show(status: Status, out: Console) -> None:
    """Print a look for people."""
    out.print(f"leader        {status.leader or 'none: no scheduler is running'}", highlight=False)
    behind = "nothing was read yet" if status.behind is None else f"{_span(status.behind)} (quiet_for included)"
    out.print(f"read up to    {behind}", highlight=False)
    for lane, known in status.lanes.items():
        waits = f"{known.messages:,} waiting, the oldest for {_span(known.oldest)}" if known.messages else "empty"
        out.print(f"lane {lane.value:<9}{waits}", highlight=False)
    out.print(f"in hand       {status.in_hand:,}, those that come again later among them", highlight=False)
    if any(status.batches):
        out.print("batches       {:,} waiting to be sent, {:,} sent".format(*status.batches), highlight=False)
    if status.sessions:
        out.print(f"sessions      {status.sessions:,} waiting until they are idle", highlight=False)
    share = "" if status.load.share == 1 else f", sampling at {status.load.share:.0%} of the configured rates"
    out.print(f"lag           {_span(status.load.lag)}{share}", highlight=False)
    for payer, money in status.budgets.items():
        said = f"{money.spent:,.2f} of {money.limit:,.2f} USD spent today ({money.spent / money.limit:.0%})"
        style = "red" if money.spent >= money.limit else None
        out.print(f"budget        {payer}: {said}", style=style, markup=False, highlight=False)
    if status.parked:
        waiting = ", ".join(f"{number:,} of {name}" for name, number in status.parked.items())
        out.print(f"no money yet  {waiting}", markup=False, highlight=False)
    for model, why in status.closed.items():
        out.print(f"closed        {model}, its questions wait: {why}", style="red", markup=False, highlight=False)
    for name, spans in status.owed.items():
        said = ", ".join(f"{span.start:%d %b %H:%M} to {span.end:%d %b %H:%M}" for span in spans)
        out.print(f"no money yet  {name}: what ended {said} UTC", markup=False, highlight=False)
    _show_undelivered(status, out)
    for place, number in status.low.most_common():
        out.print(f"low scores    {number:,} on the way to {place}", markup=False, highlight=False)
    if status.counts:
        out.print(_table(status.counts))
    for reason, number in status.reasons.most_common():
        out.print(f"  {number:>9,} {spelled_out(reason)}", style="dim", markup=False, highlight=False)
    if status.dead:
        out.print("given up in the last 30 days, kept as dead letters:", style="red", highlight=False)
        for reason, number in status.dead.most_common():
            out.print(f"  {number:>9,} {spelled_out(reason)}", markup=False, highlight=False)


def _show_undelivered(status: Status, out: Console) -> None:
    if status.undelivered:
        out.print(f"messages      {status.undelivered} not delivered yet", style="red", highlight=False)
    for (destination, message), why in status.not_taken.items():
        out.print(f"  {destination}: {why} ({message})", style="red", markup=False, highlight=False)


def _table(counts: Mapping[str, Counter[str]]) -> Table:
    columns = [
        state for state in ("pending", *STATES) if state == "pending" or any(known[state] for known in counts.values())
    ]
    table = Table("evaluator", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, known in counts.items():
        table.add_row(name, *(f"{known[state]:,}" if known[state] else "" for state in columns))
    return table


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
