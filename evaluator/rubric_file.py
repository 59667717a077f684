"""One version of a rubric from wherever it is kept: a configuration folder, or a file of its own."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from evaluator.definitions import load
from evaluator.errors import ConfigError, Problem
from evaluator.mistakes import problems_of
from evaluator.yaml_source import read
from judges import Rubric, RubricSpec


def rubric_in(place: Path, name: str) -> Rubric:
    """Return the rubric of this name in a configuration folder, or the one in a file, whatever its name is there.

    Raises:
        ConfigError: it is not there, or has mistakes.
    """
    if place.is_dir():
        (found,) = load(place).rubrics([name])
        return found
    source = read(place)
    if source is None:
        raise ConfigError([Problem(str(place), "is neither a folder nor a file of a rubric")])
    if source.problems:
        raise ConfigError(source.problems)
    try:
        return Rubric(RubricSpec.model_validate(source.value))
    except ValidationError as error:
        raise ConfigError(problems_of(error, source, RubricSpec)) from None
