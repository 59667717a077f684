"""State against a real server: what must be atomic, idempotent and honest about an unreachable Redis."""

from __future__ import annotations

import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis

from evaluator.errors import Unavailable
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled
from evaluator.state.connection import connect
from evaluator.state.dead_letters import DeadLetter
from evaluator.state.fleet import Settled, State, Turn
from traces import Failure, NotApplicable, TraceRef, Unscored, Usage, Verdict

NOW = datetime(2026, 11, 20, 10, 59, 59, tzinfo=UTC)


def ref(number: int, ended: datetime = NOW) -> TraceRef:
    return TraceRef(f"trace-{number}", "root", "production", ended - timedelta(seconds=3), ended)


def job(number: int, *evaluators: str) -> Job:
    return Job(ref(number), tuple(Sampled(name, 0.5, "0") for name in evaluators))


def test_the_watermark_comes_back_as_it_was_set(state: State) -> None:
    assert state.watermark() is None
    state.advance(NOW)
    assert state.watermark() == NOW


def test_a_trace_is_claimed_and_counted_once(state: State) -> None:
    # Two hours, so two buckets.
    refs = [ref(n, NOW + timedelta(seconds=n % 2)) for n in range(10)]
    assert state.unclaimed(refs) == {r.id for r in refs}
    decided = {r: ["faithfulness/sampled/", "length/filtered/"] for r in refs}
    assert state.claim(decided) == 10
    assert state.claim(decided) == 0
    assert state.unclaimed(refs) == set()
    assert state.funnel() == Counter({("faithfulness", "sampled", ""): 10, ("length", "filtered", ""): 10})


def test_a_second_root_of_a_claimed_trace_is_no_new_trace_though_it_ended_in_another_hour(state: State) -> None:
    state.claim({ref(1): ["a/sampled/"]})
    for hours in (-1, 0, 1):
        assert state.unclaimed([ref(1, NOW + timedelta(hours=hours)), ref(2)]) == {"trace-2"}
    assert state.unclaimed([ref(1, NOW + timedelta(hours=2))]) == {"trace-1"}


def test_more_traces_than_a_script_takes_at_once_are_claimed(state: State) -> None:
    refs = [ref(n) for n in range(9_000)]
    assert state.unclaimed(refs) == {r.id for r in refs}
    assert state.claim(dict.fromkeys(refs, ("a/sampled/",))) == 9_000
    assert state.unclaimed([*refs, ref(9_001)]) == {"trace-9001"}
    assert state.funnel() == Counter({("a", "sampled", ""): 9_000})


def test_a_pair_is_sampled_once_whoever_hands_it_over_and_when(state: State) -> None:
    """A worker may be faster than the claim, a backfill than both; each pair is counted by the first of them."""
    state.settle([Settled(ref(1), "a", "scored")])
    state.claim({ref(1): ["a/sampled/"], ref(2): ["a/sampled/"]})
    assert state.funnel() == Counter({("a", "sampled", ""): 2, ("a", "scored", ""): 1})
    assert state.reopen([job(2, "a"), job(3, "a")], set(), "no money") == [job(2, "a"), job(3, "a")]
    assert state.funnel()["a", "sampled", ""] == 3
    own, late = ref(3), ref(3)
    state.claim({replace(own, id="trace-3/a"): ["a/sampled/"], replace(late, id="trace-3/a/late"): ["a/sampled/"]})
    state.claim({ref(3): ["a/sampled/", "b/filtered/"]}, NOW)
    assert state.funnel()["a", "sampled", ""] == 3
    assert state.funnel()["b", "filtered", ""] == 1
    assert [each.sampled for each in state.hours.promises(NOW, timedelta(hours=1))] == []
    state.settle([Settled(ref(n), "a", "failed", "odd") for n in (2, 3)])
    for _ in range(2):  # taken back, and not counted anew as long as it has not ended again
        assert len(state.reopen([job(2, "a"), job(3, "a")], set(), "no money")) == 2
    state.settle([Settled(ref(n), "a", "scored") for n in (2, 3)])
    assert state.funnel() == Counter({("a", "sampled", ""): 3, ("a", "scored", ""): 3, ("b", "filtered", ""): 1})


