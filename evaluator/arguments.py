"""What commands share: how arguments are read, and exit codes."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import typer

NOT_ASKED: Final = 3
"""Exit code when a judge could not be asked: nothing was learned about the rubric."""


def duration(text: str, option: str) -> timedelta:
    """Read a duration that an option was given.

    Raises:
        typer.BadParameter: it is none.
    """
    from pydantic import TypeAdapter, ValidationError

    from traces import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(said, param_hint=option) from error
