"""Finding the kinds: every `Rule` in a module of this package, of an installed one, or in a file of a team's folder.

Nothing registers itself, so there is no call to forget, no order of imports that matters and no central list to edit.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Final

from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from rules.base import Rule

GROUP: Final = "evaluator.rules"
"""Entry points of this group name modules whose rules are found wherever the package is installed."""

RESERVED: Final = frozenset({"name", "rule", "when", "sample", "description", "target", "observe", "severity"})
"""Keys of every definition, whatever its kind: no kind may have a field of this name."""

_HERE: Final = Path(__file__).parent
_KIND: Final = re.compile(r"[a-z][a-z0-9_]*")


def collect(*folders: Path, installed: bool = False) -> Mapping[str, type[Rule]]:
    """Return every kind by name: ours, with `installed` those of packages, then those in each folder's `.py` files.

    A package has an entry point of the group `evaluator.rules` that names a module; its kinds are those defined in this
    module and in the modules below it that it imports.

    Files whose name starts with `_` or `test_`, and `conftest.py`, are left out. Each file stands for itself: it is
    imported anew under a name of its own, and cannot import its neighbours.

    Raises:
        ValueError: a folder does not exist, a file or package cannot be imported, two classes claim one kind (both
            places are named), or a class cannot be a kind.
    """
    kinds: dict[str, type[Rule]] = {}
    for module in _modules(folders, installed=installed):
        for rule in _rules_of(module):
            _refuse_what_is_no_kind(rule)
            known = kinds.setdefault(rule.kind, rule)
            if known is not rule:
                raise ValueError(f"two rules are called {rule.kind!r}: {_place(known)} and {_place(rule)}")
    return MappingProxyType(dict(sorted(kinds.items())))


def _modules(folders: Iterable[Path], *, installed: bool) -> Iterator[ModuleType]:
    for file in _files(_HERE):
        yield importlib.import_module(f"{__package__}.{file.stem}")
    if installed:
        yield from _installed()
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; rules_path names a folder of Python files")
        for file in _files(folder):
            yield _imported(file)


def _installed() -> Iterator[ModuleType]:
    """Import what packages offer, in the order of their names; one offered twice comes once."""
    offered = {point.value: point for point in importlib.metadata.entry_points(group=GROUP)}
    for value, point in sorted(offered.items()):
        package = point.dist.name if point.dist is not None else "a package"
        try:
            module = point.load()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise ValueError(f"the rules of {package} ({value}) cannot be imported: {why}") from error
        if not isinstance(module, ModuleType):
            what = f"the entry point {point.name!r} of {package} names no module: {value!r}"
            raise ValueError(what)  # noqa: TRY004 - as every other way not to be found
        yield module


def _files(folder: Path) -> list[Path]:
    return [
        file
        for file in sorted(folder.glob("*.py"))
        if not file.name.startswith(("_", "test_")) and file.name != "conftest.py"
    ]


def _imported(file: Path) -> ModuleType:
    """Import one file under a private name: two folders may each have a `text.py`."""
    name = f"_rules_{sha256(str(file.resolve()).encode()).hexdigest()[:12]}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Before it is executed: pydantic looks a class's module up there to understand annotations that are only text.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _rules_of(module: ModuleType) -> list[type[Rule]]:
    """Return the kinds that are defined in a module or below it, in order; not imported or abstract ones."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Rule)
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
        and not inspect.isabstract(value)
    ]
    return list(dict.fromkeys(found))


def _refuse_what_is_no_kind(rule: type[Rule]) -> None:
    if _KIND.fullmatch(rule.kind) is None:
        raise ValueError(f"{_place(rule)}: kind {rule.kind!r} must be in snake case, such as not_empty")
    try:
        rule.model_rebuild()
    except (PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise ValueError(f"{_place(rule)}: a field's type cannot be understood: {error}") from error
    taken = sorted({info.alias or field for field, info in rule.model_fields.items()} & RESERVED)
    if taken:
        raise ValueError(f"{_place(rule)}: a field may not be called {taken[0]!r}, which every definition has")


def _place(rule: type[Rule]) -> str:
    return f"{rule.__name__} in {inspect.getsourcefile(rule)}"
