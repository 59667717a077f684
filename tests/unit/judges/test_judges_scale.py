from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from judges import BooleanScale, CategoricalScale, NumericScale, OffScale, Price, Scale
from judges.answer import abstains
from traces import DataType

FIVE = NumericScale(type="numeric", min=1, max=5)
YES_NO = BooleanScale(type="boolean")
TONES = CategoricalScale(type="categorical", labels=("friendly", "neutral", "N.A."))

AROUND = st.sampled_from(["", " ", "\n", "**", '"', "`", "("])
FORMS = st.sampled_from(["{}", "Score: {}", "score={}", "Rating is {}", "Final score: {}", "**Score:** {}", "{}/5"])


class TestNumbers:
    @pytest.mark.parametrize(
        ("answer", "value"),
        [
            (4, 4.0),
            (4.5, 4.5),
            ("4", 4.0),
            (" 4.25 ", 4.25),
            ("4.", 4.0),
            ("+4", 4.0),
            ("Score: 4", 4.0),
            ("**Score:** 4", 4.0),
            ("rating = 4", 4.0),
            ("Final score: **4**", 4.0),
            ("4/5", 4.0),
            ("4 / 5.", 4.0),
            ("4 out of 5", 4.0),
            ('"4"', 4.0),
            ("[4]", 4.0),
        ],
    )
    def test_a_number_alone_or_behind_its_label_is_read(self, answer: Any, value: float) -> None:
        assert FIVE.parse(answer) == value
        assert isinstance(FIVE.parse(answer), float)

    @pytest.mark.parametrize(
        "answer",
        [
            "40 %",
            "4%",
            "4 percent",
            "4 of the claims hold",
            "three claims, 4 facts",
            "4/10",
            "4 out of 10",
            "4 or 5",
            "4-5",
            "4,5",
            "4 5",
            "4e0",
            "<4",
            "~4",
            "≈4",
            "$4",
            "4°",
            "step 4",
            "v4",
            "4th",
            "٤",
            "4.2.1",
            "four",
            "",
            " ",
            ".",
            True,
            False,
            [4],
            {"score": 4},
            b"4",
            "4" * 200,
            " " * 200 + "4",
        ],
    )
    def test_anything_else_is_no_number(self, answer: Any) -> None:
        with pytest.raises(OffScale, match="expected a number from 1 to 5"):
            FIVE.parse(answer)

    @pytest.mark.parametrize(
        "answer", [0, 0.999, 5.001, -3, "-3", "-4", "0.5", ".5", "6", math.nan, math.inf, -math.inf, 10**400]
    )
    def test_what_lies_beside_the_scale_is_no_value(self, answer: Any) -> None:
        with pytest.raises(OffScale):
            FIVE.parse(answer)

    def test_half_is_half_where_the_scale_has_it(self) -> None:
        share = NumericScale(type="numeric", min=0, max=1)
        assert share.parse("0.5") == 0.5
        with pytest.raises(OffScale):
            share.parse("1/2")

    @pytest.mark.parametrize(("said", "value"), [(1.0000000000000002, 1), (-1e-12, 0), ("1.000000000000001", 1)])
    def test_an_error_of_rounding_is_not_beside_the_scale(self, said: Any, value: float) -> None:
        assert NumericScale(type="numeric", min=0, max=1).parse(said) == value

    def test_a_sign_is_kept(self) -> None:
        assert NumericScale(type="numeric", min=-5, max=5).parse("-3") == -3

    @given(st.floats(1, 5), FORMS, AROUND)
    def test_every_written_number_of_the_scale_is_read_back(self, value: float, form: str, around: str) -> None:
        written = form.format(f"{value:.4f}")
        assert FIVE.parse(around + written + around.replace("(", ")")) == float(f"{value:.4f}")

    @given(st.integers(0, 100), st.sampled_from([" %", "%", "/100", " of 7", " percent", " points", "k"]))
    def test_a_number_with_something_behind_it_is_none(self, number: int, behind: str) -> None:
        with pytest.raises(OffScale):
            FIVE.parse(f"{number}{behind}")

    @given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
    @example("5\n1")
    def test_an_answer_is_a_value_of_the_scale_or_refused(self, answer: Any) -> None:
        try:
            value = FIVE.parse(answer)
        except OffScale:
            return
        assert 1 <= value <= 5

    @pytest.mark.parametrize(("low", "high"), [(5, 1), (1, 1), (math.nan, 5), (1, math.inf), (-math.inf, 1)])
    def test_limits_make_sense(self, low: float, high: float) -> None:
        with pytest.raises(ValidationError):
            NumericScale(type="numeric", min=low, max=high)