def test_a_pair_that_was_taken_up_again_before_its_claim_is_sampled_once(state: State) -> None:
    """Redis was wiped, or who handed it over died, and it failed: the claim comes when it is on its way once more."""
    state.settle([Settled(ref(n), "a", "failed", "odd") for n in (1, 2)])
    assert len(state.reopen([job(1, "a"), job(2, "a")], set(), "no money")) == 2
    state.claim({ref(1): ["a/sampled/"]})
    state.settle([Settled(ref(n), "a", "scored") for n in (1, 2)])
    state.claim({ref(2): ["a/sampled/"]})
    assert state.funnel() == Counter({("a", "sampled", ""): 2, ("a", "scored", ""): 2})


def test_claims_and_terminal_states_expire(state: State, valkey: redis.Redis) -> None:
    state.claim({ref(1): []})
    state.settle([Settled(ref(1), "a", "scored")])
    lives = [valkey.ttl(key) for key in valkey.keys("test:claimed:*") + valkey.keys("test:settled:*")]
    assert len(lives) == 2
    assert all(0 < seconds <= 3600 for seconds in lives)


def test_the_first_terminal_state_stays_and_is_counted_once(state: State) -> None:
    assert state.settle([Settled(ref(1), "a", "scored"), Settled(ref(1), "b", "failed", "bad answer/odd")]) == 2
    assert state.settle([Settled(ref(1), "a", "failed", "late")]) == 0
    assert state.settled([job(1, "a", "b", "c")]) == {
        ("trace-1", "a"): "scored",
        ("trace-1", "b"): "failed/bad answer/odd",
    }
    assert state.funnel() == Counter({("a", "scored", ""): 1, ("b", "failed", "bad answer/odd"): 1})


def test_many_workers_settling_the_same_count_once(state: State) -> None:
    settled = [Settled(ref(n), "a", "scored") for n in range(50)]
    with ThreadPoolExecutor(8) as pool:
        fresh = list(pool.map(lambda _: state.settle(settled), range(16)))
    assert sum(fresh) == 50
    assert state.funnel()["a", "scored", ""] == 50


@pytest.mark.parametrize(
    "outcome",
    [
        Verdict(4.0, "good", 0.9, Usage("gpt", 1, 10, 5, 0.01), {"truncated": ["answer"]}),
        Verdict(value=True),
        NotApplicable("no documents"),
        Unscored("cannot tell", Usage("gpt", 1)),
        Failure("bad_answer", "no number", retryable=False, usage=Usage("gpt", 2)),
    ],
)
def test_an_outcome_is_remembered_as_it_was(
    state: State, outcome: Verdict | NotApplicable | Unscored | Failure
) -> None:
    state.remember([("t", "faithfulness@v1", outcome)])
    assert state.remembered(["t", "other"]) == {("t", "faithfulness@v1"): outcome}
    state.forget(["t"])
    assert state.remembered(["t"]) == {}


def given_up(number: int, evaluator: str, reason: str, at: datetime) -> Settled:
    return Settled(ref(number), evaluator, "failed", "refused", DeadLetter(job(number, evaluator), reason, at))


