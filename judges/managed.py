"""Criteria kept in Langfuse's prompt management instead of the rubric's file."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LABEL: Final = "production"
"""The label of the version that is used when a rubric names none."""

_VARIABLE: Final = re.compile(r"\{\{\s*([^{}\s][^{}]{0,80}?)\s*\}\}")


class PromptSource(BaseModel):
    """A text prompt of Langfuse: its name, and which of its versions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    langfuse: str = Field(min_length=1, max_length=255, description="name of a text prompt in Langfuse")
    label: str | None = Field(default=None, min_length=1, description=f"its version with this label; else {LABEL}")
    version: int | None = Field(default=None, ge=1, description="its version of this number, whatever its labels")

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if self.label is not None and self.version is not None:
            raise ValueError("a version has a label or a number: leave out one of them")
        return self

    @property
    def wanted_label(self) -> str | None:
        """The label of the version to take; None where its number says which."""
        return None if self.version is not None else self.label or LABEL

    def __str__(self) -> str:
        return f"{self.langfuse}:{self.version}" if self.version is not None else f"{self.langfuse}@{self.wanted_label}"


class ManagedPrompt(BaseModel):
    """One version of a prompt, as Langfuse gave it."""

    model_config = ConfigDict(frozen=True)

    text: str = Field(min_length=1)
    version: int = Field(ge=1)


def without_variables(text: str, inputs: Collection[str]) -> str:
    """Return a prompt in which inputs are named where others would paste them: what is judged stands in its fence."""
    return _VARIABLE.sub(lambda found: f'"{found[1]}"' if found[1] in inputs else found[0], text)


def unknown_variables(text: str, inputs: Collection[str]) -> list[str]:
    """Return the variables of a prompt that are no inputs, in their order: the judge would read them as they are."""
    return list(dict.fromkeys(name for name in _VARIABLE.findall(text) if name not in inputs))
