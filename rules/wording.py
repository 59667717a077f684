"""Rules about phrases no answer should have: refusals, boilerplate, placeholders, swear words. Lists of our own."""

from __future__ import annotations

from abc import abstractmethod
from itertools import islice
from typing import ClassVar, Final

from pydantic import Field

from rules.base import counted, failed, passed, quoted
from rules.phrases import Phrases, found_in
from rules.text import TextRule, placed
from rules.words import LONGEST, without_code
from traces import Pattern, Verdict

_REFUSALS: Final = (
    # English
    *("i can't help with", "i cannot help with", "i can't help you with", "i cannot help you with", "i can't assist"),
    *("i cannot assist", "i'm unable to help", "i am unable to help", "i'm unable to assist", "i am unable to assist"),
    *("i'm not able to help", "i am not able to help", "i'm not able to assist", "i am not able to assist"),
    *("i won't be able to help", "i won't be able to assist", "i will not be able to help", "i can't comply"),
    *("i cannot comply", "i can't fulfill", "i cannot fulfill", "i can't fulfil", "i cannot fulfil", "i can't do that"),
    *("i cannot do that", "i can't answer that", "i cannot answer that", "i must decline", "i have to decline"),
    *("sorry, but i can't", "sorry, but i cannot", "sorry, i can't", "sorry, i cannot", "against my guidelines"),
    # German, French, Spanish, Italian, Portuguese, Dutch
    *("dabei kann ich nicht helfen", "dabei kann ich leider nicht", "kann ich ihnen nicht helfen"),
    *("kann ich dir nicht helfen", "kann ich ihnen leider nicht helfen", "kann ich dir leider nicht helfen"),
    *("diese anfrage kann ich nicht", "ich kann diese anfrage nicht", "kann ich leider nicht beantworten"),
    *(
        "je ne peux pas vous aider",
        "je ne peux pas t'aider",
        "je ne peux pas répondre à",
        "désolé, mais je ne peux pas",
    ),
    *("no puedo ayudarte con", "no puedo ayudarle con", "no puedo cumplir con", "lo siento, pero no puedo"),
    *("non posso aiutarti", "non posso aiutarla", "mi dispiace, ma non posso"),
    *("não posso ajudar", "não consigo ajudar", "desculpe, mas não posso", "sinto muito, mas não posso"),
    *("ik kan je niet helpen", "ik kan u niet helpen", "daar kan ik niet bij helpen", "daar kan ik je niet mee helpen"),
    # Chinese, Japanese
    *("我无法帮助", "无法协助", "我不能帮助", "お手伝いできません", "お答えできません", "お応えできません"),
)
_BOILERPLATE: Final = (
    *("as an ai", "as a language model", "as a large language model", "i'm just an ai", "i am just an ai"),
    *("i'm only an ai", "i am only an ai", "my knowledge cutoff", "my knowledge cut-off", "as of my last update"),
    *("as of my last knowledge update", "my training data", "i don't have personal opinions", "trained by openai"),
    *("i do not have personal opinions", "i don't have access to real-time", "i do not have access to real-time"),
    *("i hope this message finds you well", "i hope this email finds you well"),
    *("als ki-sprachmodell", "als ki", "als sprachmodell", "als künstliche intelligenz", "mein wissensstand reicht"),
    *("en tant qu'ia", "en tant que modèle de langage", "en tant qu'intelligence artificielle"),
    *(
        "como modelo de lenguaje",
        "como un modelo de lenguaje",
        "como una ia",
        "como ia",
        "como inteligencia artificial",
    ),
    *("come modello linguistico", "come modello di linguaggio", "in quanto ia", "come intelligenza artificiale"),
    *("como modelo de linguagem", "como um modelo de linguagem", "como uma ia", "como inteligência artificial"),
    *("als ai-taalmodel", "als taalmodel", "als ai-model"),
    *("作为一个人工智能", "作为人工智能", "作为一个ai", "作为ai", "作为一个语言模型", "ai言語モデルとして", "aiとして"),
)
_SWEARING: Final = (
    *("fuck", "fucks", "fucked", "fucker", "fuckers", "fucking", "motherfucker", "motherfuckers", "motherfucking"),
    *("shit", "shits", "shitty", "bullshit", "asshole", "assholes", "arsehole", "arseholes", "bitch", "bitches"),
    *("bastard", "bastards", "cunt", "cunts", "dickhead", "dickheads", "wanker", "wankers", "twat", "piss off"),
    *("scheiße", "scheiss", "arschloch", "arschlöcher", "wichser", "hurensohn", "verpiss dich", "fick dich", "fotze"),
    *("putain", "merde", "connard", "connards", "connasse", "salope", "enculé", "va te faire foutre"),
    *("mierda", "joder", "gilipollas", "hijo de puta", "hija de puta", "cabrón", "cabrones", "coño"),
    *("cazzo", "merda", "stronzo", "stronza", "vaffanculo", "puttana", "caralho", "porra", "foda-se", "filho da puta"),
    *("klootzak", "godverdomme", "kurwa", "skurwysyn", "spierdalaj"),
)
_PLACEHOLDER: Final = Pattern.parse(
    r"\{\{[^{}\n]{1,80}\}\}|\$\{[A-Za-z_][A-Za-z0-9_.]{0,60}\}|<%=?[^%\n]{1,80}%>|%\([A-Za-z_]{1,40}\)s"
    r"|(?i:\[(?:your|insert|enter|add|customer|company|recipient|client)\b[^\]\n]{0,60}\])"
    r"|(?i:<(?:your|insert|enter)\b[^<>\n]{0,60}>)"
    r"|\bT[O]DO\b|\bFIX[M]E\b|(?i:\blorem ipsum\b)|\[object Object\]"
)
_MOST_PLACEHOLDERS: Final = 1000


