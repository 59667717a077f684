"""What is wrong, in words, and what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from evaluator.definitions.service_config import ServiceConfig
from evaluator.sampling.jobs import Backlog, Lane
from evaluator.sampling.overload import Load
from evaluator.state.coverage import Kept
from evaluator.state.hours import Promises
from evaluator.status.overview import Spending, Status
from evaluator.status.verdict import Health, health_of
from tests.looks import NOW, status

SERVICE = ServiceConfig.model_validate({"coverage": {"objective": "99%"}})


def health(**changes: Any) -> Health:
    return health_of(status(**changes), SERVICE, NOW)


def test_a_quiet_service_is_healthy() -> None:
    assert health() == Health("Healthy: read up to 95 s ago, nothing came lately", ())
    assert health().level == "well"
    ended = [Promises(NOW - timedelta(minutes=5 * back), "answered", 60, 30, 0) for back in range(1, 4)]
    assert "6.0 evaluated a minute" in health(promises=ended).headline


def test_before_anything_was_read_it_says_what_comes() -> None:
    assert "older traces come with a sweep" in health(behind=None).headline
    assert health(funnel=type(status().funnel)()).headline == "Healthy. No trace was taken yet"


@pytest.mark.parametrize(
    ("changes", "what", "todo", "level"),
    [
        ({"leader": None}, "Nobody leads", "evaluator scheduler", "bad"),
        ({"behind": timedelta(hours=3)}, "Discovery is 3 h 0 min behind", "rate limit", "bad"),
        ({"workers": [], "lanes": {Lane.LIVE: Backlog(4)}}, "No worker lives, and 4 messages wait", "worker", "bad"),
        ({"closed": {"gpt": "the key is refused"}}, "Model gpt takes no calls", "evaluator check", "bad"),
        ({"budgets": {"tone": Spending(2, 2)}}, "The budget of tone is spent", "midnight UTC", "warn"),
        (
            {"undelivered": 2, "not_taken": {("mail", "m"): "no"}},
            "2 messages are not delivered (mail)",
            "alerts",
            "bad",
        ),
        ({"load": Load(timedelta(), 0.25)}, "Sampling is at 25%", "add workers", "warn"),
        ({"load": Load(shares={"tone": 0.25})}, "tone: sampling at 25%", "a faster model", "warn"),
        (
            {"kept": [Kept("tone", 100, 90, 1)]},
            "Coverage of tone is 90.0%, below the objective of 99 %",
            "failures",
            "bad",
        ),
        (
            {
                "promises": [
                    Promises(NOW - timedelta(minutes=60), "tone", 5),
                    Promises(NOW - timedelta(minutes=10), "tone", 5),
                ]
            },
            "Nothing was evaluated for 30 min, though traces come",
            "/readyz",
            "bad",
        ),
        (
            {"promises": [Promises(NOW - timedelta(minutes=25), "tone", 5, 4)]},
            "The oldest trace that waits was found 20 min ago",
            "lanes",
            "warn",
        ),
    ],
)
def test_each_trouble_says_what_and_what_to_do(changes: dict[str, Any], what: str, todo: str, level: str) -> None:
    found = health(**changes)
    assert found.headline.startswith(what)
    assert todo in found.troubles[0].todo
    assert found.level == level


def test_the_gravest_comes_first_and_the_others_are_counted() -> None:
    found = health(leader=None, load=Load(timedelta(), 0.5))
    assert found.headline == "Nobody leads: nothing new is found, no alert is sent, and 1 more"
    assert [each.is_grave for each in found.troubles] == [True, False]
    assert found.as_json()["troubles"][0]["is_grave"] is True


def test_without_an_objective_nothing_is_missed() -> None:
    known: Status = status(kept=[Kept("tone", 100, 10, 0)])
    assert health_of(known, ServiceConfig(), NOW).level == "well"
