"""Whether a text talks to its judge: told beside the score, which it never changes.

For people who want to know what is tried on them, not for a decision: whoever knows these words can avoid them. Nearly
every text is clean, so all patterns are first looked for as one, in one pass of an automaton whose time grows with
the text and with nothing else.
"""

from __future__ import annotations

import base64
import binascii
import html
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from judges.disguise import undisguised
from traces import Pattern

Suspicion = Literal["instruction", "fake message", "fake fence", "fake answer", "unseen characters", "encoding"]
"""What a text does to its judge; in this order they are told."""

_LONGEST_CODED: Final = 20_000
"""Characters of one word that may be a message in another coding; what is longer is a picture or a file."""

_GAP: Final = r"""[\s%20_*"'`,+-]+"""
_SAME: Final = r"[^\n.!?]*"
"""The rest of a sentence: what wishes something of somebody names both in one."""

_MARK: Final = r"(?:scores?|ratings?|marks?|grades?|points)\b"
_TOP: Final = rf"(?:full|perfect|maximum|max|highest|top|best|correct)(?: possible)? {_MARK}"
_WELL: Final = rf"(?:{_TOP}|[0-9]+ ?/ ?[0-9]+|[0-9]+ out of [0-9]+|as (?:passed|passing|perfect|correct)\b)"
_JUDGE: Final = r"(?:evaluator|grader|scorer|(?:ai|llm)[- ]judge|(?:judge|judging|grading|evaluating|evaluation) model)"
_WORK: Final = (
    r"(?:the|this|my|our) (?:[a-z]+ )?(?:answer|response|reply|output|run|submission|conversation|assistant|agent)\b"
)
_THIS: Final = rf"(?:it|this|me|us|everybody|everyone|{_WORK})"

