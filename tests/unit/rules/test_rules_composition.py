from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rules import Rule, TextRule, passed
from rules.composition import KINDS, AllOf, AnyOf, Opposite
from tests.building import trace
from traces import DataType, NotApplicable, Outcome, Trace, Verdict

SHORT = {"rule": "length", "max": 5}
LONG = {"rule": "length", "min": 3}
COSTS = {"rule": "max_cost", "usd": 1}


def says(kind: type[Rule], output: Any, **fields: Any) -> Outcome:
    return kind.model_validate(fields).check(trace(output=output))


def value(found: Outcome) -> Any:
    assert isinstance(found, Verdict)
    return found.value


class TestAll:
    @pytest.mark.parametrize(("text", "good"), [("ab", 1), ("abcd", 2), ("abcdefg", 1)])
    def test_all_must_pass(self, text: str, good: int) -> None:
        found = says(AllOf, text, of=[SHORT, LONG])
        assert isinstance(found, Verdict)
        assert (found.value, found.details) == (good == 2, {"measured": good})

    def test_the_first_that_fails_is_told(self) -> None:
        found = says(AllOf, "abcdefg", of=[LONG, SHORT])
        assert isinstance(found, Verdict)
        assert found.reason == "1 of 2 rules passed; length: 7 characters, at most 5 allowed"

    def test_the_share_may_be_the_score(self) -> None:
        assert value(says(AllOf, "ab", of=[SHORT, LONG], score="fraction")) == 0.5
        assert value(says(AllOf, "abcd", of=[SHORT, LONG], score="fraction")) == 1.0
        assert AllOf.model_validate({"of": [SHORT], "score": "fraction"}).writes is DataType.NUMERIC
        assert AllOf.model_validate({"of": [SHORT]}).writes is DataType.BOOLEAN

    def test_who_has_nothing_to_say_is_left_out(self) -> None:
        assert value(says(AllOf, "ab", of=[SHORT, COSTS])) is True
        assert says(AllOf, "ab", of=[COSTS]) == NotApplicable("none of its rules applies")


class TestAny:
    @pytest.mark.parametrize(("text", "expected"), [("ab", True), ("abcdefg", True), ("abcd", True)])
    def test_one_is_enough(self, text: str, expected: bool) -> None:
        assert value(says(AnyOf, text, of=[SHORT, LONG])) is expected

    def test_none_fails_with_the_first(self) -> None:
        found = says(AnyOf, "abcdefg", of=[SHORT, {"rule": "contains", "all": ["z"]}, COSTS])
        assert found == Verdict(False, "none of 2 rules passed; length: 7 characters, at most 5 allowed")

    def test_who_has_nothing_to_say_is_left_out(self) -> None:
        assert says(AnyOf, "ab", of=[COSTS]) == NotApplicable("none of its rules applies")


class TestNot:
    def test_it_says_the_opposite(self) -> None:
        assert says(Opposite, "ab", of=SHORT) == Verdict(False, "length: 2 characters")
        assert value(says(Opposite, "abcdefg", of=SHORT)) is True

    def test_nothing_stays_nothing(self) -> None:
        assert says(Opposite, "ab", of=COSTS) == NotApplicable("no cost recorded")

    def test_twice_is_the_rule_itself(self) -> None:
        twice = Opposite.model_validate({"of": {"rule": "not", "of": SHORT}})
        for text in ("ab", "abcdefg"):
            assert value(twice.check(trace(output=text))) is (len(text) <= 5)


@pytest.mark.parametrize(
    ("inner", "place", "said"),
    [
        ({"rule": "lenght", "max": 3}, ("of", 0, "rule"), "unknown kind; did you mean 'length'?"),
        ({"rule": "length", "mx": 3}, ("of", 0, "mx"), "did you mean 'max'?"),
        ({"rule": "length", "max": "x"}, ("of", 0, "max"), "valid integer"),
        ({"rule": "length"}, ("of", 0), "needs min, max or both"),
        ({"max": 3}, ("of", 0, "rule"), "required"),
        ("length", ("of", 0), "expected a rule"),
        ({"rule": ["length"]}, ("of", 0, "rule"), "unknown kind; "),
        ({"rule": "tool_call_count"}, ("of",), "tool_call_count gives a number"),
        ({"rule": "all", "of": [SHORT], "score": "fraction"}, ("of",), "all gives a number"),
    ],
)
def test_mistakes_inside_are_told_with_their_place(inner: Any, place: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AllOf.model_validate({"of": [inner]})
    error = caught.value.errors()[0]
    assert error["loc"] == place
    assert said in error["msg"]


def test_an_empty_list_is_refused() -> None:
    for kind in (AllOf, AnyOf):
        with pytest.raises(ValidationError):
            kind.model_validate({"of": []})


def test_kinds_of_a_team_may_stand_inside() -> None:
    class Shouts(TextRule):
        def check_text(self, text: str) -> Verdict:
            return passed(text)

    rule = AllOf.model_validate({"of": [{"rule": "shouts"}]}, context={KINDS: {"shouts": Shouts}})
    assert [type(each) for each in rule.every_part()] == [AllOf, Shouts]
    assert value(rule.check(trace())) is True


def test_deep_nesting_is_checked() -> None:
    rule: dict[str, Any] = SHORT
    for _ in range(30):
        rule = {"rule": "not", "of": rule}
    assert value(Opposite.model_validate({"of": rule}).check(trace(output="ab"))) is False


def test_a_rule_that_breaks_breaks_the_whole() -> None:
    class Broken(Rule):
        def check(self, trace: Trace) -> Verdict:
            raise RuntimeError(trace.id)

    rule = AnyOf(of=(Broken(),))
    with pytest.raises(RuntimeError):
        rule.check(trace())
