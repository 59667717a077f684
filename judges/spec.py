"""What a rubric's file may say: inputs, judge, scale, golden examples."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import CoreSchema

from judges.answer import CANNOT_JUDGE
from judges.checklist import ChecklistScale
from judges.judge import Judge
from judges.managed import ManagedPrompt, PromptSource, without_variables
from judges.scale import NumericScale, Scale
from judges.weighing import unweighable
from traces import (
    DataType,
    Duration,
    Interval,
    Limit,
    Material,
    Observe,
    Outcome,
    Passage,
    Path,
    Sample,
    SampleRule,
    Target,
    Unscored,
    Verdict,
    When,
    as_text,
    in_characters,
    in_tokens,
)
from traces.targets import never_selects, only_with_observations

TRANSCRIPT: Final = "transcript"

LONGEST_VALUE: Final = 20_000
"""Characters shown of an input that gives no limit of its own; a transcript has none."""

LONGEST_NAME: Final = 35
"""Characters of a score's name that Langfuse lets be configured."""

InputName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,39}$")]
"""What the judge reads above an input, and what the reason says when it is missing."""


Source = Annotated[
    Annotated[Path, Tag("path")] | Annotated[Literal["transcript"], Tag("steps")],
    Discriminator(lambda given: "steps" if given == TRANSCRIPT else "path"),
]
"""Where an input comes from; told apart first, so that a wrong path is reported as a path and as nothing else."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Part):
    """Something the judge is shown."""

    path: Source = Field(description="a JSONPath over the trace, or `transcript` for all its steps as text")
    required: bool = Field(default=True, description="without it the rubric is skipped, and that is counted")
    default: str | None = Field(
        default=None,
        pattern=r"\S",
        description="shown to the judge when nothing matches: the input is never missing",
    )
    take: Literal["first", "last", "all"] = Field(default="all", description="which of several matches")
    max_chars: int | None = Field(
        default=None, ge=200, description="longer text is cut in its middle, and says so; 20,000 but for a transcript"
    )
    max_tokens: int | None = Field(default=None, ge=100, description="the same in tokens, estimated")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _missing_or_not(self) -> Self:
        if self.default is not None and self.required and "required" in self.model_fields_set:
            raise ValueError("an input with a default is never missing: leave out either required or default")
        return self

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.max_chars is not None and self.max_tokens is not None:
            raise ValueError("max_chars and max_tokens are two measures of one limit: leave one out")
        return self

    @property
    def limit(self) -> Limit | None:
        """The most that is shown of it; None for as much as the model's context holds."""
        if self.max_tokens is not None:
            return in_tokens(self.max_tokens)
        if self.max_chars is not None:
            return in_characters(self.max_chars)
        return in_characters(LONGEST_VALUE) if isinstance(self.path, Path) else None

    @property
    def skips(self) -> bool:
        """Whether the rubric is skipped where the input selects nothing."""
        return self.required and self.default is None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        short = {"type": "string", "pattern": rf"^(\$|{TRANSCRIPT}$)", "description": "the path alone"}
        return {"anyOf": [short, handler(schema)]}

    def text(self, material: Material) -> str:
        """Return what the input selects, as text; empty when it selects nothing."""
        if not isinstance(self.path, Path):
            return material.transcript()
        texts = [as_text(value) for value in self.path.values(material) if value not in (None, "", [], {})]
        said = [text for text in texts if text.strip()]
        return "\n\n".join({"first": said[:1], "last": said[-1:], "all": said}[self.take])

    def passage(self, material: Material) -> Passage:
        """Return what the input selects, as it may be packed or divided when it is too long."""
        return Passage.of(self.text(material)) if isinstance(self.path, Path) else material.passage()


class Budget(_Part):
    """What judging by this rubric may cost; the budget of evaluator.yaml holds beside it."""

    usd_per_day: float | None = Field(default=None, gt=0, description="USD a UTC day; null: no limit of its own")
    catch_up: bool | None = Field(
        default=None, description="judge later what there was no money for; null: as evaluator.yaml says"
    )


class Calibrate(_Part):
    """Which labels the judge is held against each week."""

    against: str = Field(min_length=1, description="name of the score that people give the same traces")
    floor: float | None = Field(
        default=None, gt=0, lt=1, description="kappa below which people are told; weighted where the scale has an order"
    )
    since: Duration = Field(default=timedelta(days=90), description="how old labels may be")
    pass_at: float | None = Field(
        default=None, description="where people say yes or no to a judge that gives numbers: from where on one passes"
    )
    random: bool = Field(
        default=False,
        description="what people label was drawn at random by yourselves: labels correct the mean; those that "
        "`evaluator label` drew do so anyway",
    )
    queue: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="annotation queue of `evaluator label`; null: the rubric's name and `labels`",
    )


