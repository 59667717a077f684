"""The story of a trace: what has happened comes before what would be decided, and each reason has its words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evaluator.definitions import Evaluator
from evaluator.preview.trying import Decision
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import Sampled
from evaluator.state.arrears import Span
from evaluator.state.dead_letters import DeadLetter
from evaluator.status.story import Facts, Fate, tell
from judges import Rubric, RubricSpec
from traces import DataType, RecordedScore, SampleRule, TraceRef, When

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ENDED = NOW - timedelta(hours=1)
TAKEN = Decision("sampled", "sampled: u = 0.1000 is below the rate 0.5", 0.1, 0.5)
RULE = Evaluator("answered", "rule", When(), (SampleRule(rate=0.5),), "v1", DataType.BOOLEAN)


def rubric(idle: timedelta | None = None, **judge: Any) -> Evaluator:
    written = {
        "name": "tone",
        "inputs": {"answer": "$.root.output"},
        "criteria": "Is it polite?",
        "score": {"type": "numeric", "min": 1, "max": 5},
        "judge": {"model": "gpt", **judge},
    }
    made = Rubric(RubricSpec.model_validate(written))
    sample = made.spec.sample
    return Evaluator("tone", "rubric", When(), sample, made.version, made.data_type, rubric=made, idle=idle)


RUBRIC = rubric()


def facts(evaluator: Evaluator = RULE, decision: Decision = TAKEN, **changes: Any) -> Facts:
    known = Facts(
        id="t1",
        url="https://langfuse/t1",
        name="answer",
        environment="production",
        session_id=None,
        ended=ENDED,
        steps=3,
        now=NOW,
        is_claimed=True,
        remembers=timedelta(days=2),
        mark=NOW - timedelta(minutes=2),
        leader="host:1",
        evaluators=[evaluator],
        decisions=[decision],
        funnel=Counter({(evaluator.name, "sampled", ""): 5}),
    )
    return replace(known, **changes)


def fate(evaluator: Evaluator = RULE, decision: Decision = TAKEN, **changes: Any) -> Fate:
    return tell(facts(evaluator, decision, **changes)).fates[0]


def score(name: str, metadata: dict[str, Any]) -> RecordedScore:
    return RecordedScore("s", name, 0.5, "NUMERIC", "API", ENDED, trace_id="t1", metadata=metadata)


def test_a_score_of_ours_is_the_end_of_the_story() -> None:
    found = fate(scores=[score("answered", {"inclusion_probability": 0.5})], settled={"answered": "failed/bad_answer"})
    assert (found.state, found.score, found.todo) == ("scored", "answered = 0.5", "")
    assert (found.position, found.rate) == (0.1, 0.5)


def test_a_score_of_somebody_else_under_the_same_name_is_not_ours() -> None:
    assert fate(scores=[score("answered", {})]).state == "pending"


@pytest.mark.parametrize(
    ("settled", "state", "why"),
    [
        ("skipped/no documents", "skipped", "no documents"),
        ("unscored/judge could not tell", "unscored", "no score is not a low score"),
        ("gone/not visible in Langfuse", "gone", "not visible"),
        ("scored", "scored", "not visible yet, or was deleted"),
        ("failed/bad_answer", "failed", "bad_answer"),
    ],
)
def test_what_has_ended_says_how(settled: str, state: str, why: str) -> None:
    found = fate(settled={"answered": settled})
    assert found.state == state
    assert why in found.why


def test_what_failed_names_its_dead_letter_and_how_to_replay_it() -> None:
    job = Job(TraceRef("t1", "r", "production", ENDED, ENDED), (Sampled("answered", 1.0, "0"),))
    letter = DeadLetter(job, "bad_answer: no number", NOW)
    found = fate(settled={"answered": "failed/bad_answer"}, letters={"answered": letter})
    assert found.why.startswith("bad_answer: no number, given up 2026-11-29 12:00:00 UTC")
    assert found.todo == "evaluator dead-letters replay t1/answered"


@pytest.mark.parametrize("state", ["filtered", "sampled_out", "off", "excluded", "unfinished"])
def test_what_is_not_taken_says_why(state: str) -> None:
    assert fate(decision=Decision(state, "because")).why == "because"


def test_what_was_not_seen_says_where_discovery_is() -> None:
    late = tell(facts(is_claimed=False))
    assert (late.fates[0].state, late.seen[:8]) == ("unseen", "not seen")
    assert "sweep --since" in late.seen
    soon = tell(facts(is_claimed=False, ended=NOW, leader=None))
    assert "up to 2026-11-29 11:58:00 UTC" in soon.seen
    assert "nobody leads" in soon.seen
    assert "never read anything" in tell(facts(is_claimed=False, mark=None)).seen
    old = tell(facts(is_claimed=False, ended=NOW - timedelta(days=3)))
    assert (old.fates[0].state, "does not remember" in old.seen) == ("unknown", True)


def test_what_is_pending_says_what_it_waits_for() -> None:
    assert "handed to the workers" in fate().why
    assert "waits to be written" in fate(judged=frozenset({"answered"})).why
    assert "still goes on" in fate(rests=False).why
    assert "waits for money" in fate(RUBRIC, parked=frozenset({"tone"})).why
    closed = fate(RUBRIC, closed={"gpt": "the key is refused"})
    assert (closed.why, closed.todo) == ("its model takes no calls: gpt (the key is refused)", "evaluator check")
    assert "batch of the provider" in fate(rubric(lane="batch")).why
    owed = {"tone": [Span(ENDED - timedelta(hours=1), ENDED + timedelta(hours=1))]}
    assert "left for later" in fate(RUBRIC, is_claimed=False, owed=owed).why


def test_where_nothing_of_its_hour_is_pending_it_was_not_taken_then() -> None:
    ended = Counter({("answered", "sampled", ""): 4, ("answered", "scored", ""): 4, ("answered", "shed", ""): 7})
    found = fate(funnel=ended)
    assert found.state == "sampled_out"
    assert "7 of that hour were shed" in found.why


def test_an_evaluator_of_sessions_says_so() -> None:
    judge = rubric(idle=timedelta(minutes=30))
    assert "belongs to none" in fate(judge).why
    assert "session s1" in fate(judge, session_id="s1").why


def test_the_headline_counts_and_the_json_is_plain() -> None:
    known = facts(decisions=[TAKEN, Decision("filtered", "no")], evaluators=[RULE, RUBRIC])
    story = tell(known)
    assert story.headline == "1 pending (answered); 1 filtered (tone)"
    assert tell(replace(known, evaluators=[], decisions=[])).headline == "no evaluator is on"
    assert story.as_json()["evaluators"][1] == {
        "evaluator": "tone",
        "kind": "rubric",
        "version": RUBRIC.version,
        "state": "filtered",
        "why": "no",
        "todo": "",
        "position": None,
        "rate": None,
        "score": None,
    }
