"""Writes into docs/rules.md what rules find in recorded runs of an agent, and how often those runs failed.

`--check` only says whether the table is fresh. Without the recordings (../shared/data) neither can be done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from statsmodels.stats.proportion import confint_proportions_2indep

from rules import Rule, collect
from rules.document import markdown
from sandbox.plans import TracePlan
from sandbox.replay import runs
from traces import Observation, Trace, Verdict

PAGE = Path(__file__).parent / "rules.md"
RECORDED = Path(__file__).parents[2] / "shared" / "data" / "tau_bench_airline" / "gpt-4o-airline.json.gz"

ASKED: Sequence[Mapping[str, Any]] = (
    {"rule": "repeated_tool_calls", "limit": 1},
    {"rule": "repeated_tool_calls", "limit": 2},
    {"rule": "tool_errors"},
    {"rule": "tool_errors", "limit": 2},
    {"rule": "tool_errors", "limit": 99, "streak": 1},
    {"rule": "progress", "limit": 0},
    {"rule": "progress", "limit": 1},
    {"rule": "ends_with_answer"},
    {"rule": "ends_with_answer", "final": ["transfer_to_human_agents"]},
    {"rule": "answer_or_call"},
    {"rule": "answer_or_call", "limit": 2},
    {"rule": "max_steps", "steps": 15},
    {"rule": "max_steps", "steps": 25},
    {"rule": "max_steps", "steps": 8, "type": "TOOL"},
    {"rule": "max_steps", "steps": 15, "type": "TOOL"},
    {"rule": "max_retries", "limit": 0},
    {"rule": "forbidden_tools", "tools": ["transfer_to_human_agents"]},
    {"rule": "required_tools", "tools": ["get_user_details"]},
    {"rule": "required_tools", "tools": ["get_user_details", "get_reservation_details"], "in_order": True},
)
"""What was asked: kinds that look at an agent's run, with limits such as a team would begin with."""


class Finding(NamedTuple):
    """A rule over all runs: how many it scored, how many it failed, and failed tasks among these and the others."""

    rule: Mapping[str, Any]
    scored: int
    found: int
    failed_with: int
    failed_without: int

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of failed tasks with the finding and without."""
        return self.failed_with / self.found, self.failed_without / (self.scored - self.found)

    @property
    def difference(self) -> float:
        """How much more often tasks with the finding failed."""
        return self.shares[0] - self.shares[1]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference: Newcombe's, of Wilson's intervals (Newcombe 1998, method 10)."""
        low, high = confint_proportions_2indep(
            self.failed_with, self.found, self.failed_without, self.scored - self.found, method="newcomb"
        )
        return float(low), float(high)


def recorded(path: Path = RECORDED) -> Iterator[tuple[Trace, bool]]:
    """Give the runs as traces, each with whether its task was done."""
    for plan in runs(path, datetime(2026, 1, 1, tzinfo=UTC)):
        yield _trace(plan), bool(plan.scores[0].value)


def findings(path: Path = RECORDED) -> list[Finding]:
    """Return what each rule finds, the surest sign of failure first."""
    every = list(recorded(path))
    kinds = collect()
    found = [_finding(asked, _rule(asked, kinds), every) for asked in ASKED]
    told = [each for each in found if 0 < each.found < each.scored]
    return sorted(told, key=lambda each: each.interval[0], reverse=True)


def table(found: Sequence[Finding]) -> str:
    """Return findings as Markdown."""
    lines = [
        "| rule | finds something in | failed with it | without | difference (95 % interval) |",
        "|---|---:|---:|---:|---|",
    ]
    for each in found:
        kind, *rest = (f"{value}" if key == "rule" else f"{key}: {_shown(value)}" for key, value in each.rule.items())
        named = f"[{kind}](#{kind}){' ' if rest else ''}{', '.join(rest)}"
        with_it, without = each.shares
        low, high = each.interval
        shares = f"{with_it:.0%} | {without:.0%}"
        lines.append(f"| {named} | {each.found} | {shares} | {each.difference:+.0%} ({low:+.0%} to {high:+.0%}) |")
    return "\n".join(lines)


def main() -> int:
    """Write the table, or with `--check` return 1 when it is stale."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = markdown(collect(), table(findings()))
    if "--check" not in sys.argv:
        PAGE.write_text(fresh, encoding="utf-8")
    return int("--check" in sys.argv and fresh != page)


def _rule(asked: Mapping[str, Any], kinds: Mapping[str, type[Rule]]) -> Rule:
    return kinds[asked["rule"]].model_validate({key: value for key, value in asked.items() if key != "rule"})


def _finding(asked: Mapping[str, Any], rule: Rule, every: Sequence[tuple[Trace, bool]]) -> Finding:
    said = [(found.value, done) for run, done in every if isinstance(found := rule.check(run), Verdict)]
    with_it = [done for passed, done in said if not passed]
    without = [done for passed, done in said if passed]
    return Finding(asked, len(said), len(with_it), with_it.count(False), without.count(False))


def _shown(value: Any) -> str:
    return ", ".join(f"`{each}`" for each in value) if isinstance(value, list) else f"{value}"


def _trace(plan: TracePlan) -> Trace:
    """Return a planned trace as it would be read back from Langfuse."""
    steps = [
        Observation(
            id=span.id,
            trace_id=plan.id,
            type=span.type,
            name=span.name,
            start=span.start,
            end=span.end,
            parent_id=span.parent_id,
            is_root=span.parent_id is None,
            input=span.input,
            output=span.output,
            level=span.level,
            status_message=span.status_message,
        )
        for span in plan.spans
    ]
    root = next(step for step in steps if step.is_root)
    ordered = sorted(steps, key=lambda step: (step.start, not step.is_root))
    return Trace(plan.id, root, tuple(ordered), plan.name, user_id=plan.user_id, session_id=plan.session_id)


if __name__ == "__main__":
    sys.exit(main())
