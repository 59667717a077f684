"""Budgets as the definitions set them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evaluator.definitions import load
from evaluator.errors import ConfigError
from evaluator.messages.words import rates
from evaluator.money.budgets import budgets_of
from evaluator.state.ledger import EVERYBODY, billionths
from traces import Quota

RUBRIC = "name: {0}\ninputs: {{answer: $.root.output}}\ncriteria: Is it {0}?\nscore: {{type: boolean}}\n"
PRICES = "models: {prices: {gpt-5.4-mini: {input: 0.25, output: 2}}}\n"


def write(folder: Path, service: str = "", **rubrics: str) -> Path:
    (folder / "rubrics").mkdir(exist_ok=True)
    (folder / "evaluator.yaml").write_text(PRICES + service)
    for name, more in rubrics.items():
        (folder / "rubrics" / f"{name}.yaml").write_text(RUBRIC.format(name) + more)
    return folder


def test_a_rubric_has_a_budget_beside_that_of_all(tmp_path: Path) -> None:
    folder = write(tmp_path, "budget: {usd_per_day: 20, catch_up: true}\n", a="budget: {usd_per_day: 2}\n", b="")
    budgets = budgets_of(load(folder))
    assert budgets.limits == {"a": 2, EVERYBODY: 20}
    assert budgets.holding("a") == {"a": 2, EVERYBODY: 20}
    assert budgets.holding("b") == {EVERYBODY: 20}
    assert budgets.catch_up == {"a", "b"}


def test_each_rubric_may_say_whether_it_catches_up(tmp_path: Path) -> None:
    folder = write(tmp_path, "budget: {catch_up: true}\n", a="budget: {catch_up: false}\n", b="")
    budgets = budgets_of(load(folder))
    assert not budgets.are_set
    assert budgets.catch_up == {"b"}


def test_a_budget_is_no_part_of_the_version(tmp_path: Path) -> None:
    before = load(write(tmp_path, a="")).evaluators[0].version
    assert load(write(tmp_path, a="budget: {usd_per_day: 2}\n")).evaluators[0].version == before


def test_a_budget_of_a_model_without_a_price_is_a_problem(tmp_path: Path) -> None:
    folder = write(tmp_path, a="judge: {jury: [other]}\nbudget: {usd_per_day: 1}\n", b="judge: {model: third}\n")
    with pytest.raises(ConfigError) as raised:
        load(folder)
    (problem,) = raised.value.problems
    assert problem.where == f"{tmp_path / 'evaluator.yaml'}:1:1"
    assert problem.what.startswith("models.prices: no price for 'other', which rubric 'a' asks under a budget")
    assert "`other: {input: ..., output: ...}`" in problem.what
    with pytest.raises(ConfigError, match="no price for 'third'"):
        load(write(tmp_path, "budget: {usd_per_day: 20}\n"))


@pytest.mark.parametrize("usd", ["0", "-1", "much"])
def test_a_budget_is_more_than_nothing(tmp_path: Path, usd: str) -> None:
    with pytest.raises(ConfigError, match="usd_per_day"):
        load(write(tmp_path, f"budget: {{usd_per_day: {usd}}}\n"))


def test_amounts_are_kept_exactly_and_never_as_nothing() -> None:
    assert billionths(0.3) == 300_000_000
    assert billionths(0.1) + billionths(0.2) == billionths(0.3)
    assert billionths(1e-12) == 1
    assert billionths(0) == 0


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [("500/day", 500, "judgements"), ("5 USD/day", 5, "USD"), ("0.5USD / day", 0.5, "USD")],
)
def test_a_line_of_sample_may_have_a_budget(tmp_path: Path, text: str, amount: float, unit: str) -> None:
    definitions = load(write(tmp_path, a=f"sample: {{budget: {text}}}\n"))
    (line,) = definitions.evaluators[0].sample
    assert line.budget == Quota(amount, "USD" if unit == "USD" else "judgements")
    assert line.rate == 1
    assert not budgets_of(definitions).are_set
    assert rates(definitions.evaluators[0]) == f"{amount:g}{' USD' if unit == 'USD' else ''}/day"


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ("{budget: 500}", "expected a budget such as 500/day or 5 USD/day, not '500'"),
        ("{budget: 0/day}", "expected a budget such as 500/day or 5 USD/day, not '0/day'"),
        ("{budget: 5 EUR/day}", "expected a budget such as 500/day or 5 USD/day"),
        ("[{when: {level: ERROR}}]", "needs rate, such as 0.05, or budget, such as 500/day"),
        ("[]", "sample: must not be empty"),
    ],
)
def test_mistakes_in_sample(tmp_path: Path, sample: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load(write(tmp_path, a=f"sample: {sample}\n"))


def test_a_rule_has_no_budget_in_money(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "rules.yaml").write_text("- {name: a, rule: not_empty, sample: {budget: 1 USD/day}}\n")
    with pytest.raises(ConfigError, match="a rule costs nothing; say how many a day"):
        load(tmp_path)


def test_a_budget_in_money_of_a_line_needs_a_price(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no price for 'third'"):
        load(write(tmp_path, a="judge: {model: third}\nsample: {budget: 1 USD/day}\n"))
