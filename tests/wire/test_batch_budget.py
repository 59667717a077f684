"""Rubrics with `lane: batch` and a budget: what is on its way is reserved, what is spent was on the provider's bill."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from evaluator.app import App
from evaluator.sampling.jobs import Job
from evaluator.state.ledger import EVERYBODY
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Traffic

PRICES: Final = "models: {prices: {gpt-5.4-mini: {input: 10, output: 100}}}\nbatches: {every: 10m}\n"
SLOW: Final = RUBRIC + "judge: {lane: batch, max_output_tokens: 100}\n"
MOST: Final = 0.02
"""USD that a question of `SLOW` reserves in a batch, rounded up."""


def found(app: App) -> list[Job]:
    jobs: list[Job] = []
    app.discovery(jobs.extend).since(app.clock.now() - timedelta(hours=1))
    return jobs


def stepped(app: App) -> list[Job]:
    """Move batches on once; return the jobs that came back."""
    back: list[Job] = []
    app.batches.step(back.extend, "me", at_once=True)
    return back


def held(app: App) -> float:
    return app.money.ledger.held(app.clock.now().date()).get(EVERYBODY, 0.0)


def spent(app: App) -> float:
    return app.money.ledger.spent(app.clock.now().date()).get(EVERYBODY, 0.0)


def billed(sandbox: Sandbox) -> float:
    counts = sandbox.model.counts()
    return (int(counts["input_tokens"]) * 10 + int(counts["output_tokens"]) * 100) / 1e6 / 2


def test_what_is_on_its_way_is_reserved_and_what_it_cost_is_spent(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(5)
    sandbox.model.batches.faults.seconds = 3600
    folder = config(rules="[]", rubrics={"helpfulness": SLOW}, service=SERVICE + PRICES + "budget: {usd_per_day: 5}\n")
    with service(folder) as app:
        app.evaluation.evaluate(found(app))
        assert stepped(app) == []
        reserved = held(app)
    assert 5 * MOST / 4 < reserved <= 5 * MOST
    sandbox.model.batches.faults.seconds = 0
    with service(folder) as app:
        assert held(app) == reserved
        assert app.evaluation.evaluate(stepped(app)) == []
        assert held(app) == 0.0
        assert spent(app) == pytest.approx(billed(sandbox), abs=1e-7)
        assert sum(used.usd for used in app.state.spending().values()) == pytest.approx(spent(app))


@pytest.mark.parametrize("fault", ["failed", "expired", "unsupported"])
def test_a_batch_that_comes_to_nothing_releases_its_money(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, fault: str
) -> None:
    traffic.add(3)
    setattr(sandbox.model.batches.faults, fault, True if fault == "unsupported" else 1.0)
    sandbox.model.batches.faults.answered = 0.0
    folder = config(rules="[]", rubrics={"helpfulness": SLOW}, service=SERVICE + PRICES + "budget: {usd_per_day: 5}\n")
    with service(folder) as app:
        app.evaluation.evaluate(found(app))
        for _ in range(4):
            back = stepped(app)
            if back:
                break
        assert len(back) == 3
        assert (held(app), spent(app)) == (0.0, 0.0)


@pytest.mark.parametrize("catch_up", [False, True])
def test_what_there_is_no_money_for_is_not_sent(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, catch_up: bool
) -> None:
    traffic.add(8)
    budget = f"budget: {{usd_per_day: {MOST / 2}, catch_up: {str(catch_up).lower()}}}\n"
    folder = config(rules="[]", rubrics={"helpfulness": SLOW}, service=SERVICE + PRICES + budget)
    sandbox.model.batches.faults.seconds = 3600
    with service(folder) as app:
        app.evaluation.evaluate(found(app))
        stepped(app)
        assert (app.batches.room.asked(), app.batches.room.waiting()[0]) == (1, 7)
        assert held(app) <= MOST
        assert stepped(app) == []  # the first is still on its way, and the rest waits for it
        sandbox.model.batches.faults.seconds = 0
        for _ in range(20):
            assert app.evaluation.evaluate(stepped(app)) == []
            if not app.batches.room.asked() and not app.batches.room.waiting()[0]:
                break
            assert held(app) + spent(app) <= 2 * MOST
        funnel = app.state.funnel()
        scored = funnel["helpfulness", "scored", ""]
        assert 0 < scored < 8
        assert spent(app) == pytest.approx(billed(sandbox), abs=1e-7)
        skipped, parked = funnel["helpfulness", "skipped", "no money left that day"], app.money.arrears.parked()
        assert (skipped, parked) == ((0, {"helpfulness": 8 - scored}) if catch_up else (8 - scored, {}))
