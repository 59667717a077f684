"""Why an evaluator would take a trace, or would not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.definitions import Definitions
from evaluator.definitions.service_config import ServiceConfig
from evaluator.preview.trying import Decision, decide
from evaluator.sampling.sampler import Sampled, Sampler, position
from tests.judging import numeric_judge
from traces import TraceRef, TraceRoot

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SERVICE = ServiceConfig()


def root(trace_id: str = "t1", environment: str = "production", **fields: Any) -> TraceRoot:
    return TraceRoot(TraceRef(trace_id, "r", environment, AT, AT), **fields)


def decided(of: TraceRoot | None, service: ServiceConfig = SERVICE, **changes: Any) -> Decision:
    (found,) = decide(of, [numeric_judge(**changes)], service)
    return found


@given(st.text(min_size=1, max_size=40), st.floats(0, 1))
def test_it_decides_as_the_service_does_and_says_by_what(trace_id: str, rate: float) -> None:
    of = numeric_judge(sample=[{"rate": rate}])
    found = decided(root(trace_id), sample=[{"rate": rate}])
    (choice,) = Sampler([of], SERVICE.sampling.salt).choose(root(trace_id))
    assert found.takes is isinstance(choice.decision, Sampled)
    assert found.position == position(trace_id, SERVICE.sampling.salt)
    assert found.takes is (found.position < rate)
    assert found.rate == rate


def test_the_highest_rate_whose_line_matches_counts() -> None:
    sample = [{"when": {"level": "ERROR"}, "rate": 1}, {"rate": 0}]
    assert decided(root(level="ERROR"), sample=sample).takes
    assert decided(root(), sample=sample).rate == 0


@pytest.mark.parametrize(
    ("when", "fields", "said"),
    [
        ({"trace_name": "chat"}, {"name": "agent"}, "trace_name chat is wanted, not agent"),
        ({"environment": ["a", "b"]}, {}, "environment a or b is wanted, not production"),
        ({"tags": "vip"}, {"tags": ("new", "eu")}, "tags vip is wanted, not new, eu"),
        ({"user_id": "u1"}, {}, "user_id u1 is wanted, not none"),
        ({"score": {"name": "f", "at_least": 1}}, {"scores": {"f": 0.0}}, "score f at_least 1 is wanted, not 0.0"),
        ({"score": {"name": "f", "at_least": 1}}, {}, "score f at_least 1 is wanted, not none"),
    ],
)
def test_a_filter_says_what_it_misses(when: dict[str, Any], fields: dict[str, Any], said: str) -> None:
    found = decided(root(**fields), when=when)
    assert (found.state, found.why) == ("filtered", f"filtered: {said}")


def test_no_line_of_a_sample_may_match() -> None:
    found = decided(root(), sample=[{"when": {"level": "ERROR"}, "rate": 1}])
    assert found.why == "filtered: no line of `sample` matches"


def test_what_the_service_never_sees() -> None:
    assert decided(None).state == "unfinished"
    assert decided(root(environment="langfuse-llm-as-a-judge")).state == "excluded"
    staging = ServiceConfig.model_validate({"discovery": {"exclude_environments": ["staging"]}})
    assert decided(root(environment="staging"), staging).state == "excluded"
    assert decided(root(environment="staging")).state != "excluded"


def test_rubrics_by_name_or_all() -> None:
    both = [numeric_judge(), numeric_judge(name="tone")]
    definitions = Definitions(SERVICE, tuple(both), (), Path("config"))
    assert [each.name for each in definitions.rubrics()] == ["helpfulness", "tone"]
    assert [each.name for each in definitions.rubrics(["tone"])] == ["tone"]
