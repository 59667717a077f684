"""What Langfuse would drop in silence is refused; what is too long is shortened in the open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.errors import Refused
from evaluator.langfuse.writing import BYTES_A_REQUEST, LONGEST_ID, SCORES_A_REQUEST, _groups, _Item, body_of
from traces import DataType, Score, Subject

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOTICE = " [... shortened: Langfuse takes scores of at most 1 MB]"


def score(**changes: Any) -> Score:
    fields: dict[str, Any] = {
        "id": "s",
        "subject": Subject(trace_id="t"),
        "name": "helpfulness",
        "value": 4.0,
        "data_type": DataType.NUMERIC,
        "timestamp": AT,
        **changes,
    }
    return Score(**fields)


def body(**changes: Any) -> Any:
    return orjson.loads(body_of(score(**changes)))


def test_what_is_there_is_sent_and_nothing_more() -> None:
    assert body() == {
        "id": "s",
        "name": "helpfulness",
        "value": 4.0,
        "dataType": "NUMERIC",
        "timestamp": "2026-11-20T12:00:00+00:00",
        "environment": "default",
        "metadata": {},
        "traceId": "t",
    }


@pytest.mark.parametrize(
    ("subject", "keys"),
    [
        (Subject(trace_id="t", observation_id="o"), {"traceId": "t", "observationId": "o"}),
        (Subject(session_id="s"), {"sessionId": "s"}),
    ],
)
def test_the_subject_is_told(subject: Subject, keys: dict[str, str]) -> None:
    sent = body(subject=subject)
    assert {key: sent[key] for key in ("traceId", "observationId", "sessionId") if key in sent} == keys


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "score '': a name must not be empty nor hold a comma"),
        ({"name": "  "}, "score '  ': a name must not be empty nor hold a comma"),
        ({"name": "a,b"}, "score 'a,b': a name must not be empty nor hold a comma"),
        ({"id": ""}, "score 'helpfulness': an id has 1 to 800 characters and no carriage return"),
        ({"id": "x" * (LONGEST_ID + 1)}, "score 'helpfulness': an id has 1 to 800 characters and no carriage return"),
        ({"id": "a\rb"}, "score 'helpfulness': an id has 1 to 800 characters and no carriage return"),
        ({"timestamp": AT.replace(tzinfo=None)}, "score 'helpfulness': its timestamp has no time zone"),
        ({"value": float("nan")}, "score 'helpfulness': a NUMERIC value is a finite number"),
        ({"value": float("inf")}, "score 'helpfulness': a NUMERIC value is a finite number"),
        ({"value": "4"}, "score 'helpfulness': a NUMERIC value is a finite number"),
        ({"data_type": DataType.BOOLEAN, "value": 2.0}, "score 'helpfulness': a BOOLEAN value is 0 or 1"),
        ({"data_type": DataType.BOOLEAN, "value": "yes"}, "score 'helpfulness': a BOOLEAN value is a finite number"),
        (
            {"data_type": DataType.CATEGORICAL, "value": 1.0},
            "score 'helpfulness': a CATEGORICAL value is a text that is not empty",
        ),
        (
            {"data_type": DataType.CATEGORICAL, "value": ""},
            "score 'helpfulness': a CATEGORICAL value is a text that is not empty",
        ),
        ({"metadata": {"a": "x" * BYTES_A_REQUEST}}, "score helpfulness: its metadata has more than 900,000 bytes"),
    ],
)
def test_what_would_be_lost_is_refused_with_its_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as caught:
        body_of(score(**changes))
    assert str(caught.value) == said


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_truths_are_numbers(value: float) -> None:
    assert body(data_type=DataType.BOOLEAN, value=value)["value"] == value


def test_the_longest_id_is_taken() -> None:
    assert len(body(id="x" * LONGEST_ID)["id"]) == LONGEST_ID


@pytest.mark.parametrize("environment", ["Production", "a b", "", "x" * 41, "prod\n"])
def test_an_environment_langfuse_does_not_know_is_the_default(environment: str) -> None:
    assert body(environment=environment)["environment"] == "default"


def test_an_environment_is_kept() -> None:
    assert body(environment="prod_eu-1")["environment"] == "prod_eu-1"


class TestComments:
    @pytest.mark.parametrize("letter", ["x", "é", "😀", '"', "\n", "\x01", "\ud800"], ids=ascii)
    def test_a_long_one_is_shortened_and_says_so(self, letter: str) -> None:
        written = body_of(score(comment="Because: " + letter * 1_000_000))
        assert len(written) <= BYTES_A_REQUEST
        comment = orjson.loads(written)["comment"]
        assert comment.endswith(NOTICE)

    @pytest.mark.parametrize("letter", ["x", "é", "😀", '"', "\n", "\x01", "\ud800"], ids=ascii)
    def test_as_much_of_it_is_kept_as_fits(self, letter: str) -> None:
        written = body_of(score(comment="Because: " + letter * 1_000_000))
        assert orjson.loads(written)["comment"].startswith("Because: ")
        assert len(written) > BYTES_A_REQUEST * 0.99

    def test_one_that_fits_is_whole(self) -> None:
        comment = "x" * (BYTES_A_REQUEST - 1000)
        assert body(comment=comment)["comment"] == comment

    def test_room_beside_large_metadata_is_found(self) -> None:
        sent = body(comment="y" * 300_000, metadata={"a": "x" * 700_000})
        assert len(sent["metadata"]["a"]) == 700_000
        assert sent["comment"].endswith("y" + NOTICE)

    @given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=50))
    def test_any_text_can_be_sent(self, comment: str) -> None:
        sent = body(comment=comment)
        assert sent.get("comment", "") == comment or any("\ud800" <= letter <= "\udfff" for letter in comment)


@pytest.mark.parametrize("odd", [{1: "a"}, {"a": "\ud800"}, {"a": 2**70}, {"a": {1, 2}}, {"a": AT}])
def test_odd_metadata_loses_no_score(odd: Any) -> None:
    assert set(body(metadata=odd)["metadata"]) == {str(key) for key in odd}


@given(st.lists(st.integers(2, BYTES_A_REQUEST), max_size=30) | st.lists(st.just(2), max_size=350))
def test_groups_keep_order_and_both_limits(sizes: list[int]) -> None:
    items = [_Item(place, bytes(size)) for place, size in enumerate(sizes)]
    groups = list(_groups(items))
    assert [item for group in groups for item in group] == items
    assert all(0 < len(group) <= SCORES_A_REQUEST for group in groups)
    assert all(len(b",".join(item.body for item in group)) <= BYTES_A_REQUEST for group in groups)
