"""What tokens cost."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_MILLION = 1_000_000


class Price(BaseModel):
    """A model's price in USD per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, description="USD per million input tokens")
    output: float = Field(ge=0, description="USD per million output tokens")
    cached_input: float | None = Field(
        default=None,
        ge=0,
        description="USD per million input tokens that the provider's prompt cache held; null: as all others",
    )

    @model_validator(mode="after")
    def _cached_is_not_dearer(self) -> Self:
        # What is reserved before a call must be the most that it may cost.
        if self.cached_input is not None and self.cached_input > self.input:
            raise ValueError(f"cached_input ({self.cached_input:g}) is above input ({self.input:g})")
        return self

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """Return the cost in USD; `cached_tokens` are those of the input that a prompt cache held."""
        held = min(cached_tokens, input_tokens)
        cached = self.input if self.cached_input is None else self.cached_input
        return ((input_tokens - held) * self.input + held * cached + output_tokens * self.output) / _MILLION
