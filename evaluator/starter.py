"""The starter configuration that `evaluator init` writes: the one the product itself is tested with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from evaluator.errors import ConfigError, Problem

_INSTALLED = Path(__file__).parent / "starter"
_CHECKOUT = Path(__file__).parents[1] / "config"


def folder() -> Path:
    """Return where the starter configuration lies: in the wheel, or in the checkout of an editable install.

    Raises:
        ConfigError: neither is there.
    """
    for place in (_INSTALLED, _CHECKOUT):
        if place.is_dir():
            return place
    raise ConfigError([Problem(str(_INSTALLED), "is missing from this installation: install evaluator again")])


def write_starter(destination: Path) -> list[tuple[Path, bool]]:
    """Copy the starter configuration; files that exist are kept. Returns each path and whether it was written.

    Raises:
        ConfigError: the destination cannot be written.
    """
    source = folder()
    files = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
    return [
        (destination / file, _written(source / file, destination / file))
        for file in files
        if not file.name.startswith(".")
    ]


def _written(file: Path, target: Path) -> bool:
    """Copy one file unless there is something in its place, a broken link included."""
    if os.path.lexists(target):
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    except OSError as error:
        raise ConfigError([Problem(str(target), f"cannot be written: {error.strerror}")]) from error
    return True
