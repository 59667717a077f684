"""A checklist: several questions of yes or no, answered at once; the score is the weighted share of yes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic_core import CoreSchema

from judges.answer import CANNOT_JUDGE, UNTOLD, BaseScale, OffScale, abstains, explanations, quoted, yes_or_no
from traces import DataType, Unscored, Verdict, well_formed

CRITERIA: Final = "criteria"
"""Where a verdict's details hold the result of each criterion."""

LONGEST_FINDING: Final = 400
"""Characters of the reason for one criterion that are kept."""

_FORM: Final = '{"reason": one short sentence, "answer": "yes", "no" or "' + CANNOT_JUDGE + '"}'

CriterionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,34}$")]
"""A key of the answer, and behind the rubric's name the name of a score."""


class Criterion(BaseModel):
    """One question of a checklist; `yes` is good."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ask: str = Field(min_length=1, description="a question that yes or no answers; yes is good")
    weight: float = Field(default=1, gt=0, allow_inf_nan=False, description="its part of the score, beside the others'")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"ask": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "description": "the question alone"}, handler(schema)]}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one criterion; `answer` is None when the judge could not tell.

    `agreement` is the share of several opinions that say so, None when there was one.
    """

    answer: bool | None
    reason: str = ""
    agreement: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as it stands in a verdict's details."""
        shared = {} if self.agreement is None else {"agreement": self.agreement}
        return {"answer": self.answer, "reason": self.reason, **shared}


class ChecklistScale(BaseScale):
    """Named questions of yes or no; the score is the weighted share of yes among those that could be judged."""

    data_type: ClassVar = DataType.NUMERIC

    type: Literal["checklist"]
    criteria: dict[CriterionName, Criterion] = Field(min_length=1, description="the questions, by name")
    each: bool = Field(default=False, description="each criterion becomes a score of its own too")

    @property
    def asked(self) -> str:
        """How the judge is told what to answer."""
        return f"an object with each of the keys {quoted(tuple(self.criteria))}, and under each of them {_FORM}"

    @property
    def explained(self) -> str:
        """What is asked under each key."""
        return explanations("What each key asks:", {name: one.ask for name, one in self.criteria.items()})

    def answer_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value: each criterion with its reason first."""
        return {
            "type": "object",
            "description": self.asked,
            "properties": {name: _finding_schema(one.ask) for name, one in self.criteria.items()},
            "required": list(self.criteria),
            "additionalProperties": False,
        }

    def parse(self, answer: Any) -> float:
        """Read an answer strictly as the share of yes.

        Raises:
            OffScale: a criterion has no answer, or is unknown, or nothing could be judged.
        """
        share = self.share(self._findings(answer))
        if share is None:
            raise OffScale("expected an answer to at least one of the criteria")
        return share

    def has(self, value: float | bool | str) -> bool:
        """Whether a verdict may have this value: any share."""
        return not isinstance(value, bool | str) and 0 <= value <= 1

    def judged(self, answer: Any, reason: str) -> Verdict | Unscored:
        """Return the share with each criterion's result in its details; nothing judged is no score.

        Raises:
            OffScale: a criterion has no answer, or is unknown.
        """
        return Unscored(reason or UNTOLD) if abstains(answer) else self.verdict(self._findings(answer), reason)

    def verdict(self, findings: Mapping[str, Finding], reason: str) -> Verdict | Unscored:
        """Return what all findings say together; the reason names those that are no yes."""
        share = self.share(findings)
        lacking = [f"{name}: {_told(found)}" for name, found in findings.items() if not found.answer]
        told = "\n".join(part for part in (reason, *lacking) if part)
        if share is None:
            return Unscored(told or UNTOLD)
        return Verdict(share, told, details={CRITERIA: {name: found.as_json() for name, found in findings.items()}})

    def share(self, findings: Mapping[str, Finding]) -> float | None:
        """Return the weighted share of yes among what could be judged; None when nothing could."""
        judged = [(self.criteria[name].weight, found.answer) for name, found in findings.items()]
        known = [(weight, answer) for weight, answer in judged if answer is not None]
        if not known:
            return None
        return sum(weight for weight, answer in known if answer) / sum(weight for weight, _ in known)

    def findings_of(self, verdict: Verdict) -> dict[str, Finding]:
        """Return the results that a verdict's details hold; criteria it does not know are left out."""
        held = verdict.details.get(CRITERIA, {})
        return {name: Finding(**held[name]) for name in self.criteria if name in held}

    def parts(self, verdict: Verdict) -> dict[str, Verdict | Unscored]:
        """Return each criterion's result as an outcome of its own, by name; what they cost is the verdict's alone."""
        shared = {key: value for key, value in verdict.details.items() if key == "judge_model"}
        return {
            name: Unscored(found.reason or UNTOLD)
            if found.answer is None
            else Verdict(found.answer, found.reason, found.agreement, details=shared)
            for name, found in self.findings_of(verdict).items()
        }

    def _findings(self, answer: Any) -> dict[str, Finding]:
        if not isinstance(answer, Mapping) or set(answer) != set(self.criteria):
            raise OffScale(f"expected {self.asked}")
        return {name: self._finding(answer[name]) for name in self.criteria}

    def _finding(self, entry: Any) -> Finding:
        """Read the answer to one criterion, with its reason or bare."""
        if isinstance(entry, Mapping) and "answer" not in entry:
            raise OffScale(f"expected {self.asked}")
        said, reason = (entry["answer"], entry.get("reason")) if isinstance(entry, Mapping) else (entry, None)
        told = well_formed(reason).strip()[:LONGEST_FINDING] if isinstance(reason, str) else ""
        if abstains(said):
            return Finding(None, told)
        answer = yes_or_no(said)
        if answer is None:
            raise OffScale(f"expected {self.asked}")
        return Finding(answer, told)


def _finding_schema(ask: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": ask,
        "properties": {
            "reason": {"type": "string", "description": "one short sentence"},
            "answer": {"type": "string", "enum": ["yes", "no", CANNOT_JUDGE]},
        },
        "required": ["reason", "answer"],
        "additionalProperties": False,
    }


def _told(found: Finding) -> str:
    said = "no" if found.answer is False else "could not be judged"
    return f"{said}. {found.reason}" if found.reason else said
