"""Probabilities of the tokens of an answer, as OpenAI tells them: sure of all but the score."""

from __future__ import annotations

import math
import re
from typing import Any, Final

_TOKEN: Final = re.compile(r" ?[A-Za-z]+|[0-9]|.", re.DOTALL)
_SCORE: Final = re.compile(r'"score": ?')
_NEVER: Final = -9999.0


def told(text: str, doubt: float, astray: float) -> list[dict[str, Any]]:
    """Return the tokens of `text`; at the last score `doubt` lies on the levels beside it, `astray` on no level."""
    marks = list(_SCORE.finditer(text))
    score = marks[-1].end() if marks else -1
    return [
        _one(token[0], _likely(token[0], doubt, astray) if token.start() <= score < token.end() else {token[0]: 1.0})
        for token in _TOKEN.finditer(text)
    ]


def _likely(token: str, doubt: float, astray: float) -> dict[str, float]:
    beside = {"true": ["false"], "false": ["true"]}.get(token.strip())
    if beside is None:
        beside = [str(int(token) - 1), str(int(token) + 1)] if token.isdigit() else []
    shares = dict.fromkeys(beside, doubt / max(1, len(beside)))
    return {token: 1 - doubt - astray, **shares, '"': astray}


def _one(token: str, likely: dict[str, float]) -> dict[str, Any]:
    top = [{"token": text, "logprob": math.log(p) if p > 0 else _NEVER, "bytes": None} for text, p in likely.items()]
    return {**top[0], "token": token, "top_logprobs": top}