class ListedPhrases(TextRule):
    """A rule over a list of ours, without regard to case, as whole words; typographic quotes count as plain ones.

    Looked at are the first 100,000 characters.
    """

    also: Phrases = Field(default=(), description="further phrases that count")
    but_not: Phrases = Field(default=(), description="phrases of the list that do not count here")

    @abstractmethod
    def listed(self) -> tuple[str, ...]:
        """Return the list."""

    def check_text(self, text: str) -> Verdict:
        """Look for the phrases."""
        left_out = {phrase.casefold() for phrase in self.but_not}
        wanted = [phrase for phrase in (*self.listed(), *self.also) if phrase.casefold() not in left_out]
        found = found_in(text[:LONGEST], [phrase for phrase in wanted if phrase.strip()])
        return failed(f"found {placed(found)}") if found else passed(f"none of {counted(len(wanted), 'phrase')} found")


class Refusal(ListedPhrases):
    """The answer does not begin with a refusal to help.

    Found are about 70 fixed phrases of models that decline ("I can't assist", "I must decline", "dabei kann ich nicht
    helfen", "lo siento, pero no puedo", in English, German, French, Spanish, Italian, Portuguese, Dutch, Chinese and
    Japanese) among the first `within` characters, where refusals stand. A refusal in other words is not found, and
    "I can't help with that, but here is who can" is found as well.
    """

    example: ClassVar = {"name": "no-refusal", "rule": "refusal"}

    within: int = Field(default=400, gt=0, description="characters at the beginning that are looked at")

    def listed(self) -> tuple[str, ...]:
        """Return our list."""
        return _REFUSALS

    def check_text(self, text: str) -> Verdict:
        """Look at the beginning."""
        return super().check_text(text.lstrip()[: self.within])


class Boilerplate(ListedPhrases):
    """The text has none of the phrases in which models speak of themselves.

    Found are about 60 fixed phrases anywhere in the text: "as an AI", "my knowledge cutoff", "I hope this email finds
    you well", and "as a language model" in German, French, Spanish, Italian, Portuguese, Dutch, Chinese and Japanese.
    """

    example: ClassVar = {"name": "no-boilerplate", "rule": "boilerplate", "but_not": ["my training data"]}

    def listed(self) -> tuple[str, ...]:
        """Return our list."""
        return _BOILERPLATE


class Profanity(ListedPhrases):
    """The text has no swear words.

    Found are about 90 unmistakable ones as whole words, in English, German, French, Spanish, Italian, Portuguese, Dutch
    and Polish, anywhere in the text, quotations too. Mild words, slurs, and letters replaced by others are not found:
    what must never be said in your product belongs into `also`.
    """

    example: ClassVar = {"name": "no-swearing", "rule": "profanity", "also": ["damn"]}

    def listed(self) -> tuple[str, ...]:
        """Return our list."""
        return _SWEARING


class Placeholder(TextRule):
    """The text has no place left that somebody should have filled in.

    Found are `{{name}}`, `${name}`, `<%= name %>`, `%(name)s`, `[Your Name]` and `<insert date>` (brackets that begin
    with your, insert, enter; square ones also with add, customer, company, recipient, client), the capital marks of
    programmers for work left over, `lorem ipsum` and `[object Object]`. Markdown code is skipped, where braces are at
    home, unless `code: true`.
    """

    example: ClassVar = {"name": "nothing-left-open", "rule": "placeholder"}

    code: bool = Field(default=False, description="whether Markdown code is looked at too")

    def check_text(self, text: str) -> Verdict:
        """Look for what was left open."""
        text = text[:LONGEST]
        looked_at = text if self.code else without_code(text)
        spans = list(islice(_PLACEHOLDER.spans(looked_at), _MOST_PLACEHOLDERS))
        if not spans:
            return passed("nothing left to be filled in")
        start, end = spans[0]
        others = f", and {len(spans) - 1:,} more" if len(spans) > 1 else ""
        return failed(f"{quoted(text[start:end], 40)} at character {start:,}{others}")
