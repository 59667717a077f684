"""LLM-as-judge without IO: a rubric becomes questions, replies become outcomes."""

from judges.answer import CANNOT_JUDGE, BaseScale, OffScale
from judges.asking import (
    DECLINED,
    NO_CHOICE,
    NO_LOGPROBS,
    UNTOLD_LOGPROBS,
    Attachment,
    Member,
    Prompt,
    Question,
    Reply,
)
from judges.checklist import ChecklistScale, Criterion, Finding
from judges.fence import MATERIAL
from judges.fitting import OF_MATERIAL
from judges.grouping import Call, GroupQuestion, Share, answers_of, asked_alone, shares, together
from judges.managed import ManagedPrompt, PromptSource, unknown_variables, without_variables
from judges.opinions import CACHED, FINGERPRINT, PANEL, combined, escalated, unsure
from judges.parts import PartPrompt
from judges.price import Price
from judges.redaction import Redaction
from judges.rubric import DEFAULT_CONTEXT, NO_PROMPT, Rubric, grouped
from judges.scale import BooleanScale, CategoricalScale, NumericScale, Scale
from judges.spec import Anchors, Calibrate, Example, Expectation, RubricSpec
from judges.suspicion import suspected
from judges.weighing import Token, unweighable, weighed

__all__ = [
    "CACHED",
    "CANNOT_JUDGE",
    "DECLINED",
    "DEFAULT_CONTEXT",
    "FINGERPRINT",
    "MATERIAL",
    "NO_CHOICE",
    "NO_LOGPROBS",
    "NO_PROMPT",
    "OF_MATERIAL",
    "PANEL",
    "UNTOLD_LOGPROBS",
    "Anchors",
    "Attachment",
    "BaseScale",
    "BooleanScale",
    "Calibrate",
    "Call",
    "CategoricalScale",
    "ChecklistScale",
    "Criterion",
    "Example",
    "Expectation",
    "Finding",
    "GroupQuestion",
    "ManagedPrompt",
    "Member",
    "NumericScale",
    "OffScale",
    "PartPrompt",
    "Price",
    "Prompt",
    "PromptSource",
    "Question",
    "Redaction",
    "Reply",
    "Rubric",
    "RubricSpec",
    "Scale",
    "Share",
    "Token",
    "answers_of",
    "asked_alone",
    "combined",
    "escalated",
    "grouped",
    "shares",
    "suspected",
    "together",
    "unknown_variables",
    "unsure",
    "unweighable",
    "weighed",
    "without_variables",
]
