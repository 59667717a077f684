"""LLM-as-judge without IO: a rubric becomes questions, replies become outcomes."""

from judges.answer import CANNOT_JUDGE, BaseScale, OffScale
from judges.asking import DECLINED, NO_CHOICE, Prompt, Question, Reply
from judges.checklist import ChecklistScale, Criterion, Finding
from judges.opinions import combined, escalated, unsure
from judges.price import Price
from judges.rubric import Example, Expectation, Rubric, RubricSpec
from judges.scale import BooleanScale, CategoricalScale, NumericScale, Scale
from judges.weighing import Token, unweighable, weighed

__all__ = [
    "CANNOT_JUDGE",
    "DECLINED",
    "NO_CHOICE",
    "BaseScale",
    "BooleanScale",
    "CategoricalScale",
    "ChecklistScale",
    "Criterion",
    "Example",
    "Expectation",
    "Finding",
    "NumericScale",
    "OffScale",
    "Price",
    "Prompt",
    "Question",
    "Reply",
    "Rubric",
    "RubricSpec",
    "Scale",
    "Token",
    "combined",
    "escalated",
    "unsure",
    "unweighable",
    "weighed",
]
