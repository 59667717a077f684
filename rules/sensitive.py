"""Rules that say that a text holds what nobody should find in it; they never repeat it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, Literal

from pydantic import Field

from rules.base import Rule, counted, failed, passed
from rules.text import ANSWER, NOT_FOUND
from traces import Located, NotApplicable, Path, Pattern, SensitiveKind, Trace, Verdict, as_text, finder_of, well_formed

_INPUT_AND_OUTPUT: Final = Path.parse("$.root['input','output']")

PersonalKind = Literal["email", "phone", "card", "iban", "ip"]


class SensitiveRule(Rule):
    """A rule over what must not stand in a text.

    The comment says what kind of thing stands where, never the thing itself. A trace in which `value` selects nothing
    (or only nulls) is not scored.
    """

    allowed: tuple[Pattern, ...] = Field(
        default=(), description=r"what may stand there: patterns that match all of it, such as `.*@example\.com`"
    )

    def look(self, found: Iterable[Located], kinds: Iterable[SensitiveKind]) -> Verdict | NotApplicable:
        """Look for values of some kinds in what was selected."""
        texts = [(located, well_formed(as_text(located.value))) for located in found if located.value is not None]
        if not texts:
            return NOT_FOUND
        # By kind and value, so that the same one in question and answer is one.
        values = [
            (kind, text[start:end], located, start)
            for kind in kinds
            for located, text in texts
            for start, end in self._in(kind, text)
        ]
        if not values:
            return passed(f"nothing found in {counted(sum(len(text) for _, text in texts), 'character')}", 0)
        kind, _, located, start = values[0]
        different = Counter(kind for kind, _ in dict.fromkeys((kind, value) for kind, value, *_ in values))
        listed = ", ".join(f"{number} {kind}" for kind, number in different.items())
        return failed(f"{listed}; the first ({kind}) at {located.where}, character {start:,}", different.total())

    def _in(self, kind: SensitiveKind, text: str) -> Iterator[tuple[int, int]]:
        """Give the places of values of a kind, of those that overlap the first one: they are one value twice."""
        last = 0
        for start, end in sorted(finder_of(kind)(text)):
            if last <= start < end:
                last = end
                if not any(pattern.matches(text[start:end]) for pattern in self.allowed):
                    yield start, end


class NoSecrets(SensitiveRule):
    """No key, token or password stands in what was asked or answered.

    Found are the forms that servers give them (OpenAI, Langfuse, AWS, GitHub, GitLab, Google, Hugging Face, npm, PyPI,
    SendGrid, Slack, Stripe, Twilio and others, JSON Web Tokens, private keys, passwords in addresses) and what has a
    name before it (`password=`, `api_key:`, `Authorization: Bearer`). To look into every step, `value` is
    `$.observations[*]['input','output']`.
    """

    example: ClassVar = {"name": "no-secrets", "rule": "no_secrets"}

    value: Path = Field(default=_INPUT_AND_OUTPUT, description="what to look at; of several values each one")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look for secrets."""
        return self.look(self.value.located(trace), ["key"])


class NoPersonalData(SensitiveRule):
    """No data of people stands in the answer: addresses of mail, phone numbers, cards, accounts.

    Cards and IBANs must have a right check digit, so that numbers of orders are none. Names of people are not found.
    """

    example: ClassVar = {
        "name": "no-personal-data",
        "rule": "no_personal_data",
        "kinds": ["email", "card", "iban"],
        "allowed": [r"(?i).*@example\.com"],
    }

    kinds: tuple[PersonalKind, ...] = Field(
        default=("email", "phone", "card", "iban"), min_length=1, description="what is looked for"
    )
    value: Path = Field(default=ANSWER, description="what to look at; of several values each one")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look for personal data."""
        return self.look(self.value.located(trace), self.kinds)