class Anchors(_Part):
    """Frozen traces that the judge is asked about again and again, so that people hear when it moves."""

    size: int = Field(default=60, ge=20, le=500, description="how many; 60 see a move of about 5 % of the scale")
    samples: int = Field(
        default=1, ge=1, le=10, description="how often each is asked in one round: more where a judge wavers"
    )


class Expectation(_Part):
    """What the judge should answer to an example."""

    equals: float | bool | str | None = Field(default=None, description=f"exactly this; `{CANNOT_JUDGE}` is legal too")
    at_most: float | None = Field(default=None, description="at most this")
    at_least: float | None = Field(default=None, description="at least this")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.equals is None and self.at_most is None and self.at_least is None:
            raise ValueError("needs one of equals, at_most, at_least")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least ({self.at_least:g}) is above at_most ({self.at_most:g}): nothing can be both")
        return self

    @property
    def wanted(self) -> str:
        """What is expected, in words for a table."""
        match self.equals:
            case None:
                parts = []
            case bool() as yes:
                parts = ["true" if yes else "false"]
            case float() as number:
                parts = [f"{number:g}"]
            case str() as text:
                parts = [text]
        if self.at_least is not None and self.at_most is not None:
            return " and ".join([*parts, f"{self.at_least:g} to {self.at_most:g}"])
        parts += [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        parts += [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return " and ".join(parts)

    def met_by(self, outcome: Outcome) -> bool:
        """Whether a judge's outcome is as expected; an abstention is when `cannot_judge` is, a failure never."""
        if isinstance(outcome, Unscored):
            return self.equals == CANNOT_JUDGE
        return isinstance(outcome, Verdict) and self.holds(outcome.value)

    def holds(self, value: float | bool | str) -> bool:
        """Whether a verdict's value is as expected."""
        if self.equals is not None and value != self.equals:
            return False
        if isinstance(value, str):
            return self.at_most is None and self.at_least is None
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


class Example(_Part):
    """A golden test: inputs by name, and what the judge should answer."""

    name: str = Field(default="", max_length=60, description="what reports call it; by default its number")
    description: str = Field(default="", description="for people: why this is the right answer")
    inputs: dict[str, Any] = Field(description="each input by name: its text, or what its path would select")
    expect: Expectation = Field(description="what the judge should answer")


class RubricSpec(_Part):
    """One file of config/rubrics: a judgement by a language model."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.()-]{0,34}$", description="name of the score in Langfuse; 1 to 35 characters"
    )
    description: str = Field(default="", description="for people")
    enabled: bool = Field(default=True, description="false: checked with the others, and not run")
    target: Target = Field(default="trace", description="what is judged and gets the score")
    observe: Observe | None = Field(default=None, description="with `target: observation`: which ones")
    idle: Interval = Field(
        default=timedelta(minutes=30), description="with `target: session`: judged when nothing came for so long"
    )
    when: When = Field(default=When(), description="which traces, or sessions by any of their traces; without it, all")
    sample: Sample = Field(default=(SampleRule(rate=0.05),), description="at which rate; without it, 5 %")
    inputs: dict[InputName, Input] = Field(min_length=1, description="what the judge is shown, by name")
    criteria: str = Field(default="", min_length=1, description="what to judge and what each level means")
    prompt: PromptSource | None = Field(default=None, description="a prompt in Langfuse that holds the criteria")
    score: Scale = Field(description="what the judge may answer")
    vision: bool = Field(
        default=False,
        description="show the images and PDF files that the inputs refer to; the model must be able to see",
    )
    judge: Judge = Field(default=Judge(), description="which model answers")
    budget: Budget = Field(default=Budget(), description="what it may cost")
    calibrate: Calibrate | None = Field(default=None, description="the weekly comparison with people")
    anchors: Anchors | None = Field(default=None, description="frozen traces that show whether the judge itself moves")
    examples: tuple[Example, ...] = Field(default=(), description="golden tests: they never change the version")

    @model_validator(mode="after")
    def _has_criteria(self) -> Self:
        if self.criteria and self.prompt is not None:
            raise ValueError("criteria stand in the file or in a prompt of Langfuse: leave out criteria or prompt")
        if not self.criteria and self.prompt is None:
            raise ValueError("needs criteria, or the prompt in Langfuse that holds them: prompt: {langfuse: NAME}")
        return self

    @property
    def awaits_prompt(self) -> bool:
        """Whether its criteria are still to be had from Langfuse."""
        return self.prompt is not None and not self.criteria

    def with_prompt(self, managed: ManagedPrompt) -> RubricSpec:
        """Return the rubric with the criteria that Langfuse holds, bound to their version."""
        if self.prompt is None:
            return self
        bound = PromptSource(langfuse=self.prompt.langfuse, version=managed.version)
        return self.model_copy(update={"criteria": without_variables(managed.text, self.inputs), "prompt": bound})

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of all scores the rubric gives: its own, and with `each` one for each criterion."""
        each = self.score.criteria if isinstance(self.score, ChecklistScale) and self.score.each else ()
        return self.name, *(self.part_name(criterion) for criterion in each)

    @property
    def together(self) -> tuple[str, str, str, float | None] | None:
        """What rubrics answered in one call have in common; None for one that is asked alone."""
        judge = self.judge
        return None if judge.group is None else (judge.group, self.target, judge.model, judge.temperature)

    def part_name(self, criterion: str) -> str:
        """Return the name of the score of one criterion."""
        return f"{self.name}.{criterion}"

    @model_validator(mode="after")
    def _can_be_weighed(self) -> Self:
        if self.judge.logprobs and (problem := unweighable(self.score)):
            raise ValueError(f"judge.logprobs: {problem}")
        return self

    @model_validator(mode="after")
    def _anchors_fit(self) -> Self:
        if self.anchors is not None and self.score.data_type is DataType.CATEGORICAL:
            raise ValueError("anchors need a score of numbers, or of yes and no: labels have no mean that could move")
        return self

    @model_validator(mode="after")
    def _target_fits(self) -> Self:
        only_with_observations(self.target, self.observe)
        if "idle" in self.model_fields_set and self.target != "session":
            raise ValueError("idle belongs to `target: session`: when a trace is finished, evaluator.yaml says for all")
        for name, source in self.inputs.items():
            problem = never_selects(source.path, self.target) if isinstance(source.path, Path) else None
            if problem is not None:
                raise ValueError(f"inputs.{name}: {problem}")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        long = next((name for name in self.score_names if len(name) > LONGEST_NAME), None)
        if long is not None:
            raise ValueError(
                f"score.each gives a score {long!r}, and a name has at most {LONGEST_NAME} characters: "
                "shorten the criterion or the rubric's name"
            )
        return self

    @model_validator(mode="after")
    def _examples_fit(self) -> Self:
        named = Counter(example.name for example in self.examples if example.name)
        if twice := [name for name, times in named.items() if times > 1]:
            raise ValueError(f"two examples are named {twice[0]!r}: reports could not tell them apart")
        for number, example in enumerate(self.examples):
            unknown = sorted(set(example.inputs) - set(self.inputs))
            needed = {name for name, source in self.inputs.items() if source.skips}
            missing = sorted(needed - set(example.inputs))
            if unknown or missing:
                said = f"unknown input {unknown[0]!r}" if unknown else f"input {missing[0]!r} is missing"
                raise ValueError(f"example {number + 1}: {said}; the inputs are {', '.join(self.inputs)}")
            if problem := _unreachable(example.expect, self.score):
                raise ValueError(f"example {number + 1}: {problem}")
        return self


def _unreachable(expected: Expectation, scale: Scale) -> str | None:
    """Say why no answer on the scale can be as expected; None when one can."""
    limits = [limit for limit in (expected.at_most, expected.at_least) if limit is not None]
    if limits and scale.data_type is not DataType.NUMERIC:
        return f"at_most and at_least need numbers; expect equals: {scale.asked}"
    wanted = [] if expected.equals in {None, CANNOT_JUDGE} else [expected.equals]
    reachable = all(_within(limit, scale) for limit in limits) and all(scale.has(value) for value in wanted)
    if reachable:
        return None
    may_be = "a share from 0 to 1" if isinstance(scale, ChecklistScale) else scale.asked
    return f"no answer can be as expected; an answer is {may_be}"


def _within(limit: float, scale: Scale) -> bool:
    """Whether a limit lies within the scale; it need not be one of its levels."""
    return scale.min <= limit <= scale.max if isinstance(scale, NumericScale) else scale.has(limit)
