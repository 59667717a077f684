from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.sampling.jobs import Job, UnknownVersion, from_message, to_message
from evaluator.sampling.sampler import Sampled
from traces import SessionRef, TraceRef

times = st.datetimes(min_value=datetime(2020, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside
refs = st.builds(TraceRef, st.text(min_size=1), st.text(min_size=1), st.text(), times, times)
session_refs = st.builds(SessionRef, st.text(min_size=1), st.text(min_size=1), st.text(), times, times)
samples = st.builds(Sampled, st.text(min_size=1), st.floats(0, 1), st.text(), st.booleans())
jobs = st.lists(
    st.builds(Job, refs | session_refs, st.lists(samples, max_size=4).map(tuple), st.integers(0, 50)), max_size=6
)


@given(jobs)
def test_a_message_brings_back_the_jobs_it_was_made_of(several: list[Job]) -> None:
    sent = orjson.dumps(to_message(several))
    assert list(from_message(orjson.loads(sent))) == several


def test_a_message_of_a_newer_release_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownVersion, match="update the worker"):
        from_message({"v": 99, "jobs": []})


def test_only_a_message_about_sessions_is_one_that_an_older_worker_leaves_alone() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    of_trace = Job(TraceRef("t", "r", "e", now, now), ())
    of_session = Job(SessionRef("session/1/s", "s", "e", now, now), ())
    assert to_message([of_trace])["v"] == 1
    assert to_message([of_trace, of_session])["v"] == to_message([of_session])["v"] == 2


def test_a_message_that_depends_on_rules_is_left_to_a_worker_that_knows_them() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ref = TraceRef("t", "r", "e", now, now)
    plain, depends = Sampled("a", 1, "0"), Sampled("a", 1, "1", depends=True)
    written = to_message([Job(ref, (plain,))])
    assert (written["v"], written["jobs"][0]["samples"]) == (1, [["a", 1, "0"]])
    assert to_message([Job(ref, (depends, plain))])["v"] == 3


def test_a_job_put_back_counts_its_attempts() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job(TraceRef("t", "r", "e", now, now), (Sampled("a", 1, "0"), Sampled("b", 1, "0")))
    again = job.again([job.samples[1]])
    assert (again.attempt, again.samples) == (1, (Sampled("b", 1, "0"),))
    assert job.again().samples == job.samples


def test_what_every_release_so_far_has_written_is_read() -> None:
    at = "2026-03-02T09:00:00+00:00"
    first = {"trace": ["t", "r", "e", at, at], "samples": [["a", 0.5, "0"]], "attempt": 2}
    second = {"session": ["session/1/s", "s", "e", at, at], "samples": [["a", 1.0, "1"]], "attempt": 0}
    ((of_trace,), (of_session,)) = (from_message({"v": v, "jobs": [job]}) for v, job in ((1, first), (2, second)))
    assert (of_trace.ref.id, of_trace.samples, of_trace.attempt) == ("t", (Sampled("a", 0.5, "0"),), 2)
    assert (of_trace.about, of_session.about) == ({"trace_id": "t"}, {"session_id": "s"})