def test_dead_letters_without_end_do_not_fill_redis(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.state.dead_letters._MOST_DEAD", 3)
    for number in range(5):
        state.settle([given_up(number, "a", "refused", NOW + timedelta(seconds=number))])
    assert [letter.job.ref.id for letter in state.dead_letters()] == [ref(number).id for number in (2, 3, 4)]


def test_what_one_worker_gave_up_and_another_scored_is_scored_and_leaves_no_letter(state: State) -> None:
    state.settle([given_up(1, "a", "refused", NOW), given_up(2, "a", "refused", NOW)])
    assert state.settle([Settled(ref(1), "a", "scored"), Settled(ref(1), "a", "scored")]) == 0
    assert state.settle([given_up(1, "a", "late", NOW)]) == 0
    assert state.settled([job(1, "a"), job(2, "a")]) == {
        ("trace-1", "a"): "scored",
        ("trace-2", "a"): "failed/refused",
    }
    assert [letter.job.ref.id for letter in state.dead_letters()] == ["trace-2"]
    assert state.funnel() == Counter({("a", "scored", ""): 1, ("a", "failed", "refused"): 1})


def test_letters_are_counted_by_kind_without_reading_all_of_them_each_time(
    state: State, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.state.dead_letters._FEW", 2)
    hostile = '","reason":"forged: no'
    state.settle([given_up(n, "a", "bad_answer: no number", NOW + timedelta(seconds=n)) for n in range(3)])
    state.settle([given_up(9, hostile, "refused", NOW)])
    assert state.dead.kinds(NOW) == {"bad_answer": 3, "refused": 1}
    scans = commands(valkey, "hscan")
    state.settle([given_up(4, "a", "rule_slow: it rests", NOW + timedelta(seconds=9))])
    assert state.dead.kinds(NOW + timedelta(seconds=3)) == {"bad_answer": 3, "refused": 1, "rule_slow": 1}
    assert commands(valkey, "hscan") == scans, "what is new was added to what is known"
    state.settle([Settled(ref(0), "a", "scored")])
    assert state.dead.kinds(NOW + timedelta(seconds=6))["bad_answer"] == 3, "many are not counted anew at once"
    assert state.dead.kinds(NOW + timedelta(seconds=66)) == {"bad_answer": 2, "refused": 1, "rule_slow": 1}
    assert [each.kind for each in state.dead.newest(2)] == ["rule_slow", "bad_answer"]
    assert [each.kind for each in state.dead.about(ref(9).id, ["a", hostile])] == ["refused"]
    assert state.dead.about(ref(9).id, []) == []


def commands(valkey: redis.Redis, name: str) -> int:
    """Return how often a command was called, by scripts too."""
    found: dict[str, dict[str, int]] = valkey.info("commandstats")
    return found.get(f"cmdstat_{name}", {}).get("calls", 0)


def test_dead_letters_keep_the_work_and_the_reason(state: State) -> None:
    state.settle([given_up(1, "a", "bad answer: no number", NOW)])
    state.settle([given_up(2, "a", "refused", NOW - timedelta(days=31))])
    state.settle([given_up(3, "a", "refused", NOW)])
    letters = state.dead_letters()
    assert [(letter.job, letter.reason) for letter in letters] == [
        (job(1, "a"), "bad answer: no number"),
        (job(3, "a"), "refused"),
    ]


def test_one_leads_until_its_lease_ends(state: State) -> None:
    assert state.lease("scheduler", "one", timedelta(seconds=30))
    assert not state.lease("scheduler", "two", timedelta(seconds=30))
    assert state.lease("scheduler", "one", timedelta(seconds=30))
    state.release("scheduler", "two")
    assert not state.lease("scheduler", "two", timedelta(seconds=30))
    state.release("scheduler", "one")
    assert state.lease("scheduler", "two", timedelta(seconds=30))


def test_a_pause_holds_everybody_and_a_shorter_one_does_not_cut_it(state: State) -> None:
    assert state.permits("langfuse", None, 3) == (3, 0)
    state.pause("langfuse", timedelta(seconds=20))
    state.pause("langfuse", timedelta(seconds=1))
    granted, wait = state.permits("langfuse", None, 3)
    assert granted == 0
    assert 15 < wait <= 20
    assert state.permits("model", None, 1) == (1, 0)


def test_requests_of_a_minute_are_spaced_after_a_small_burst(state: State) -> None:
    assert state.permits("langfuse", 60, 2) == (2, 0)
    granted, wait = state.permits("langfuse", 60, 8)
    assert granted == 4
    assert 1 < wait < 1.12
    assert state.permits("langfuse", 60, 1)[0] == 0


@pytest.mark.parametrize("per_minute", [1, 5, 29, 99, 999])
def test_no_minute_holds_more_requests_than_the_limit(state: State, per_minute: int) -> None:
    burst, spacing = state.permits("langfuse", per_minute, 10_000)
    # A burst, then one after each spacing: so many fall into the minute that starts with the first of them.
    most = burst + math.ceil(60 / spacing) - 1
    assert per_minute * 0.95 - 1 <= most <= per_minute


@pytest.mark.parametrize("per_minute", [1, 5, 19, 20, 29, 99, 999])
def test_those_who_go_first_find_a_request_left_and_widen_no_minute(state: State, per_minute: int) -> None:
    began = time.monotonic()
    behind, _ = state.permits("langfuse", per_minute, 10_000, Turn.BEHIND)
    first, wait = state.permits("langfuse", per_minute, 10_000, Turn.FIRST)
    spacing = wait + time.monotonic() - began  # at least: some of it has passed
    assert first == (1 if per_minute >= 20 else 0)
    assert behind + first == max(1, per_minute // 10)
    # Who goes first has the next one too; those behind wait until one is left again.
    assert state.permits("langfuse", per_minute, 1, Turn.BEHIND)[1] >= wait * (1.9 if first else 0.9)
    assert behind + first + math.ceil(60 / spacing) - 1 <= per_minute


def test_a_monitor_and_its_messages_are_saved_together_or_not_at_all(state: State) -> None:
    with state.monitor("faithfulness") as record:
        assert record.state is None
        record.state = {"open": "2026-W47"}
        record.outbox["a"] = {"text": "fell"}
    assert list(state.outbox().items()) == [("a", {"text": "fell"})]

    def crash() -> None:
        with state.monitor("faithfulness") as record:
            record.state = {"open": None}
            record.outbox["b"] = {"text": "again"}
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    with state.monitor("faithfulness") as record:
        assert record.state == {"open": "2026-W47"}
    state.sent("a")
    assert state.outbox() == {}


def test_messages_wait_in_the_order_in_which_they_were_written(state: State) -> None:
    for name, at in (
        ("c", "2026-11-29T12:00:00+00:00"),
        ("a", "2026-11-30T12:00:00.5+00:00"),
        ("b", "2026-11-30T12:00:00+00:00"),
    ):
        with state.monitor(name) as record:
            record.outbox[name] = {"text": "fell", "at": at}
    assert list(state.outbox()) == ["c", "b", "a"]


def test_the_lock_of_one_who_died_is_in_the_way_for_a_while_and_never_for_good(
    state: State, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey.set("test:monitor:faithfulness:lock", "dead", px=400)
    with state.monitor("faithfulness") as record:
        assert record.state is None
    monkeypatch.setattr("evaluator.state.monitor_records._LOCK_SECONDS", 0.1)
    valkey.set("test:monitor:faithfulness:lock", "slow", px=60_000)
    with pytest.raises(Unavailable, match="another process"), state.monitor("faithfulness"):
        pass


def test_spending_adds_up(state: State) -> None:
    for _ in range(3):
        state.counters.spend({"faithfulness": Usage("gpt", 1, 100, 20, 0.25)})
    state.counters.spend({})
    assert state.spending() == {"faithfulness": Usage("", 3, 300, 60, 0.75)}


def test_jobs_run_when_they_last_ran(state: State) -> None:
    assert state.last_run("look") is None
    state.ran("look", NOW)
    assert state.last_run("look") == NOW


def test_a_redis_that_does_not_answer_is_unavailable_in_words() -> None:
    with connect("redis://127.0.0.1:1/0") as client, pytest.raises(Unavailable, match="REDIS_URL"):
        State(client, "test", timedelta(hours=1)).watermark()
