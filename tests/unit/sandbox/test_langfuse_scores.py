from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.score_query import answer_score_query, read_score_query
from sandbox.langfuse.score_store import ScoreRow, Scores
from sandbox.langfuse.scores import ScoreConfig, problems, score_row, stored_metadata
from sandbox.langfuse.times import iso, milliseconds

NOW = milliseconds("2026-11-23T09:00:00Z")
DAY = 86_400_000


def body(**fields: Any) -> dict[str, Any]:
    return {"id": "s1", "name": "helpful", "value": 0.5, "traceId": "t1"} | fields


def stored(now: int = NOW, *, keeps_timestamp: bool = True, **fields: Any) -> ScoreRow:
    return score_row(body(**fields), now=now, visible_at=now, keeps_timestamp=keeps_timestamp)


def table(*rows: dict[str, Any]) -> Scores:
    made = Scores()
    for number, fields in enumerate(rows):
        given_fields = {"id": f"s{number}", "timestamp": iso(NOW + number * 1000)} | fields
        made.put(stored(**given_fields))
    return made


def ask(scores: Scores, now: int = NOW, **params: Any) -> dict[str, Any]:
    return answer_score_query(read_score_query(MultiDict(params)), scores, "p", now)


def ids(scores: Scores, **params: Any) -> list[str]:
    return [found["id"] for found in ask(scores, **params)["data"]]


# --- validation ---


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"value": 3},
        {"value": "good"},
        {"value": 1, "dataType": "BOOLEAN"},
        {"value": 0, "dataType": "BOOLEAN"},
        {"value": "yes", "dataType": "CATEGORICAL"},
        {"value": "x" * 500, "dataType": "TEXT"},
        {"value": "better", "dataType": "CORRECTION"},
        {"observationId": "o1"},
        {"traceId": None, "sessionId": "s"},
        {"traceId": None, "datasetRunId": "r"},
        {"id": None},
        {"id": "i" * 800},
        {"metadata": [1, 2]},
        {"metadata": "text"},
        {"comment": "c" * 10_000},
        {"source": "ANNOTATION"},
        {"timestamp": "2026-11-01T00:00:00+02:00"},
        {"unknown": 1},
    ],
)
def test_what_is_accepted(fields: dict[str, Any]) -> None:
    assert list(problems(body(**fields))) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": None},
        {"name": 3},
        {"value": None},
        {"value": True},
        {"value": [1]},
        {"value": "3", "dataType": "NUMERIC"},
        {"value": 2, "dataType": "BOOLEAN"},
        {"value": True, "dataType": "BOOLEAN"},
        {"value": "yes", "dataType": "BOOLEAN"},
        {"value": 1, "dataType": "CATEGORICAL"},
        {"value": "", "dataType": "TEXT"},
        {"value": "x" * 501, "dataType": "TEXT"},
        {"value": "x", "dataType": "CORRECTION", "configId": "c"},
        {"value": "x", "dataType": "CORRECTION", "traceId": None, "sessionId": "s"},
        {"dataType": "numeric"},
        {"traceId": None},
        {"sessionId": "s"},
        {"traceId": None, "sessionId": "s", "observationId": "o"},
        {"id": ""},
        {"id": "i" * 801},
        {"id": "a\rb"},
        {"id": 5},
        {"comment": 5},
        {"source": "EVAL"},
        {"timestamp": "2026-11-01T00:00:00"},
        {"timestamp": 1},
        {"environment": 1},
    ],
)
def test_what_is_refused(fields: dict[str, Any]) -> None:
    assert list(problems(body(**fields)))
    with pytest.raises(Refusal) as caught:
        stored(**fields)
    assert (caught.value.status, caught.value.body["message"]) == (400, "Invalid request data")


@pytest.mark.parametrize("item", [None, 3, "x", []])
def test_a_score_is_an_object(item: Any) -> None:
    assert list(problems(item))


def test_several_problems_are_told_at_once() -> None:
    assert len(list(problems(body(name="", traceId=None, value=None)))) == 3


# --- what is stored ---


def test_the_type_follows_the_value_when_it_is_not_given() -> None:
    assert stored().data_type == "NUMERIC"
    assert stored(value="good").data_type == "CATEGORICAL"


def test_a_correction_is_always_called_output() -> None:
    assert stored(value="x", dataType="CORRECTION").name == "output"


def test_a_missing_id_is_made_up_and_a_missing_time_is_now() -> None:
    first, second = stored(id=None), stored(id=None)
    assert first.id != second.id
    assert first.timestamp == NOW


def test_old_servers_strip_the_timestamp() -> None:
    sent = iso(NOW - DAY)
    assert stored(timestamp=sent).timestamp == NOW - DAY
    assert stored(timestamp=sent, keeps_timestamp=False).timestamp == NOW


def test_the_environment_is_normalised() -> None:
    assert stored(environment="langfuse-Judge").environment == "judge"
    assert stored().environment == "default"


