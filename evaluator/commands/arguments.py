"""What commands share: how arguments are read, and exit codes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import typer

NOT_ASKED: Final = 3
"""Exit code when a judge could not be asked: nothing was learned about the rubric."""


def percentage(text: str, option: str) -> float:
    """Read a share such as `3%` or `0.03`.

    Raises:
        typer.BadParameter: it is none.
    """
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise typer.BadParameter(f"{text!r} is no share such as 3% or 0.03", param_hint=option)
    return share


def instant(text: str, option: str) -> datetime:
    """Read a date, which is its midnight in UTC, or a date and time, in UTC when it names no zone.

    Raises:
        typer.BadParameter: it is none.
    """
    from monitors import moment

    found = moment(text)
    if not isinstance(found, datetime):
        raise typer.BadParameter(f"{text!r} is no date such as 2026-12-01 or 2026-12-01T14:00", param_hint=option)
    return found


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
