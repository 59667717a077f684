"""What a replay of traffic means: numbers that add up, and what is not known is not claimed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.definitions import Definitions
from evaluator.definitions.service_config import ServiceConfig
from evaluator.langfuse import Window
from evaluator.preview.forecast import ASSUMED_OUTPUT, Forecast, demands, forecasts
from evaluator.preview.looking import Drawn, Looked, chosen
from evaluator.preview.planning import Plan, Replay, Taken, Traffic
from tests.judging import numeric_judge
from traces import TraceRef, Usage

HOUR = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = Window(HOUR - timedelta(hours=12), HOUR + timedelta(hours=12))


def replay(looked: Looked, sampled: int = 100, judge: Any = None, **service: Any) -> Replay:
    evaluator = numeric_judge(judge=judge or {})
    config = ServiceConfig.model_validate({"models": {"prices": {"gpt": {"input": 1, "output": 10}}}, **service})
    taken = Taken(evaluator, Counter(sampled=sampled, sampled_out=900), Counter({HOUR: sampled}))
    return Replay(
        Definitions(config, (evaluator,), (), Path("config")),
        1000,
        Counter({HOUR: 1000}),
        Counter({HOUR: sampled}),
        {evaluator.name: taken},
        {evaluator.name: looked},
    )


def forecast(looked: Looked, spent: dict[str, Usage] | None = None, **changes: Any) -> Forecast:
    (found,) = forecasts(replay(looked, **changes), spent or {})
    return found


def looked(traces: int = 10, skipped: int = 4, tokens: int = 600, model: str = "gpt") -> Looked:
    asked = traces - skipped
    return Looked(traces, traces, Counter({"no documents": skipped}), {model: asked}, {model: tokens * asked})


def test_what_was_read_stands_for_what_was_taken() -> None:
    found = forecast(looked())
    assert (found.matches, found.sampled, found.scored, found.calls) == (1000, 100, 60.0, 60.0)
    assert found.input_tokens == 36_000
    assert found.output_tokens == 60 * ASSUMED_OUTPUT
    assert found.usd == pytest.approx((36_000 + 10 * 9_000) / 1e6)
    assert not found.measured


def test_answers_are_as_long_as_they_were_once_there_are_enough() -> None:
    known = forecast(looked(), {"helpfulness": Usage("gpt", 100, 9, 4_000)})
    assert (known.output_tokens, known.measured) == (60 * 40, True)
    few = forecast(looked(), {"helpfulness": Usage("gpt", 3, 9, 4_000)})
    assert (few.output_tokens, few.measured) == (60 * ASSUMED_OUTPUT, False)


def test_what_the_prompt_cache_held_so_far_it_will_hold_again() -> None:
    prices = {"models": {"prices": {"gpt": {"input": 1, "output": 10, "cached_input": 0.1}}}}
    known = forecast(looked(), {"helpfulness": Usage("gpt", 100, 1_000, 15_000, cached_tokens=500)}, **prices)
    assert known.usd == pytest.approx((18_000 + 0.1 * 18_000 + 10 * 9_000) / 1e6)


def test_a_batch_costs_half() -> None:
    (single,) = forecasts(replay(looked()), {})
    (batch,) = forecasts(replay(looked(), judge={"lane": "batch"}), {})
    assert single.usd is not None
    assert batch.usd == pytest.approx(single.usd / 2)
    assert batch.calls == single.calls


def test_a_round_of_anchors_is_foretold_from_what_was_read_alone_and_at_full_price() -> None:
    asked = looked()
    asked.alone = {"gpt": (6.0, 6 * 900.0)}  # longer than its part of a call that rubrics share
    evaluator = numeric_judge(anchors={"size": 40, "samples": 2}, judge={"lane": "batch"})
    found = replay(asked)
    found.taken["helpfulness"].evaluator = evaluator
    (each,) = forecasts(found, {})
    assert each.anchors is not None
    assert each.anchors.usd is not None
    assert each.anchors[:3] == (80.0, 80 * 900.0, 80.0 * ASSUMED_OUTPUT)
    assert each.anchors.usd == pytest.approx((72_000 + 10 * 80 * ASSUMED_OUTPUT) / 1e6)
    assert each.usd is not None
    assert each.usd_a_day(2.0) == pytest.approx(each.usd / 2 + each.anchors.usd / 7)
    mean, busiest = requests(found)["model API"]
    assert mean == pytest.approx(80 / (7 * 24 * 60))
    assert busiest == pytest.approx(80 / 60)
    asked.alone = {"another": (6.0, 5_400.0)}
    (unpriced,) = forecasts(found, {})
    assert unpriced.anchors is not None
    assert unpriced.anchors.usd is None


def test_what_is_not_known_is_not_claimed() -> None:
    unread = forecast(Looked())
    assert (unread.input_tokens, unread.output_tokens, unread.usd) == (None, None, None)
    unpriced = forecast(looked(model="another"))
    assert unpriced.usd is None
    assert unpriced.input_tokens == 36_000
    nothing = forecast(Looked(), sampled=0)
    assert (nothing.calls, nothing.usd) == (0.0, 0.0)


def requests(found: Replay, steps: float = 3.0, *, batch_scores: bool = True) -> dict[str, tuple[float, float]]:
    plan = Plan(Traffic(DAY, 10, steps, {}), found, None, {})
    return {each.of: (each.mean, each.busiest) for each in demands(plan, found, batch_scores=batch_scores)}


def test_requests_are_told_of_the_busiest_hour_and_on_average() -> None:
    found = requests(replay(looked()))
    assert list(found["model API"]) == pytest.approx([60 / 24 / 60, 1.0])
    mean, busiest = found["Langfuse"]
    # docs/scaling.md: 2 + T x 7.6 / 1000 + T x e x (1.3 / 50 + S / 100), T = 1000 / 60 traces a minute.
    assert busiest == pytest.approx(2 + 1000 / 60 * (7.6 / 1000 + 0.1 * 1.3 / 50 + 0.1 * 0.6 / 100))
    assert 2 < mean < busiest


def test_batches_are_no_requests_a_minute() -> None:
    found = requests(replay(looked(), judge={"lane": "batch"}))
    assert found["model API"] == (0.0, 0.0)
    assert found["Langfuse"] == requests(replay(looked()))["Langfuse"]


def test_an_older_langfuse_takes_a_request_a_score_and_longer_traces_more_reads() -> None:
    found = replay(looked())
    base = requests(found)["Langfuse"][1]
    assert requests(found, batch_scores=False)["Langfuse"][1] == pytest.approx(base + 60 / 60 * 0.99)
    assert requests(found, steps=200)["Langfuse"][1] > base


def test_a_limit_is_kept_or_not_by_the_busiest_hour() -> None:
    found = replay(looked(), limits={"model_requests_per_minute": 1, "langfuse_requests_per_minute": 2})
    plan = Plan(Traffic(DAY, 10, 3.0, {}), found, None, {})
    assert {each.of: each.fits for each in demands(plan, found, batch_scores=True)} == {
        "model API": True,
        "Langfuse": False,
    }


def ref(number: int) -> TraceRef:
    return TraceRef(f"{number:032x}", "r", "default", HOUR, HOUR)


@given(st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12).map(sorted), max_size=6), st.integers(0, 30))
def test_those_read_are_no_more_than_wanted_and_shared_fairly(drawn: list[list[int]], most: int) -> None:
    lots = [[Drawn(ref(number), frozenset()) for number in each] for each in drawn]
    found = {each.id for each in chosen(lots, most)}
    assert len(found) <= most
    everything = {each.ref.id for lot in lots for each in lot}
    if len(everything) <= most:
        assert found == everything
    # Each evaluator's own come from the beginning of its lot: else what was drawn would no longer be by chance.
    firsts = [next((place for place, each in enumerate(lot) if each.ref.id not in found), len(lot)) for lot in lots]
    room = [first for first, lot in zip(firsts, lots, strict=True) if first < len(lot)]
    assert not room or min(room) >= most // max(len(lots), 1)