def test_metadata_is_stored_as_text_and_read_back_as_json() -> None:
    row = stored(metadata={"text": "a", "one": "1", "number": 2, "deep": {"x": [1]}})
    assert row.metadata == {"text": "a", "one": "1", "number": "2", "deep": '{"x":[1]}'}
    shown = row.document("p", frozenset({"details"}))["metadata"]
    assert shown == {"text": "a", "one": 1, "number": 2, "deep": {"x": [1]}}, "the text 1 comes back as a number"


def test_metadata_that_is_no_object_goes_under_one_key() -> None:
    assert stored_metadata([1, 2]) == {"metadata": "[1,2]"}
    assert stored_metadata("x") == {"metadata": "x"}
    assert stored_metadata(None) == {}


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ({}, {"kind": "trace", "id": "t1"}),
        ({"observationId": "o1"}, {"kind": "observation", "id": "o1", "traceId": "t1"}),
        ({"traceId": None, "sessionId": "s"}, {"kind": "session", "id": "s"}),
        ({"traceId": None, "datasetRunId": "r"}, {"kind": "experiment", "id": "r"}),
    ],
)
def test_subjects(fields: dict[str, Any], subject: dict[str, Any]) -> None:
    assert stored(**fields).document("p", frozenset({"subject"}))["subject"] == subject


def test_groups_that_are_not_asked_for_are_absent() -> None:
    plain = stored().document("p", frozenset())
    assert set(plain) == {
        "id",
        "projectId",
        "name",
        "value",
        "dataType",
        "source",
        "timestamp",
        "environment",
        "createdAt",
        "updatedAt",
    }
    assert set(stored().document("p", frozenset({"annotation"}))) - set(plain) == {"authorUserId", "queueId"}


def test_a_boolean_is_read_as_one() -> None:
    assert stored(value=1, dataType="BOOLEAN").document("p", frozenset())["value"] is True
    assert stored(value=0, dataType="BOOLEAN").document("p", frozenset())["value"] is False


# --- configs ---


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"value": 3}, True),
        ({"value": 1}, True),
        ({"value": 0}, False),
        ({"value": 6}, False),
        ({"name": "other"}, False),
        ({"value": "x"}, False),
    ],
)
def test_numeric_configs(fields: dict[str, Any], allowed: bool) -> None:
    assert ScoreConfig("c", "helpful", "NUMERIC", 1, 5).allows(stored(**({"value": 2} | fields))) is allowed


def test_labels_and_archived_configs() -> None:
    labels = ScoreConfig("c", "helpful", "CATEGORICAL", labels=("good", "bad"))
    assert labels.allows(stored(value="good"))
    assert not labels.allows(stored(value="middling"))
    assert not ScoreConfig("c", "helpful", "NUMERIC", archived=True).allows(stored())
    assert labels.document("p", iso(NOW))["categories"] == [{"label": "good", "value": 0}, {"label": "bad", "value": 1}]


# --- the key of the table ---


def test_the_same_id_name_and_day_replace() -> None:
    scores = table({"id": "a", "value": 1}, {"id": "a", "value": 2})
    assert [found["value"] for found in ask(scores)["data"]] == [2.0]
    assert scores.counts() == {"scores": 1, "score_rows": 1, "pairs": 1, "duplicates": 0, "dropped_scores": 0}


def test_another_day_is_a_second_row_that_metrics_count_twice() -> None:
    scores = table({"id": "a"}, {"id": "a", "timestamp": iso(NOW - DAY)})
    assert ids(scores) == ["a"], "a single page hides it"
    assert scores.counts() | {"pairs": 1} == {
        "scores": 1,
        "score_rows": 2,
        "pairs": 1,
        "duplicates": 1,
        "dropped_scores": 0,
    }


def test_another_name_is_a_second_row_too() -> None:
    scores = table({"id": "a"}, {"id": "a", "name": "other"})
    assert scores.counts()["score_rows"] == 2
    assert scores.counts()["duplicates"] == 1


def test_two_ids_for_one_subject_and_name_are_a_duplicate() -> None:
    assert table({}, {}).counts()["duplicates"] == 1
    assert table({}, {"name": "other"}).counts()["duplicates"] == 0
    assert table({}, {"traceId": "t2"}).counts()["duplicates"] == 0
    assert table({}, {"observationId": "o"}).counts()["duplicates"] == 0


def test_the_row_of_an_older_day_comes_back_on_a_later_page() -> None:
    scores = table({"id": "a", "timestamp": iso(NOW - DAY)}, {"id": "b", "timestamp": iso(NOW - 1)}, {"id": "a"})
    assert ids(scores) == ["a", "b"]
    first = ask(scores, limit="2")
    assert [found["id"] for found in first["data"]] == ["a", "b"]
    page = ask(scores, limit="1")
    rest = ask(scores, limit="5", cursor=page["meta"]["cursor"])
    assert [found["id"] for found in rest["data"]] == ["b", "a"], "the cursor removed the newer row before the collapse"


