"""The starter configuration that `evaluator init` writes: the one the product itself is tested with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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


def write_starter(destination: Path) -> Iterator[tuple[Path, bool]]:
    """Copy the starter configuration; files that exist are kept. Yields each path and whether it was written.

    Raises:
        ConfigError: the destination cannot be written.
    """
    source = folder()
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        target = destination / file.relative_to(source)
        if target.exists():
            yield target, False
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        except OSError as error:
            raise ConfigError([Problem(str(target), f"cannot be written: {error}")]) from error
        yield target, True
