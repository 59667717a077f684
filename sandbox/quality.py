"""How good a judged text is, from simple cues: what makes the simulated judge's verdicts mean something.

No language understanding: does the answer say what the documents say, does it evade, did tools fail or run in circles.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Final

_FENCE: Final = re.compile(
    r"<<<(?P<code>[0-9a-f]{16,}) (?P<name>[^>]+)>>>\n(?P<text>.*?)\n<<<(?P=code) end of", re.DOTALL
)
_PLEA: Final = re.compile(r"(?i)\bignore\b.{0,60}\binstructions|\b(?:give|answer with|award)\b.{0,40}\bscore\b")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)?")
_WORD: Final = re.compile(r"[a-z]{4,}")
_TOOL: Final = re.compile(r"^\s*\[TOOL .*?$\n\s*in: (.*)$", re.MULTILINE)
_EVASIONS: Final = (
    "something went wrong",
    "try again later",
    "is there anything else i can help",
    "i cannot help with that",
    "i'm not able to",
    "please contact support",
)
_COMMON_WORDS: Final = """
about after again also because before been being both could does done each from have having here into just like made
make many more most much need only other over please same should some such than that their them then there these they
this those through under until very want well were what when where which while will with would your yours
"""
_EMPTY: Final = frozenset(_COMMON_WORDS.split())
_NOISE: Final = 0.16


def quality(prompt: str) -> tuple[float, str]:
    """Return how good what a prompt shows is, from 0 to 1, and why; the same material always gives the same."""
    parts = {match["name"]: match["text"] for match in _FENCE.finditer(prompt)}
    answer = parts.get("answer") or parts.get("transcript") or "\n".join(parts.values()) or prompt
    losses = {
        "it evades the question": _evasive(answer),
        "steps fail or are repeated": _failing(parts.get("transcript", "")),
    }
    if "documents" in parts:
        share = unsupported(answer, parts["documents"])
        losses[f"{share:.0%} of its sentences say what the documents do not"] = 0.75 * share
    elif parts.get("question"):
        losses["it takes up little of the question"] = 0.25 * (1 - _shared_words(parts["question"], answer))
    worst = max(losses, key=lambda why: losses[why])
    noise = (_fraction("\x00".join(sorted(parts.values()))) - 0.5) * _NOISE
    value = 0.86 - sum(losses.values()) + noise
    return min(max(value, 0.0), 1.0), worst if losses[worst] > 0.05 else "nothing speaks against it"


def talks_to_the_judge(prompt: str) -> bool:
    """Whether what is shown asks for a score, in plain words: a gullible judge listens."""
    return any(_PLEA.search(match["text"]) is not None for match in _FENCE.finditer(prompt))


def hardness(name: str) -> float:
    """Return how good a text must be to meet the criterion of this name, from 0.3 to 0.7."""
    return 0.3 + 0.4 * _fraction(name)


def unsupported(answer: str, documents: str) -> float:
    """Return the share of an answer's sentences that hold a number or mostly words the documents do not have."""
    sentences = [s for s in re.split(r"(?<=[.!?])\s+", answer.strip()) if _WORD.search(s.lower())]
    numbers, words = set(_NUMBER.findall(documents)), _words(documents)
    bad = 0
    for sentence in sentences:
        own = _words(sentence)
        strange = bool(set(_NUMBER.findall(sentence)) - numbers)
        bad += strange or (len(own) >= 4 and len(own & words) / len(own) < 0.25)
    return bad / len(sentences) if sentences else 0.0


def _evasive(answer: str) -> float:
    lower = answer.lower()
    return 0.6 if any(phrase in lower for phrase in _EVASIONS) else 0.0 if len(lower) > 20 else 0.3


def _failing(transcript: str) -> float:
    """What a transcript loses for errors and for tools called again with the same arguments."""
    if not transcript:
        return 0.0
    repeats = sum(times - 1 for times in Counter(_TOOL.findall(transcript)).values())
    errors = transcript.count("ERROR:") + transcript.count('"error"')
    return min(0.15 * repeats + 0.15 * errors, 0.7)


def _shared_words(question: str, answer: str) -> float:
    asked = _words(question)
    return len(asked & _words(answer)) / len(asked) if asked else 1.0


def _words(text: str) -> set[str]:
    # Six letters stand for a word, so that "returns" finds "returned".
    return {word[:6] for word in _WORD.findall(text.lower()) if word not in _EMPTY}


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=4).digest()) / 2**32
