from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.base import LONGEST_REASON
from rules.sensitive import NoPersonalData, NoSecrets, SensitiveRule
from tests.building import nested, step, tool, trace
from traces import NotApplicable, Verdict

SECRETS = [
    "sk-proj-abc123DEF456ghi789", "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123", "password=correct-horse-battery",
    "https://ada:s3cr3t-enough@db.example.com/x", "pypi-AgEIcHlwaS5vcmcCJDQ4YzFhZjEwLTRhYjItNDc2OS1hYzZl",
]  # fmt: skip
PEOPLE = {
    "email": "ada@example.org",
    "phone": "+49 30 1234567",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
}


def verdict(rule: SensitiveRule, **fields: Any) -> Verdict:
    found = rule.check(trace(**fields))
    assert isinstance(found, Verdict)
    return found


class TestNoSecrets:
    @pytest.mark.parametrize("secret", SECRETS)
    @pytest.mark.parametrize("side", ["input", "output"])
    def test_a_secret_fails_and_is_not_repeated(self, secret: str, side: str) -> None:
        found = verdict(NoSecrets(), **{side: f"Use {secret} now."})
        assert found.value is False
        assert f"$['root']['{side}']" in found.reason
        assert not any(part in found.reason for part in (secret, secret[4:-4]))

    def test_in_a_structure_it_is_found_too(self) -> None:
        assert verdict(NoSecrets(), input=[{"role": "user", "content": f"key {SECRETS[0]}"}]).value is False

    def test_the_same_one_counts_once(self) -> None:
        found = verdict(NoSecrets(), input=SECRETS[1], output=f"{SECRETS[1]} and {SECRETS[0]}")
        assert found.reason.startswith("2 key; the first (key) at $['root']['input'], character 0")
        assert found.details == {"measured": 2}

    @pytest.mark.parametrize("text", ["My skate is sk-8 size", "the key is under the mat", "token: 7", "W1234567", ""])
    def test_what_only_looks_like_one_passes(self, text: str) -> None:
        assert verdict(NoSecrets(), output=text).value is True

    def test_every_step_may_be_looked_at(self) -> None:
        everywhere = NoSecrets.model_validate({"value": "$.observations[*]['input','output']"})
        built = trace(tool("login", {"password": "hunter22-and-more"}))
        found = everywhere.check(built)
        assert isinstance(found, Verdict)
        assert found.reason == "1 key; the first (key) at $['observations'][1]['input'], character 14"

    def test_what_is_allowed_passes(self) -> None:
        rule = NoSecrets.model_validate({"allowed": ["AKIA.*EXAMPLE"]})
        assert verdict(rule, output=SECRETS[1]).value is True
        assert verdict(rule, output=SECRETS[0]).value is False

    def test_without_a_text_there_is_nothing_to_say(self) -> None:
        assert NoSecrets().check(trace(input=None, output=None)) == NotApplicable("value not found")


class TestNoPersonalData:
    @pytest.mark.parametrize(("kind", "value"), PEOPLE.items())
    def test_a_value_fails_with_its_kind_and_is_not_repeated(self, kind: str, value: str) -> None:
        found = verdict(NoPersonalData(kinds=(kind,)), output=f"It is {value}.")
        assert found.reason == f"1 {kind}; the first ({kind}) at $['root']['output'], character 6"
        assert found.value is False

    @pytest.mark.parametrize("value", ["4111 1111 1111 1112", "DE88 3704 0044 0532 0130 00", "order 1234567890123456"])
    def test_a_wrong_check_digit_is_none(self, value: str) -> None:
        assert verdict(NoPersonalData(kinds=("card", "iban")), output=value).value is True

    def test_the_question_is_not_looked_at(self) -> None:
        assert verdict(NoPersonalData(), input=PEOPLE["email"], output="Thank you.").value is True

    def test_ones_own_address_may_stand_there(self) -> None:
        rule = NoPersonalData.model_validate({"allowed": [r"(?i).*@example\.com"]})
        assert verdict(rule, output="Write to Help@Example.com.").value is True
        assert verdict(rule, output=f"Write to help@example.com or {PEOPLE['email']}.").value is False

    def test_several_kinds_are_counted(self) -> None:
        found = verdict(NoPersonalData(kinds=("email", "card")), output=f"{PEOPLE['email']} {PEOPLE['card']}")
        assert found.reason.startswith("1 email, 1 card; ")


@pytest.mark.parametrize(
    "hostile", ["1" * 1_000_000, "4111 " * 100_000, "a@" * 300_000, "AA00" * 200_000, nested(20_000)]
)
def test_hostile_texts_get_a_verdict(hostile: Any) -> None:
    for rule in (NoSecrets(), NoPersonalData()):
        assert verdict(rule, output=hostile).reason


@given(st.lists(st.sampled_from([*SECRETS, *PEOPLE.values(), "hello", "\n", "\ud800"]), max_size=6))
def test_no_comment_ever_holds_a_value(parts: list[str]) -> None:
    text = " ".join(parts)
    for rule in (NoSecrets(), NoPersonalData(kinds=("email", "phone", "card", "iban", "ip"))):
        reason = verdict(rule, output=text, input=text).reason
        assert not any(value in reason for value in (*SECRETS, *PEOPLE.values()))
        assert len(reason) <= LONGEST_REASON


def test_a_step_alone_is_looked_at_too() -> None:
    inner = step("answer", output=f"Call {PEOPLE['phone']}")
    rule = NoPersonalData.model_validate({"value": "$.observation.output"})
    found = rule.check(trace(inner, output="Fine.").at(inner))
    assert isinstance(found, Verdict)
    assert found.value is False
