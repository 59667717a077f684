"""What is taken out of texts before they leave for a judge: all of it, nothing else, and always by the same name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evaluator.definitions import load
from evaluator.errors import ConfigError
from judges import ManagedPrompt, Prompt, Question, Redaction, Reply, Rubric, RubricSpec
from tests.building import ANY_TEXT, step, tool, trace
from traces import Passage, Trace, Usage, Verdict

EVERY: Final = Redaction(kinds=("email", "phone", "card", "iban", "key", "ip"))
PEM: Final = "-----BEGIN RSA PRIVATE KEY-----\n{head}" + "A1b2" * 16 + "\nabc=\n-----END RSA PRIVATE KEY-----"
VALUES: Final = {
    "email": ["ada+news@mail.sub.example.co.uk", "ADA@EXAMPLE.COM", "jürgen@müller.de", "o'brien@example.com"],
    "phone": [
        "+49 30 1234567", "+1 (415) 555-2671", "+14155552671", "(415) 555-2671", "415-555-2671", "+44 20 7946 0958",
        "020 7946 0958", "+33 1 23 45 67 89", "01 23 45 67 89", "0033123456789", "+86 138 0013 8000", "030/1234567",
    ],
    "card": [
        "4111 1111 1111 1111", "4111-1111-1111-1111", "5500000000000004", "3782 822463 10005", "6011000990139424",
        "2223003122003222",
    ],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "NO93 8601 1117 947"],
    "key": [
        "GOCSPX-abcdefghij1234567890kl", "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",
        "SK0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef-us12",
        "sk-proj-abc123DEF456ghi789", "sk-abcdefghijklmnopqrstuvwx", "sk_live_51H8abcdefghijk",
        "sk-lf-12345678-1234-1234-1234-123456789abc", "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123",
        "github_pat_11ABCDEFG0abcdefgh_ijkl", "glpat-abcdefghij1234567890", "xoxb-123456789012-abcdefABCDEF",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123",
        PEM.format(head=""), PEM.format(head="").replace("\n", "\\n"),
        PEM.format(head="Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\n"),
        PEM.format(head="").replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
    ],
    "ip": ["192.168.1.17", "2001:db8::ff00:42:8329"],
}  # fmt: skip
ONE_OF: Final = st.sampled_from([value for values in VALUES.values() for value in values])
WORDS: Final = st.lists(ONE_OF | st.sampled_from(["Write to", "or call", "[email 1]", "[key 2]", "thanks"]), max_size=8)


def without(text: str, redaction: Redaction = EVERY) -> str:
    return redaction.of([text]).texts[0]


class TestWhatIsTaken:
    @pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind in VALUES for value in VALUES[kind]])
    @pytest.mark.parametrize("around", ["It is {} now.", '{{"v":"{}"}}', "{}", "a\\n{}\\nb", "<{}>", "({})"])
    def test_a_value_leaves_nothing_of_itself(self, kind: str, value: str, around: str) -> None:
        assert without(around.format(value)) == around.format(f"[{kind} 1]")

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic [key 1]"),
            ('{"authorization": "Bearer abc123def456ghi7"}', '{"authorization": "Bearer [key 1]"}'),
            (r"{\"Authorization\": \"Bearer abc123def456\"}", r"{\"Authorization\": \"Bearer [key 1]\"}"),
            ("Bearer abc123def456ghi7", "Bearer [key 1]"),
            ("password: hunter2", "password: [key 1]"),
            ('"password": "S3cret!pass"', '"password": "[key 1]"'),
            ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=[key 1]"),
            ("x-api-key: 0123456789abcdef", "x-api-key: [key 1]"),
            ("token=abcdefgh12345678ijkl90", "token=[key 1]"),
            ("postgres://me:passw0rd@db.example.com/x", "postgres://me:[key 1]/x"),
            ("https://hooks.slack.com/services/T0/B0/X1234567", "https://hooks.slack.com/services/[key 1]"),
            ("?to=ada%40example.com&x=1", "?to=[email 1]&x=1"),
            ("mailto:ada@example.com?subject=x", "mailto:[email 1]?subject=x"),
            ("030 1234567 or 030 7654321", "[phone 1] or [phone 2]"),
        ],
    )
    def test_what_names_it_stays(self, text: str, left: str) -> None:
        assert without(text) == left

    @pytest.mark.parametrize(
        "text",
        [
            "2024-01-02 2024-01-03", "2024-01-02T03:04:05.123456Z", "05.06.2024 14:30", "06/12/2024",
            "1/2/2024-3/4/2024",
            "order 4711-0815-2342", "Order #1000234567", "W2378156", "order 113-1234567-1234567", "1Z999AA10123456784",
            "550e8400-e29b-41d4-a716-446655440000", "12345678-1234-1234-1234-123456789012",
            "version 1.2.3, 10.15.7, v2.0.0-rc.1, 2024.01.15.1", "react@18.2.0", "lodash@4.17.21", "icon@2x.png",
            "1,234,567.89 EUR", "$1,299.00 or 1.299,00", "100.00 200.00 300.00", "1699999999999", "1700000000",
            "sk-learn-tutorial-for-beginners-with-python", "Bearer authentication is required", "bearer certificates",
            "-0.12345678901234567", "3.14159265358979323846", "[1.5, 2.5, 3.25, 4.125]", "+5% growth, +100 points",
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14", "2 4 6 8 10 12 14 16 18 20", "2001 2002 2003 2004 2005 2006",
            "12:23:45", "std::vector<int>", "a::b::c", "ISBN 978-3-16-148410-0", "from 08:00 to 18:00", "94107-1234",
            "d41d8cd98f00b204e9800998ecf8427e", "0123456789abcdef0123456789abcdef01234567", "total_tokens: 123456789",
            "52.520008, 13.404954", "SKU 123-456-7890", "flight HAT083 on 2024-05-20 at 10:00:00",
            "the password is wrong",
        ],
    )  # fmt: skip
    def test_what_only_looks_like_it_stays(self, text: str) -> None:
        assert without(text) == text

    def test_an_address_of_a_machine_is_no_phone(self) -> None:
        text = "10.115.17.254, 192.168.100.200 and 2001:db8::1"
        assert without(text, Redaction(kinds=("phone", "card", "email", "key"))) == text

    @given(st.text("0123456789", min_size=15, max_size=15).map(lambda rest: "4" + rest))
    def test_a_card_has_a_right_check_digit(self, number: str) -> None:
        doubled = [int(sign) * (2 - place % 2) for place, sign in enumerate(number)]
        is_right = sum(sum(divmod(digit, 10)) for digit in doubled) % 10 == 0
        spaced = " ".join(number[at : at + 4] for at in range(0, 16, 4))
        expected = "[card 1]" if is_right else spaced
        assert without(spaced, Redaction(kinds=("card",))) == expected

    def test_of_ten_numbers_that_differ_in_the_last_digit_one_is_a_card(self) -> None:
        left = [without(f"411111111111111{last}", Redaction(kinds=("card",))) for last in range(10)]
        assert left.count("[card 1]") == 1

    @pytest.mark.parametrize(
        "sign", ["1", "0", "4 ", "+", "a@", "a.", "[email 1] ", ":", "A", "eyJ", "-----BEGIN ", "\\n"]
    )
    def test_what_repeats_endlessly_is_read_to_its_end(self, sign: str) -> None:
        without(sign * (60_000 // len(sign)))


class TestPlaceholders:
    @given(st.lists(WORDS.map(" ".join), min_size=1, max_size=4))
    def test_the_same_value_has_the_same_one_and_another_value_another(self, texts: list[str]) -> None:
        left = EVERY.of(texts)
        again = dict(zip(texts, left.texts, strict=True))
        assert list(left.texts) == [again[text] for text in texts]
        first = {value: without(value) for values in VALUES.values() for value in values}
        assert not any(value in text for value in first for text in left.texts)

    @given(st.permutations([value for values in VALUES.values() for value in values]))
    def test_values_and_placeholders_are_one_to_one(self, values: list[str]) -> None:
        left = EVERY.of([*values, *reversed(values)])
        assert list(left.texts[: len(values)]) == list(reversed(left.texts[len(values) :]))
        assert len(set(left.texts)) == sum(left.counts.values())
        assert len(set(left.texts)) == len(values) - 3  # two telephones and a card are written in two ways

    def test_spellings_of_one_value_are_one_value(self) -> None:
        texts = ["Ada@Example.com ada@example.com ada%40example.com", "+1 415 555 2671", "+1-415-555-2671"]
        assert EVERY.of(texts).texts == ["[email 1] [email 1] [email 1]", "[phone 1]", "[phone 1]"]
        assert EVERY.of(texts).counts == {"email": 1, "phone": 1}

    @given(WORDS.map(" ".join) | ANY_TEXT)
    def test_twice_is_once(self, text: str) -> None:
        once = without(text)
        assert without(once) == once
        assert EVERY.of([once]).counts == {}

    @given(WORDS.map(" ".join))
    def test_no_text_can_pass_for_a_value(self, text: str) -> None:
        """A placeholder that stood in the text already is never given to a value."""
        left = without(f"{text} ada@example.com")
        assert not re.search(r"\[email 1\]$", left) or "[email 1]" not in text

    @given(ANY_TEXT)
    def test_any_text_is_read(self, text: str) -> None:
        left = without(f"{text} ada@example.com {text}")
        assert "ada@example.com" not in left
        left.encode()

    def test_what_overlaps_is_one_value(self) -> None:
        assert without("sk-abc123def456ghi789@example.com") == "[key 1]"


class TestOff:
    @given(st.lists(ONE_OF | ANY_TEXT))
    def test_nothing_changes(self, texts: list[str]) -> None:
        left = Redaction().of(texts)
        assert left.texts is texts
        assert left.counts == {}
        assert not Redaction().is_on

    def test_passages_are_the_same_ones(self) -> None:
        passages = {"answer": Passage.of("ada@example.com")}
        left, counts = Redaction().of_passages(passages)
        assert left["answer"] is passages["answer"]
        assert counts == {}

    def test_what_holds_no_value_is_the_same_passage(self) -> None:
        passages = {"answer": Passage.of("All is well.")}
        assert EVERY.of_passages(passages)[0]["answer"] is passages["answer"]


class TestOwnPatterns:
    OWN: Final = Redaction.model_validate({"own": [{"name": "order", "pattern": r"W\d{7}"}], "kinds": ["email"]})

    def test_they_have_names_of_their_own(self) -> None:
        left = self.OWN.of(["W2378156 of ada@example.com", "W0000001, again W2378156"])
        assert left.texts == ["[order 1] of [email 1]", "[order 2], again [order 1]"]
        assert left.counts == {"order": 2, "email": 1}

    def test_one_that_matches_placeholders_does_not_eat_them(self) -> None:
        digits = Redaction.model_validate({"own": [{"name": "number", "pattern": "[0-9]+"}]})
        assert without("1 and 22 and 1", digits) == "[number 1] and [number 2] and [number 1]"

    def test_one_that_would_stall_backtracking_engines_does_not(self) -> None:
        slow = Redaction.model_validate({"own": [{"name": "slow", "pattern": "(x+x+)+y"}]})
        assert without("x" * 100_000, slow) == "x" * 100_000

    @pytest.mark.parametrize(
        ("own", "why"),
        [
            ({"name": "email", "pattern": "a"}, "the name of another kind"),
            ({"name": "Order", "pattern": "a"}, "should match pattern"),
            ({"name": "any", "pattern": "x*"}, "ask for one character"),
        ],
    )
    def test_what_cannot_work_is_refused(self, own: dict[str, str], why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Redaction.model_validate({"own": [own]})

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (r"own: [{name: order, pattern: 'W(\d{7}'}]", "2:23: redact.own.0.pattern: .* missing [)]"),
            ("own: [{name: order, pattern: '(?=a)b'}]", "2:23: redact.own.0.pattern: .* look-arounds"),
            ("kinds: [email, fone]", "2:18: redact.kinds.1: .*did you mean 'phone'"),
        ],
    )
    def test_a_mistake_is_told_with_its_place(self, tmp_path: Path, line: str, problem: str) -> None:
        (tmp_path / "rubrics").mkdir()
        for name, text in {"rules": "[]", "monitors": "[]", "evaluator": f"redact:\n  {line}\n"}.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        with pytest.raises(ConfigError, match=problem):
            load(tmp_path)


def asked(of: Trace | dict[str, Any], inputs: Any = None, context: int = 128_000, **more: Any) -> Question:
    written = {
        "name": "helpful",
        "inputs": inputs or {"question": "$.root.input", "answer": "$.root.output", "story": "transcript"},
        "criteria": "Does it help? Ask ada@example.com of our team.",
        "score": {"type": "numeric", "min": 1, "max": 5},
        **more,
    }
    rubric = Rubric(RubricSpec.model_validate(written), context=context, redaction=EVERY)
    found = rubric.question(of) if isinstance(of, Trace) else rubric.question_from(of)
    assert isinstance(found, Question)
    return found


class TestQuestions:
    OF: Final = trace(
        tool("mail", {"to": "bob@example.com", "raw": '{"n":"4111 1111 1111 1111"}'}, output={"a": ["+49 30 1234567"]}),
        input=[{"role": "user", "content": "I am bob@example.com"}],
        output={"reply": "Thanks, BOB@example.com!"},
    )  # fmt: skip

    def test_every_input_is_without_values_and_one_value_has_one_name(self) -> None:
        question = asked(self.OF)
        assert not re.search("(?i)bob|4111|1234567", question.prompt.user)
        assert set(re.findall(r"\[\w+ \d\]", question.prompt.user)) == {"[email 1]", "[card 1]", "[phone 1]"}
        assert question.details["redacted"] == {"email": 1, "card": 1, "phone": 1}

    def test_a_verdict_tells_how_many(self) -> None:
        outcome = asked(self.OF).read(
            Reply('{"reasoning": "It greets [email 1].", "score": 4}', "gpt", "stop", Usage())
        )
        assert isinstance(outcome, Verdict)
        assert outcome.details["redacted"] == {"email": 1, "card": 1, "phone": 1}

    def test_golden_examples_are_redacted_too(self) -> None:
        question = asked({"question": "a", "answer": {"to": "bob@example.com"}, "story": "b"})
        assert '{"to":"[email 1]"}' in question.prompt.user.replace(": ", ":")

    def test_criteria_are_the_teams_own_words(self) -> None:
        assert "ada@example.com" in asked(self.OF).prompt.system

    def test_a_prompt_of_langfuse_names_inputs_and_pastes_none(self) -> None:
        spec = {"prompt": {"langfuse": "judge"}, "inputs": {"answer": "$.root.output"}, "name": "helpful"}
        rubric = Rubric(RubricSpec.model_validate({**spec, "score": {"type": "boolean"}}), redaction=EVERY)
        question = rubric.with_prompt(ManagedPrompt(text="Is {{answer}} right?", version=3)).question(self.OF)
        assert isinstance(question, Question)
        assert 'Is "answer" right?' in question.prompt.system
        assert "BOB" not in question.prompt.system + question.prompt.user

    def test_parts_and_packs_hold_placeholders(self) -> None:
        steps = [step(f"s{n}", output=f"bob@example.com {n} {'word ' * 1500}") for n in range(12)]
        for long in ("parts", "pack"):
            question = asked(trace(*steps), inputs={"story": "transcript"}, judge={"long": long}, context=24_000)
            prompts = [question.prompt]
            while isinstance(
                read := question.read(Reply('{"notes": "Seen.", "score": 1, "reasoning": ""}', "gpt", "stop", Usage())),
                Prompt,
            ):
                question = question.again(read)
                prompts.append(read)
            assert not any("bob@" in prompt.user for prompt in prompts)
            assert all("[email 1]" in prompt.user for prompt in prompts)

    def test_nothing_is_cut_before_it_is_taken_out(self) -> None:
        """A value in two halves would be none."""
        text = "x" * 95 + " bob.of.the.long.name@example.com " + "y" * 400
        question = asked(trace(output=text), inputs={"answer": {"path": "$.root.output", "max_chars": 200}})
        assert "bob" not in question.prompt.user
        assert "example.com" not in question.prompt.user

    def test_images_are_still_found(self) -> None:
        picture = "@@@langfuseMedia:type=image/png|id=Abc-12_x|source=bytes@@@"
        question = asked(trace(input=f"bob@example.com {picture}"), inputs={"question": "$.root.input"}, vision=True)
        assert question.prompt.media == ("Abc-12_x",)

    def test_what_is_taken_out_is_another_ruler_and_its_order_is_not(self) -> None:
        spec = {"name": "a", "inputs": {"b": "$.root.output"}, "criteria": "C?", "score": {"type": "boolean"}}

        def version(redaction: Redaction) -> str:
            return Rubric(RubricSpec.model_validate(spec), redaction=redaction).version

        assert version(Redaction(kinds=("email", "ip"))) == version(Redaction(kinds=("ip", "email", "ip")))
        assert len({version(each) for each in (Redaction(), EVERY, Redaction(kinds=("ip",)))}) == 3
