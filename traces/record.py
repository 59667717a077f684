"""How the values are declared of which every trace makes dozens: frozen for whoever checks types, not while running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

__all__ = ["record"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, slots: bool) -> Callable[[type[T]], type[T]]:
        """Declare a dataclass that is frozen by contract: `dataclass` itself sets each field of a frozen one by a call.

        That is three times the time, and was the largest single line in a profile of the service. Nothing of ours is
        changed in place: the type checker, part of the test command, holds these for frozen. Hash and equality are
        those of a frozen dataclass.
        """
        return dataclass(unsafe_hash=frozen, slots=slots)