class TestYesOrNo:
    @pytest.mark.parametrize("answer", [True, "true", "True.", " yes ", "**PASS**", '"true"'])
    def test_yes(self, answer: Any) -> None:
        assert YES_NO.parse(answer) is True

    @pytest.mark.parametrize("answer", [False, "false", "NO", "fail", "`false`"])
    def test_no(self, answer: Any) -> None:
        assert YES_NO.parse(answer) is False

    @pytest.mark.parametrize("answer", [0, 1, 1.0, "1", "not true", "true and false", "", None, [True]])
    def test_neither(self, answer: Any) -> None:
        with pytest.raises(OffScale, match="true or false"):
            YES_NO.parse(answer)


class TestLabels:
    @pytest.mark.parametrize(
        ("answer", "label"), [("friendly", "friendly"), ("Friendly.", "friendly"), ('"n.a."', "N.A."), ("n.a", "N.A.")]
    )
    def test_case_and_quotes_do_not_matter(self, answer: str, label: str) -> None:
        assert TONES.parse(answer) == label

    @pytest.mark.parametrize("answer", ["", "friend", "friendly, neutral", "unfriendly", 1, None, ["friendly"], True])
    def test_anything_else_is_no_label(self, answer: Any) -> None:
        with pytest.raises(OffScale, match='exactly one of "friendly", "neutral"'):
            TONES.parse(answer)

    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            (("good", "Good"), "upper and lower case"),
            (("good", '"good"'), "upper and lower case"),
            (("good", "..."), "letters or digits"),
            (("good", " "), "letters or digits"),
            (("good", "Cannot judge"), "it is not a label"),
            (("good",), "at least 2"),
        ],
    )
    def test_labels_can_be_told_apart(self, labels: tuple[str, ...], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            CategoricalScale(type="categorical", labels=labels)

    @given(st.lists(st.text(min_size=1), min_size=2, max_size=5))
    def test_every_label_is_read_as_itself(self, labels: list[str]) -> None:
        try:
            scale = CategoricalScale(type="categorical", labels=tuple(labels))
        except ValidationError:
            return
        assert [scale.parse(label) for label in labels] == labels
        assert not any(abstains(label) for label in labels)


@pytest.mark.parametrize("answer", ["cannot_judge", "Cannot judge", "CANNOT-JUDGE.", '"cannot_judge"', None])
def test_cannot_judge_is_recognised(answer: Any) -> None:
    assert abstains(answer)


@pytest.mark.parametrize("answer", ["", "judge", 0, False, [], "n/a", "I cannot judge this as good"])
def test_other_answers_do_not_abstain(answer: Any) -> None:
    assert not abstains(answer)


@pytest.mark.parametrize(
    ("written", "data_type", "kind"),
    [
        ({"type": "numeric", "min": 0, "max": 1}, DataType.NUMERIC, "number"),
        ({"type": "boolean"}, DataType.BOOLEAN, "boolean"),
        ({"type": "categorical", "labels": ["a", "b"]}, DataType.CATEGORICAL, "string"),
    ],
)
def test_scales_are_told_apart_by_type(written: dict[str, Any], data_type: DataType, kind: str) -> None:
    scale: Scale = TypeAdapter[Scale](Scale).validate_python(written)
    assert scale.data_type is data_type
    assert scale.answer_schema()["type"] == kind
    assert json.dumps(scale.answer_schema())


@pytest.mark.parametrize("written", [{"type": "likert"}, {}, {"type": "boolean", "min": 1}, {"type": "numeric"}])
def test_other_scales_are_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[Scale](Scale).validate_python(written)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_price_is_for_a_million_tokens(read: int, written: int) -> None:
    price = Price(input=0.25, output=2)
    assert price.cost(read, written) == pytest.approx((read * 0.25 + written * 2) / 1e6)
    assert price.cost(read, 0) + price.cost(0, written) == pytest.approx(price.cost(read, written))


def test_a_price_is_not_negative() -> None:
    with pytest.raises(ValidationError):
        Price(input=-1, output=0)