def test_old_servers_keep_the_first_timestamp_subject_and_environment() -> None:
    scores = Scores()
    scores.put(stored(environment="one", value=1), keeps_first_timestamp=True)
    later = stored(NOW + DAY, environment="two", value=2, traceId="t2", keeps_timestamp=False)
    scores.put(later, keeps_first_timestamp=True)
    (found,) = ask(scores, NOW + 2 * DAY, fields="subject")["data"]
    assert (found["timestamp"], found["environment"], found["value"]) == (iso(NOW), "one", 2.0)
    assert found["subject"]["id"] == "t1"
    assert scores.counts()["score_rows"] == 1


def test_creation_time_survives_an_update() -> None:
    scores = Scores()
    scores.put(stored(NOW, timestamp=iso(NOW)))
    scores.put(stored(NOW + 5000, timestamp=iso(NOW)))
    (found,) = ask(scores, NOW + 9000)["data"]
    assert (found["createdAt"], found["updatedAt"]) == (iso(NOW), iso(NOW + 5000))


def test_deleting() -> None:
    scores = table({}, {"traceId": "t2"}, {"traceId": "t2", "name": "x"})
    scores.remove("s0")
    scores.remove("unknown")
    assert ids(scores) == ["s2", "s1"]
    scores.remove_traces(["t2"])
    assert ids(scores) == []


# --- reading ---


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7))
def test_pages_meet_every_score_once_in_order(moments: list[int], limit: int) -> None:
    scores = table(*({"timestamp": iso(NOW + at), "name": f"n{n}"} for n, at in enumerate(moments)))
    expected = sorted(((at, f"s{n}") for n, at in enumerate(moments)), reverse=True)
    walked: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = ask(scores, limit=str(limit), **cursor)
        walked += [found["id"] for found in page["data"]]
        if "cursor" not in page["meta"]:
            break
        cursor = {"cursor": page["meta"]["cursor"]}
    assert walked == [id_ for _, id_ in expected]


def test_the_cursor_is_url_safe_and_versioned() -> None:
    text = ask(table({}, {}), limit="1")["meta"]["cursor"]
    content = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert content == {"v": 1, "lastTimestamp": iso(NOW + 1000), "lastId": "s1"}


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "101"},
        {"limit": "0"},
        {"limit": "x"},
        {"colour": "red"},
        {"userId": "u"},
        {"traceTags": "t"},
        {"fields": "score"},
        {"cursor": "%%%"},
        {"cursor": base64.urlsafe_b64encode(b'{"v":2}').decode()},
        {"fromTimestamp": "yesterday"},
        {"dataType": "FLOAT"},
        {"traceId": "t", "sessionId": "s"},
        {"observationId": "o"},
        {"value": "1"},
        {"value": "1", "dataType": "NUMERIC,BOOLEAN"},
        {"value": "x", "dataType": "TEXT"},
        {"valueMin": "1"},
        {"valueMin": "x", "dataType": "NUMERIC"},
    ],
)
def test_parameters_are_strict(params: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        ask(table({}), **params)
    assert caught.value.status == 400


def test_lists_filter() -> None:
    scores = table(
        {"name": "a", "traceId": "t1"},
        {"name": "b", "traceId": "t2", "observationId": "o2"},
        {"name": "c", "traceId": None, "sessionId": "s", "environment": "staging"},
    )
    assert ids(scores, name="a,c") == ["s2", "s0"]
    assert ids(scores, id="s1, s2") == ["s2", "s1"]
    assert ids(scores, traceId="t1,t2") == ["s1", "s0"]
    assert ids(scores, traceId="t2", observationId="o2") == ["s1"]
    assert ids(scores, sessionId="s") == ["s2"]
    assert ids(scores, environment="staging") == ["s2"]
    assert ids(scores, source="api") == ["s2", "s1", "s0"]
    assert ids(scores, authorUserId="anna") == []
    assert ids(scores, id="unknown") == []


def test_values_filter() -> None:
    scores = table(
        {"value": 0.5, "name": "n"},
        {"value": 2, "name": "m"},
        {"value": 1, "dataType": "BOOLEAN", "name": "b"},
        {"value": "good", "name": "c"},
    )
    assert ids(scores, dataType="numeric") == ["s1", "s0"]
    assert ids(scores, dataType="NUMERIC", value="2") == ["s1"]
    assert ids(scores, dataType="BOOLEAN", value="true") == ["s2"]
    assert ids(scores, dataType="CATEGORICAL", value="good,bad") == ["s3"]
    assert ids(scores, dataType="NUMERIC", valueMin="1") == ["s1"]
    assert ids(scores, dataType="NUMERIC", valueMax="1", valueMin="0.5") == ["s0"]


def test_the_time_range_is_half_open() -> None:
    scores = table({}, {}, {})
    bounds = {"fromTimestamp": iso(NOW + 1000), "toTimestamp": iso(NOW + 2000)}
    assert ids(scores, **bounds) == ["s1"]
    assert ids(scores, **bounds, traceId="t1") == ["s1"]


def test_scores_are_invisible_until_their_time() -> None:
    scores = Scores()
    scores.put(score_row(body(), now=NOW, visible_at=NOW + 5000, keeps_timestamp=True))
    assert ask(scores, NOW + 4999)["data"] == []
    assert len(ask(scores, NOW + 5000)["data"]) == 1
    assert scores.counts()["scores"] == 1
