"""LLM-as-judge without IO: a rubric becomes questions, replies become outcomes."""

from judges.asking import DECLINED, NO_CHOICE, Prompt, Question, Reply
from judges.price import Price
from judges.rubric import Example, Rubric, RubricSpec
from judges.scale import CANNOT_JUDGE, BooleanScale, CategoricalScale, NumericScale, OffScale, Scale

__all__ = [
    "CANNOT_JUDGE",
    "DECLINED",
    "NO_CHOICE",
    "BooleanScale",
    "CategoricalScale",
    "Example",
    "NumericScale",
    "OffScale",
    "Price",
    "Prompt",
    "Question",
    "Reply",
    "Rubric",
    "RubricSpec",
    "Scale",
]