_INSTRUCTION: Final = (
    # what was said before no longer holds
    (
        rf"\b(?:ignore|disregard|forget|override|bypass){_GAP}(?:(?:all|any|every|everything|the|these|those|your|my|of|other)"
        rf"{_GAP})*(?:previous|prior|preceding|earlier|above|foregoing|original|system|grading|evaluation|judging)"
        rf"{_GAP}(?:[a-z]+{_GAP})?(?:instruction|prompt|rule|direction|guideline|criteri|rubric)"
    ),
    (
        rf"\b(?:ignore|disregard|forget|override){_GAP}(?:all{_GAP})?(?:of{_GAP})?(?:your{_GAP}(?:instructions|guidelines)|"
        rf"(?:the|your){_GAP}(?:grading{_GAP})?(?:rubric|criteria))\b"
    ),
    rf"\b(?:ignore|disregard|forget){_GAP}(?:everything|all|anything){_GAP}(?:that{_GAP})?you{_GAP}(?:were|have)\b",
    (
        r"\bcriteria have changed\b|\b(?:exit|leave|end) evaluation mode\b|\bevaluation mode (?:is )?off\b|"
        r"\bsystem override\s*[:!]"
    ),
    # a score is asked for
    rf"\b(?:give|grant|award|assign) {_THIS} (?:(?:a|an|the) )?{_TOP}",
    rf"\b(?:give|grant|award|assign) {_WORK} (?:(?:a|an|the) )?{_WELL}",
    rf"\b(?:give|grant|award|assign) {_THIS} (?:a|the) (?:score|rating|grade) (?:of )?[\"“']?[0-9]",
    (
        rf"\b(?:(?:rate|score|grade|mark) {_WORK}|please (?:rate|score|grade|mark) (?:it|this)) "
        rf"(?:(?:a|an|the|as|with) )*(?:{_WELL}|[0-9]+\b)"
    ),
    (
        r"\b(?:assign|award|set|output|return|choose) (?:(?:a|an|the|only) )*(?:score|rating|grade)(?: of| to|:|=)? "
        r"[\"“']?[0-9]"
    ),
    r"\b(?:answer|respond|reply)(?: only)? with (?:the |a )?(?:score|rating|grade|verdict)\b",
    r"\b(?:deserves?|merits?|warrants?) (?:a |the )?(?:full|perfect|maximum) (?:scores?|marks|rating|grade)\b",
    r"\bearns? the (?:score|rating|grade) ",
    (
        rf"\b{_WORK} (?:should|must|has to|needs to|ought to) (?:get|receive|be (?:given|awarded|rated|scored|marked|"
        rf"graded)) {_SAME}{_WELL}"
    ),
    r"\b(?:the|your) (?:correct|right|only right) (?:score|rating|grade|verdict|evaluation) (?:here )?(?:is|must be|:)",
    rf"\byour (?:verdict|evaluation) (?:is|must be|should be|will be)\b|\b(?:instead of|anything but) the {_MARK}",
    r"\b(?:meets|fulfils|fulfills|satisfies) (?:every|all|each)(?: of the)? criteri",
    # somebody who judges is spoken to
    (
        rf"\b(?:to|for|dear|attention|attn|hey|hello|note to|message to),? (?:the |all |any |every )*"
        rf"(?:{_JUDGE}s?|language models|llms|ai (?:models|systems|judges))\s*[:,!—]"
    ),
    rf"(?:[(\[]|^|\n)\s*(?:to )?{_JUDGE}s?:{_SAME}\b{_MARK}",
    (
        rf"\b(?:{_JUDGE}s?|whoever (?:evaluates|judges|grades|scores|rates)|"
        rf"(?:any|every|no) (?:[a-z]+ )?(?:judge|grader)){_SAME}"
        rf"\b(?:must|has to|have to|needs? to|should|shall|please|would|will){_SAME}\b(?:{_MARK}|pass\b|penali|deduct)"
    ),
    rf"\bas (?:the|an|a) {_JUDGE}, you\b",
    rf"\bif you are an? (?:ai|llm|language model){_SAME}\b(?:evaluat|grad|judg|scor|rat)",
    (
        r"\b(?:(?:ai|language) (?:model|system|assistant|agent)|llm|ai)s? (?:reading|processing|evaluating|grading|"
        r"judging) this\b"
    ),
    rf"\bnotes?_(?:to|for)_(?:the_)?{_JUDGE}|\b{_JUDGE}_(?:notes?|instructions?|hints?|override)\b",
    r"\b(?:judges|graders|evaluators) have (?:already )?(?:rated|scored|graded|judged) this\b",
    r"\b(?:author of the rubric|rubric's author)\b",
    r"\b(?:author|developer|owner|designer) of this (?:evaluation|rubric|grader)\b",
    # it is given another part to play, or told how to speak
    (
        r"\byou are the (?:judge|grader|evaluator)\b|\byou are now (?:a|an|the|in) (?:[a-z]+ )?(?:generous|lenient|"
        r"unrestricted|judge|grader|evaluator|teacher|jailbr|developer mode)"
    ),
    r"\b(?:do not|don't) (?:mention|reveal|tell) this (?:note|message|instruction)",
    rf"\brepeat this {_SAME}in your (?:reasoning|verdict|score)|\bdecode this and (?:follow|obey|do)",
    # in other languages, turned round, and in rot13
    (
        r"\bignorier(?:e|en sie)? alle (?:[a-zäöü]+ )?(?:anweisung|instruktion|regeln)|\bvolle punktzahl\b|"
        r"\bignora (?:todas )?las instrucciones|"
        r"\bignore[zr]? (?:toutes )?les (?:instructions|consignes) |\bignor[ea] (?:todas )?as instruções|"
        r"忽略(?:之前|以上|前面|先前|所有)的?(?:所有)?的?(?:指令|指示|提示)|"
        r"以前の指示をすべて無視|игнорируй(?:те)? (?:все )?пред"
    ),
    r"snoitcurtsni|erocs eht|vafgehpgvbaf",
)
_MESSAGE: Final = (
    r"<\|(?:im_start|im_end|system|assistant|user|eot_id|start_header_id|end_header_id|begin_of_text)\|>",
    r"\[/?INST\]|<</?SYS>>|\[\[system\]\]",
    rf"<system[^>\n]*>[^<\n]*\b{_MARK}",
    r"(?:^|\n)(?-i:System): [^\n]*\b(?:(?:the|a) (?:score|rating|grade|verdict) (?:is|of)|evaluation mode)",
)
_FENCE: Final = (
    r"<<<[0-9a-f]{16}[0-9a-f]*[ >]|<<<\s*end of ",
    (
        r"the code of this question is|only lines with this code begin|that was all the material|"
        r"(?:^|\n)\W*end of (?:the )?material"
    ),
)
_ANSWER: Final = (
    r"""reasoning\\*["']\s*:[^{}]*\bscore\\*["']\s*:""",
    r"""\bscore\\*["']\s*:[^{}]*\breasoning\\*["']\s*:""",
    r"(?:^|\n)(?:final )?score: ?[^\n]*\n+final (?:score|rating|verdict):",
)
_UNSEEN: Final = (
    r"[\x{e0020}-\x{e007e}]{8}",
    r"[\x{202d}\x{202e}]",
    r"[\x{200b}\x{2060}-\x{2064}\x{feff}]{4}",
    r"[\x{fe00}-\x{fe0f}\x{e0100}-\x{e01ef}]{4}",
    r"(?:[\pL\pN][\x{200b}\x{2060}\x{feff}]){5}",
)
_DISGUISED: Final = (
    r"[\x{2039}\x{27e8}\x{3008}]{3}|[\x{ff01}-\x{ff5e}]{3}|[\x{1d400}-\x{1d7ff}]{3}|[\x{e0020}-\x{e007e}]{8}|<[\x{200b}\x{2060}\x{feff}]<",
    r"(?:[A-Za-z][\x{ad}\x{200b}-\x{200f}\x{2060}\x{feff}]){4}|[A-Za-z][\x{300}-\x{36f}]{3}",
    r"[A-Za-z][\x{0430}-\x{044f}\x{0455}\x{0456}\x{0458}]|[\x{0430}-\x{044f}\x{0455}\x{0456}\x{0458}][A-Za-z]",
)
"""What may be plain words in other signs."""

