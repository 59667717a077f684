"""What every scale shares: how an answer is read, told from an abstention, and refused when it is no value."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from traces import DataType, Unscored, Verdict

CANNOT_JUDGE: Final = "cannot_judge"
"""The legal answer of a judge that cannot tell; no scale may have it as a value."""

UNTOLD: Final = "the judge could not tell"
"""The reason of an abstention that gives none."""

_WORDS: Final = {"true": True, "yes": True, "pass": True, "false": False, "no": False, "fail": False}


class OffScale(ValueError):
    """An answer is no value of the scale; the message says what was expected."""


class BaseScale(BaseModel, ABC):
    """What a judge may answer, and how its answer is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_type: ClassVar[DataType]
    """The type of the score in Langfuse."""

    @property
    @abstractmethod
    def asked(self) -> str:
        """How the judge is told what to answer."""

    @property
    def explained(self) -> str:
        """What stands below the criteria of the rubric: what each level means. Empty when nobody said."""
        return ""

    @abstractmethod
    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value, strict as OpenAI understands it."""

    @abstractmethod
    def parse(self, answer: Any) -> float | bool | str:
        """Read an answer strictly.

        Raises:
            OffScale: it is no value of the scale.
        """

    def has(self, value: float | bool | str) -> bool:
        """Whether a verdict may have this value, written just so."""
        try:
            return self.parse(value) == value
        except OffScale:
            return False

    def judged(self, answer: Any, reason: str) -> Verdict | Unscored:
        """Return what an answer says, an abstention included.

        Raises:
            OffScale: it is neither a value of the scale nor an abstention.
        """
        return Unscored(reason or UNTOLD) if abstains(answer) else Verdict(self.parse(answer), reason)


def abstains(answer: object) -> bool:
    """Whether an answer says that the judge cannot tell; null says so too."""
    if isinstance(answer, str):
        return re.sub(r"[ -]", "_", bare(answer)) == CANNOT_JUDGE
    return answer is None


def bare(word: str) -> str:
    """Return `word` in lower case, without what judges like to put around one."""
    return word.strip(" \t\r\n\"'`*.").casefold()


def yes_or_no(answer: object) -> bool | None:
    """Read an answer to a question of yes or no; None when it is neither."""
    if isinstance(answer, bool):
        return answer
    return _WORDS.get(bare(answer)) if isinstance(answer, str) else None


def explanations(title: str, meanings: Mapping[str, str]) -> str:
    """Return what each key means, below a title, as the judge reads it; empty when there is none."""
    lines = [f"{key}: {meaning.strip()}" for key, meaning in meanings.items()]
    return "\n".join([title, *lines]) if lines else ""


def quoted(words: tuple[str, ...]) -> str:
    """Return words in quotes, as a list in a sentence."""
    return ", ".join(f'"{word}"' for word in words)
