"""What tokens cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

_MILLION = 1_000_000


class Price(BaseModel):
    """A model's price in USD per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, description="USD per million input tokens")
    output: float = Field(ge=0, description="USD per million output tokens")

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Return the cost in USD."""
        return (input_tokens * self.input + output_tokens * self.output) / _MILLION
