"""The table of what rules find in recorded runs is what they find, by another way of counting and of intervals."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from statsmodels.stats.proportion import proportion_confint

import rules
from rules.document import inside, markdown

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_findings", ROOT / "docs" / "findings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_findings"] = module
    spec.loader.exec_module(module)
    if not module.RECORDED.exists():
        pytest.skip(f"{module.RECORDED} is not on this machine")
    return module


def test_the_table_is_what_the_rules_find(script: ModuleType) -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert inside(page, "findings") == script.table(script.findings())


def test_of_two_hundred_runs_a_hundred_and_sixteen_failed(script: ModuleType) -> None:
    done = [done for _, done in script.recorded()]
    assert (len(done), done.count(False)) == (200, 116)


def test_intervals_are_newcombes_of_wilsons(script: ModuleType) -> None:
    for found in script.findings():
        others = found.scored - found.found
        (low, high), (low_without, high_without) = (
            proportion_confint(*pair, method="wilson")
            for pair in ((found.failed_with, found.found), (found.failed_without, others))
        )
        with_it, without = found.shares
        below = ((with_it - low) ** 2 + (high_without - without) ** 2) ** 0.5
        above = ((high - with_it) ** 2 + (without - low_without) ** 2) ** 0.5
        expected = (found.difference - below, found.difference + above)
        assert found.interval == pytest.approx(expected, abs=1e-9)


def test_the_surest_sign_comes_first(script: ModuleType) -> None:
    found = script.findings()
    lows = [each.interval[0] for each in found]
    assert lows == sorted(lows, reverse=True)
    assert all(0 < each.found < each.scored <= 200 for each in found)


def test_a_page_keeps_its_table_when_it_is_written_anew() -> None:
    page = markdown(rules.collect(), "| a |\n|---|")
    assert inside(page, "findings") == "| a |\n|---|"
    assert markdown(rules.collect(), inside(page, "findings")) == page
    assert inside(markdown({}), "findings") == ""
    assert inside("nothing of the kind", "findings") == ""