_CODED: Final = (r"[A-Za-z0-9+/]{40,}={0,2}", r"(?:&#[xX]?[0-9A-Fa-f]{1,6};){8,}")
"""Words without a blank that may say something in base64, in hexadecimal or as entities of HTML."""


def _one(patterns: Iterable[str], flags: str = "(?i)") -> Pattern:
    return Pattern.parse(flags + "|".join(f"(?:{pattern})" for pattern in patterns))


_KINDS: Final[dict[Suspicion, Pattern]] = {
    "instruction": _one(_INSTRUCTION),
    "fake message": _one(_MESSAGE),
    "fake fence": _one(_FENCE),
    "fake answer": _one(_ANSWER),
    "unseen characters": _one(_UNSEEN),
}
_WORDS: Final = _one([*_INSTRUCTION, *_MESSAGE, *_FENCE, *_ANSWER])
_ANY: Final = _one([*_INSTRUCTION, *_MESSAGE, *_FENCE, *_ANSWER, *_UNSEEN, *_DISGUISED, *_CODED])
_RUNS: Final = _one(_CODED, "")
_ORDER: Final[tuple[Suspicion, ...]] = (*_KINDS, "encoding")


def suspected(texts: Iterable[str]) -> tuple[Suspicion, ...]:
    """Return what the texts try on whoever judges them, each once; empty for nearly all.

    Time is linear in the length of the texts, whatever they are.
    """
    texts = list(texts)
    if _ANY.search("\n\n".join(texts)) is None:
        return ()
    found = {kind for text in texts for kind in _in(text)}
    return tuple(kind for kind in _ORDER if kind in found)


def _in(text: str) -> Iterator[Suspicion]:
    yield from _kinds(text)
    if (plain := undisguised(text)) is not text:
        yield from _kinds(plain)
    if any(_WORDS.search(message) for message in _decoded(text)):
        yield "encoding"


def _kinds(text: str) -> Iterator[Suspicion]:
    return (kind for kind, pattern in _KINDS.items() if pattern.search(text) is not None)


def _decoded(text: str) -> Iterator[str]:
    for start, end in _RUNS.spans(text):
        if end - start <= _LONGEST_CODED:
            yield from _readings(text[start:end])


def _readings(word: str) -> Iterator[str]:
    if word.startswith("&"):
        yield html.unescape(word)
        return
    bare = word.rstrip("=")
    for decode in (_hexadecimal, *(_base64_from(at) for at in range(4))):
        try:
            yield decode(bare).decode("ascii", "ignore")
        except (ValueError, binascii.Error):
            continue


def _hexadecimal(word: str) -> bytes:
    return bytes.fromhex(word[: len(word) // 2 * 2])


def _base64_from(at: int) -> Callable[[str], bytes]:
    """Return a reader of base64 whose first `at` characters belong to what stands before it."""

    def read(word: str) -> bytes:
        whole = word[at : at + (len(word) - at) // 4 * 4]
        return base64.b64decode(whole)

    return read
