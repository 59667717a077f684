from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from rules import Rule, failed, measured, passed, quoted
from rules.base import LONGEST_REASON, counted
from tests.building import ANY_TEXT, trace
from traces import DataType, Trace, Verdict


class SaysHello2World(Rule):
    """Says hello."""

    limit: int = Field(default=1, ge=1)

    def check(self, trace: Trace) -> Verdict:
        return passed(f"hello {trace.id}, {self.limit}")


class Renamed(SaysHello2World):
    kind: ClassVar[str] = "other_name"


def test_the_kind_is_the_class_name_in_snake_case() -> None:
    assert SaysHello2World.kind == "says_hello2_world"


def test_a_kind_may_be_named_and_is_not_inherited() -> None:
    class Child(Renamed):
        pass

    assert Renamed.kind == "other_name"
    assert Child.kind == "child"


def test_a_rule_gives_a_boolean_unless_it_says_otherwise() -> None:
    assert SaysHello2World.gives is DataType.BOOLEAN


def test_fields_are_parameters() -> None:
    assert SaysHello2World(limit=3).check(trace()) == Verdict(True, "hello t1, 3")


@pytest.mark.parametrize("parameters", [{"limit": 0}, {"limits": 1}, {"limit": "many"}])
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SaysHello2World.model_validate(parameters)


def test_a_rule_is_frozen_and_a_value() -> None:
    rule = SaysHello2World()
    with pytest.raises(ValidationError):
        rule.limit = 2  # type: ignore[misc]  # what the test is about
    assert rule == SaysHello2World(limit=1)


def test_a_rule_without_check_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Rule()  # type: ignore[abstract]  # what the test is about


class TestWording:
    def test_verdicts(self) -> None:
        assert (passed("good").value, failed("bad").value, measured(3, "three").value) == (True, False, 3.0)
        assert isinstance(measured(3, "three").value, float)

    @given(ANY_TEXT, st.integers(1, 100))
    def test_a_reason_is_one_short_line_that_can_be_encoded(self, text: str, times: int) -> None:
        for verdict in (passed(text * times), failed(text * times), measured(1, text * times)):
            assert len(verdict.reason) <= LONGEST_REASON
            assert "\n" not in verdict.reason
            assert "\x00" not in verdict.reason
            verdict.reason.encode()

    def test_what_is_cut_says_so(self) -> None:
        assert passed("a" * 301).reason == "a" * 299 + "…"
        assert passed("a" * 300).reason == "a" * 300
        assert passed(" " * 5000 + "a").reason.endswith("…")

    @given(ANY_TEXT, st.integers(2, 80))
    def test_a_quote_is_as_short_as_asked(self, text: str, longest: int) -> None:
        assert len(quoted(text, longest)) <= longest + 2

    def test_a_quote_is_on_one_line(self) -> None:
        assert quoted("a\n\tb\x00c") == "'a b c'"

    @pytest.mark.parametrize(
        ("number", "text"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1200, "1,200 steps"), (12.0, "12 steps")]
    )
    def test_numbers_agree_with_their_noun(self, number: float, text: str) -> None:
        assert counted(number, "step") == text
