"""Which models answer a rubric, how often, and what their answer weighs: the part `judge` of its file."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_MODEL: Final = "gpt-5.4-mini"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Escalate(_Part):
    """Who is asked when the others are unsure."""

    model: str = Field(description="the stronger model")
    below: float = Field(default=0.7, gt=0, le=1, description="it is asked when their confidence is lower")


class Judge(_Part):
    """Which model answers, and how."""

    model: str = Field(default=DEFAULT_MODEL, description="name of the model at OPENAI_BASE_URL")
    temperature: float | None = Field(default=0.0, ge=0, le=2, description="null leaves it to the model")
    max_output_tokens: int = Field(default=1500, ge=50, description="of one answer, thinking included")
    samples: int = Field(default=1, ge=1, le=9, description="opinions of each model on each trace")
    jury: tuple[str, ...] = Field(
        default=(), max_length=8, description="models that are asked too; the opinions become one"
    )
    group: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,34}$",
        description="rubrics of the same group and model are answered in one call",
    )

    lane: Literal["live", "batch"] = Field(
        default="live", description="`batch` answers within a day at half the price, through the provider's batch API"
    )
    long: Literal["pack", "parts"] = Field(
        default="pack",
        description="material longer than the model's context: pack the most important of it into one prompt, or read "
        "it in parts, with notes carried over",
    )

    logprobs: bool = Field(
        default=False, description="weigh the score by the probabilities of all levels; the server must tell them"
    )
    escalate: Escalate | None = Field(default=None, description="who is asked too when the confidence is low")

    @model_validator(mode="after")
    def _one_opinion_in_a_group(self) -> Self:
        alone = len(self.models) > 1 or self.logprobs or self.escalate is not None
        if self.group is not None and alone:
            raise ValueError(
                "such opinions are asked for one by one: leave out group, or samples, jury, logprobs and escalate"
            )
        if self.lane == "batch" and (self.group is not None or alone):
            raise ValueError(
                "a batch holds single questions: leave out lane, or group, samples, jury, logprobs and escalate"
            )
        return self

    @model_validator(mode="after")
    def _escalates_with_reason(self) -> Self:
        if self.escalate is None:
            return self
        if not self.logprobs and len(self.models) == 1:
            raise ValueError("escalate needs a confidence, and one opinion has none: add logprobs, samples or a jury")
        if self.escalate.model in self.models:
            raise ValueError(f"escalate: {self.escalate.model!r} has been asked already")
        return self

    @model_validator(mode="after")
    def _opinions_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples of a model at temperature 0 are all the same: set a temperature, such as 0.7")
        if self.model in self.jury or len(set(self.jury)) < len(self.jury):
            raise ValueError("jury names a model twice; use samples to ask one several times")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """The models asked, one for each opinion."""
        return (self.model, *self.jury) * self.samples

    @property
    def every_model(self) -> tuple[str, ...]:
        """Each model that may be asked, once."""
        return (self.model, *self.jury, *((self.escalate.model,) if self.escalate is not None else ()))
