from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from traces import DataType, Subject, score_id
from traces.scores import _NAMESPACE

# Ids are whatever users made them, down to separators, NULs and halves of characters.
ANY_TEXT = st.text(st.sampled_from('ab/\x00"\\,[]\ud800é'), min_size=1, max_size=6)
SUBJECTS = st.one_of(
    st.builds(lambda trace: Subject(trace_id=trace), ANY_TEXT),
    st.builds(lambda trace, step: Subject(trace_id=trace, observation_id=step), ANY_TEXT, ANY_TEXT),
    st.builds(lambda session: Subject(session_id=session), ANY_TEXT),
)
KEYS = st.tuples(ANY_TEXT, SUBJECTS, ANY_TEXT)


@given(KEYS)
def test_the_same_score_always_has_the_same_id(key: tuple[str, Subject, str]) -> None:
    assert score_id(*key) == score_id(*key)


@given(KEYS)
def test_an_id_is_a_uuid_of_version_5_as_the_standard_library_makes_it(key: tuple[str, Subject, str]) -> None:
    project, subject, name = key
    parts = [project, subject.trace_id, subject.observation_id, subject.session_id, name]
    assert score_id(*key) == str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))


@given(KEYS, KEYS)
def test_different_scores_never_share_an_id(one: tuple[str, Subject, str], two: tuple[str, Subject, str]) -> None:
    assume(one != two)
    assert score_id(*one) != score_id(*two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Subject("a/b", "c"), Subject("a", "b/c")),
        (Subject("a/b"), Subject("a", "b")),
        (Subject(trace_id="a"), Subject(session_id="a")),
    ],
)
def test_subjects_that_read_the_same_differ(one: Subject, two: Subject) -> None:
    assert score_id("p", one, "n") != score_id("p", two, "n")


def test_parts_cannot_run_into_each_other() -> None:
    assert score_id("p", Subject("t\x00n"), "m") != score_id("p", Subject("t"), "n\x00m")


def test_the_id_is_a_uuid_of_version_five_and_stays_what_it_is() -> None:
    made = score_id("project", Subject(trace_id="trace"), "helpfulness")
    assert uuid.UUID(made).version == 5
    # A change here would duplicate every score ever written: it needs a migration, not a new number.
    assert made == "4cfddeaf-f80b-5b09-9df3-a2c0c1047c41"


@pytest.mark.parametrize(
    "parts",
    [{}, {"trace_id": "t", "session_id": "s"}, {"observation_id": "o"}, {"session_id": "s", "observation_id": "o"}],
)
def test_a_subject_is_one_thing(parts: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"either a trace or a session|needs its trace"):
        Subject(**parts)


def test_a_subject_reads_as_its_ids() -> None:
    assert str(Subject("t", "o")) == "t/o"
    assert str(Subject(session_id="s")) == "s"


def test_types_are_langfuse_words() -> None:
    assert [str(kind) for kind in DataType] == ["NUMERIC", "BOOLEAN", "CATEGORICAL"]
