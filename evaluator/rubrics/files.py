"""One version of a rubric from wherever it is kept: a configuration folder, or a file of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from evaluator.definitions import Definitions, Evaluator, load
from evaluator.definitions.mistakes import problems_of
from evaluator.definitions.service_config import ServiceConfig
from evaluator.definitions.yaml_source import read
from evaluator.errors import ConfigError, Problem
from judges import Rubric, RubricSpec


def versions_in(place: Path, name: str) -> Definitions:
    """Return definitions with one rubric alone: the one of this name in a folder, or the one in a file of its own.

    Raises:
        ConfigError: it is not there, or has mistakes.
    """
    if place.is_dir():
        found = load(place).with_on([name])
        found.rubrics([name])
        return replace(found, evaluators=tuple(each for each in found.evaluators if each.name == name))
    source = read(place)
    if source is None:
        raise ConfigError([Problem(str(place), "is neither a folder nor a file of a rubric")])
    if source.problems:
        raise ConfigError(source.problems)
    try:
        rubric = Rubric(RubricSpec.model_validate(source.value))
    except ValidationError as error:
        raise ConfigError(problems_of(error, source, RubricSpec)) from None
    spec = rubric.spec
    only = Evaluator(spec.name, "rubric", spec.when, spec.sample, rubric.version, rubric.data_type, rubric=rubric)
    return Definitions(ServiceConfig(), (only,), (), place)
