"""What is said of definitions that can be read: remarks that keep nothing from running, and what a budget lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evaluator.definitions.mistakes import near
from evaluator.definitions.service_config import ServiceConfig
from evaluator.errors import Problem
from judges import RubricSpec
from monitors import MonitorSpec


def remarks(
    service: ServiceConfig,
    names: Sequence[str],
    specs: Sequence[RubricSpec],
    monitors: Sequence[MonitorSpec],
    off: Mapping[str, str],
) -> Iterator[str]:
    """Give what a person should know of definitions without problems.

    `names` are those of all scores that are written, `off` those of rubrics that are switched off, with the rubric.
    """
    if not names:
        missing = "every rubric is switched off" if off else "no file in rubrics/"
        yield f"nothing will be evaluated: there is no rule in rules.yaml and {missing}"
    for monitor in monitors:
        meant = near(monitor.score, names)
        if monitor.score in off:
            rubric = off[monitor.score]
            yield f"monitors.yaml watches {monitor.score!r}, and rubric {rubric} is switched off (enabled: false)"
        elif monitor.score not in names and meant is not None:
            yield f"monitors.yaml watches {monitor.score!r}, which no evaluator here writes; did you mean {meant!r}?"
    yield from _group_remarks(specs)
    asked = service.models.asked_for(model for spec in specs for model in spec.judge.every_model)
    for model in sorted(set(asked) - set(service.models.known_prices)):
        yield f"evaluator.yaml has no price for {model!r} in models.prices: its calls will be counted at no cost"


def unpriced(folder: Path, service: ServiceConfig, specs: Sequence[RubricSpec]) -> Iterator[Problem]:
    """Give the models that a budget is meant to hold and cannot, since nobody says what they cost."""
    for spec in specs:
        in_money = any(line.budget is not None and line.budget.unit == "USD" for line in spec.sample)
        if service.budget.usd_per_day is None and spec.budget.usd_per_day is None and not in_money:
            continue
        for model in service.models.asked_for(spec.judge.every_model):
            if model not in service.models.known_prices:
                yield Problem(
                    f"{folder / 'evaluator.yaml'}:1:1",
                    f"models.prices: no price for {model!r}, which rubric {spec.name!r} asks under a budget: what it "
                    f"spends could not be counted; add `{model}: {{input: ..., output: ...}}`, 0 where it is free",
                )


def _group_remarks(specs: Sequence[RubricSpec]) -> Iterator[str]:
    groups: dict[str, list[RubricSpec]] = {}
    for spec in specs:
        if spec.judge.group is not None:
            groups.setdefault(spec.judge.group, []).append(spec)
    for group, members in groups.items():
        calls = len({spec.together for spec in members})
        if len(members) == 1:
            yield f"group {group!r} has one rubric, {members[0].name}: it is asked alone"
        elif calls > 1:
            yield f"group {group!r} takes {calls} calls: its rubrics differ in model, temperature or target"
