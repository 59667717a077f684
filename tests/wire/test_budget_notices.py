"""People are told once a day and budget how its money does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis

from evaluator.money.budgets import Budgets
from evaluator.money.notices import BudgetNotices, Stage, stage_of
from evaluator.money.rations import Outlook
from evaluator.sampling.jobs import NOTHING_WAITS
from evaluator.scheduler import Scheduler
from evaluator.state.fleet import State
from evaluator.state.ledger import EVERYBODY, Settlement, billionths
from sandbox.server import Sandbox
from tests.serving import SERVICE, Config, OpenService, WrongClock

BUDGETS = Budgets({EVERYBODY: 20, "tone": 2}, frozenset({"tone"}))


class Morning(WrongClock):
    """Nine in the morning of a day, and of those after it."""

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 9, 5, tzinfo=UTC) + self.wrong


def told(state: State, outlook: Outlook, payer: str = EVERYBODY, clock: Morning | None = None) -> list[str]:
    return BudgetNotices(state, BUDGETS, clock or Morning(), delivers=True).tell({payer: outlook})


@pytest.mark.parametrize(
    ("outlook", "stage"),
    [
        (Outlook(20, 4, 1, 10), None),
        (Outlook(20, 4, 1, 16), Stage.PACE),
        (Outlook(20, 0.5, 0.5, 40), None),  # too early to say
        (Outlook(20, 16, 0, 1), Stage.NEARLY),
        (Outlook(20, 20.01, 0, 0), Stage.SPENT),
    ],
)
def test_what_there_is_to_tell(outlook: Outlook, stage: Stage | None) -> None:
    assert stage_of(outlook) == stage


def test_each_is_told_once_a_day_restarts_or_not(state: State) -> None:
    assert told(state, Outlook(20, 4, 1, 16)) == ["budget/2026-11-23/all judges/pace"]
    assert told(state, Outlook(20, 5, 1, 16)) == []
    assert told(state, Outlook(20, 16.2, 1, 16)) == ["budget/2026-11-23/all judges/80"]
    assert told(state, Outlook(20, 20, 0, 0)) == ["budget/2026-11-23/all judges/100"]
    assert told(state, Outlook(20, 20, 0, 0)) == []
    assert told(state, Outlook(2, 2, 0, 0), "tone") == ["budget/2026-11-23/tone/100"]
    tomorrow = Morning()
    tomorrow.wrong = timedelta(days=1)
    assert told(state, Outlook(20, 17, 0, 0), clock=tomorrow) == ["budget/2026-11-24/all judges/80"]
    assert len(state.outbox()) == 5


def test_what_was_passed_in_one_step_is_told_in_one_message(state: State) -> None:
    assert told(state, Outlook(20, 25, 0, 30)) == ["budget/2026-11-23/all judges/100"]
    assert told(state, Outlook(20, 17, 0, 30)) == []


def test_the_words(state: State) -> None:
    told(state, Outlook(20, 4, 1, 26))
    told(state, Outlook(20, 20, 0, 0))
    told(state, Outlook(2, 2, 0, 0), "tone")
    texts = [payload["message"]["text"] for payload in state.outbox().values()]
    at = "USD spent by 09:05 UTC"
    later = "What is missed is judged when there is money again."
    assert texts == [
        (
            f"Today's judges' budget is spent. 20.00 of 20.00 {at} (all judges). Judges pause until midnight UTC; "
            f"rules go on. {later}"
        ),
        (
            f"The judges' budget will not last today. 4.00 of 20.00 {at} (all judges). At the configured rates "
            "the whole day would cost about 31.00 USD. The lines of sample with the lowest rates give way first, "
            "those with rate 1 last."
        ),
        (
            f"Today's judges' budget of tone is spent. 2.00 of 2.00 {at} (tone). It pauses until midnight UTC; "
            f"rules and other rubrics go on. {later}"
        ),
    ]


def test_without_slack_nothing_waits_for_ever(state: State, valkey: redis.Redis) -> None:
    notices = BudgetNotices(state, BUDGETS, Morning(), delivers=False)
    assert len(notices.tell({EVERYBODY: Outlook(20, 20, 0, 0)})) == 1
    assert notices.tell({EVERYBODY: Outlook(20, 20, 0, 0)}) == []
    assert state.outbox() == {}


def test_the_leader_tells_slack(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    more = "models: {prices: {gpt-5.4-mini: {input: 1, output: 1}}}\nbudget: {usd_per_day: 20}\n"
    with service(config(service=SERVICE + more)) as app:
        paid = Settlement({EVERYBODY: billionths(21)})
        app.money.ledger.pay(app.clock.now().date(), "w", {}, paid, [])
        leader = Scheduler(app, app.discovery(lambda _: None), lambda _: NOTHING_WAITS)
        leader.renew()
        leader.discover()
        leader.due()
        leader.due()
    (message,) = sandbox.slack.messages
    assert message["text"].startswith("Today's judges' budget is spent. 21.00 of 20.00 USD")
