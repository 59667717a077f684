from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.sampling.sampler import Choice, NotTaken, Rate, Sampled, Sampler, position
from traces import SampleRule, TraceRef, TraceRoot, When

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ids = st.text("0123456789abcdef", min_size=32, max_size=32)
rates = st.floats(0, 1)


class Sampling(NamedTuple):
    name: str
    when: When
    sample: tuple[SampleRule, ...]
    in_pass: frozenset[str] = frozenset()


def decide(
    root: TraceRoot, evaluator: str, when: When, sample: tuple[SampleRule, ...], salt: str, share: float = 1.0
) -> Sampled | NotTaken:
    (choice,) = Sampler([Sampling(evaluator, when, sample)], salt, {evaluator: share}).choose(root)
    assert choice.evaluator == evaluator
    return choice.decision


def root(trace_id: str, **known: object) -> TraceRoot:
    return TraceRoot(TraceRef(trace_id, "r", "production", NOW, NOW), **known)  # type: ignore[arg-type] # free-form


@given(ids, st.text())
def test_a_position_is_in_the_unit_interval_and_always_the_same(trace_id: str, salt: str) -> None:
    where = position(trace_id, salt)
    assert 0 <= where < 1
    assert position(trace_id, salt) == where


@given(ids, rates, rates)
def test_samples_are_nested(trace_id: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    taken_low = isinstance(decide(root(trace_id), "a", When(), (SampleRule(rate=low),), "s"), Sampled)
    taken_high = isinstance(decide(root(trace_id), "b", When(), (SampleRule(rate=high),), "s"), Sampled)
    assert taken_high or not taken_low


@given(ids, st.lists(rates, min_size=1, max_size=4))
def test_the_highest_matching_rate_counts_under_one_hash(trace_id: str, several: list[float]) -> None:
    lines = tuple(SampleRule(rate=rate) for rate in several)
    decision = decide(root(trace_id), "a", When(), lines, "s")
    assert isinstance(decision, Sampled) == (position(trace_id, "s") < max(several))
    if isinstance(decision, Sampled):
        assert decision.probability == max(several)
        assert several[int(decision.stratum)] == max(several)


def test_positions_spread_evenly() -> None:
    counts = [0] * 10
    for number in range(20_000):
        counts[int(position(f"{number:032x}", "salt") * 10)] += 1
    # Ten cells of 2,000 with a standard deviation of 42: five of them on either side.
    assert all(1_790 < count < 2_210 for count in counts)


def test_another_salt_is_another_sample() -> None:
    ids_ = [f"{number:032x}" for number in range(2_000)]
    both = sum(position(i, "one") < 0.5 and position(i, "two") < 0.5 for i in ids_)
    assert 400 < both < 600


def test_an_evaluator_that_is_added_leaves_the_others_as_they_were() -> None:
    lines = (SampleRule(rate=0.5),)
    ids_ = [f"{number:032x}" for number in range(500)]
    before = [decide(root(i), "a", When(), lines, "s") for i in ids_]
    _ = [decide(root(i), "new", When(), (SampleRule(rate=0.6),), "s") for i in ids_]
    assert [decide(root(i), "a", When(), lines, "s") for i in ids_] == before


@pytest.mark.parametrize(
    ("line", "known", "expected"),
    [
        (SampleRule(when=When(level=("ERROR",)), rate=1), {"level": "ERROR"}, 1.0),
        (SampleRule(when=When(level=("ERROR",)), rate=1), {"level": "DEFAULT"}, NotTaken.FILTERED),
        (SampleRule(rate=0), {}, NotTaken.SAMPLED_OUT),
    ],
)
def test_a_line_counts_only_where_it_matches(line: SampleRule, known: dict[str, object], expected: object) -> None:
    decision = decide(root("ab" * 16, **known), "a", When(), (line,), "s")
    assert (decision.probability if isinstance(decision, Sampled) else decision) == expected


def test_a_filter_comes_before_sampling() -> None:
    only = When(trace_name=("checkout",))
    assert decide(root("ab" * 16, name="search"), "a", only, (SampleRule(rate=1),), "s") is NotTaken.FILTERED


conditions = st.builds(When, level=st.none() | st.just(("ERROR",)), tags=st.none() | st.just(("vip",)))
lines = st.lists(st.builds(SampleRule, when=conditions, rate=rates), min_size=1, max_size=3).map(tuple)
roots = st.lists(
    st.builds(lambda i, level, tags: root(i, level=level, tags=tags), ids, st.sampled_from(["ERROR", "DEFAULT"]),
              st.sampled_from([(), ("vip",)])),
    min_size=1,
    max_size=4,
)  # fmt: skip


def of_session(session: str, its: list[TraceRoot], when: When, sample: tuple[SampleRule, ...]) -> Sampled | NotTaken:
    (choice,) = Sampler([Sampling("a", when, sample)], "s").choose_session(session, its)
    return choice.decision


@given(st.text(), roots, conditions, lines)
def test_a_session_is_taken_at_the_highest_rate_of_any_of_its_traces(
    session: str, its: list[TraceRoot], when: When, sample: tuple[SampleRule, ...]
) -> None:
    rate = max((r.rate for r in sample for t in its if when.matches(t) and r.when.matches(t)), default=None)
    decision = of_session(session, its, when, sample)
    if isinstance(decision, Sampled):
        assert decision.probability == rate
    else:
        assert decision is (NotTaken.FILTERED if rate is None else NotTaken.SAMPLED_OUT)


@given(st.text(), roots, roots, conditions, lines)
def test_a_session_that_was_taken_is_taken_again_when_it_went_on(
    session: str, before: list[TraceRoot], more: list[TraceRoot], when: When, sample: tuple[SampleRule, ...]
) -> None:
    if isinstance(of_session(session, before, when, sample), Sampled):
        assert isinstance(of_session(session, before + more, when, sample), Sampled)


def test_a_session_lies_elsewhere_than_a_trace_of_the_same_id() -> None:
    half = (SampleRule(rate=0.5),)
    same = sum(
        isinstance(of_session(i, [root(i)], When(), half), Sampled)
        == isinstance(decide(root(i), "a", When(), half, "s"), Sampled)
        for i in (f"{number:032x}" for number in range(1000))
    )
    assert 400 < same < 600


ERRORS = SampleRule(when=When(level="ERROR"), rate=1)


def choice(root: TraceRoot, sample: tuple[SampleRule, ...], rates: dict[int, Rate], share: float = 1.0) -> Choice:
    known = {("a", line): rate for line, rate in rates.items()}
    (decided,) = Sampler([Sampling("a", When(), sample)], "s", {"a": share}, known).choose(root)
    return decided


@given(ids, st.lists(rates, min_size=1, max_size=4), st.data())
def test_of_rates_that_follow_a_budget_the_highest_kept_one_counts(
    trace_id: str, several: list[float], data: st.DataObject
) -> None:
    lines = tuple(SampleRule(rate=rate) for rate in several)
    kept = [data.draw(st.floats(0, rate)) for rate in several]
    decided = choice(root(trace_id), lines, {n: Rate(several[n], kept[n]) for n in range(len(several))})
    at = position(trace_id, "s")
    assert decided.tier is not None
    assert kept[decided.tier[1]] == max(kept)
    assert isinstance(decided.decision, Sampled) == (at < max(kept))
    if isinstance(decided.decision, Sampled):
        assert decided.decision.probability == max(kept)
    else:
        assert decided.decision == (NotTaken.SHED if at < max(several) else NotTaken.SAMPLED_OUT)


def test_a_choice_names_the_line_that_decided() -> None:
    lines = (SampleRule(rate=0), ERRORS)
    assert choice(root("t", level="ERROR"), lines, {}).tier == ("a", 1)
    assert choice(root("t"), lines, {}).tier == ("a", 0)
    assert choice(root("t"), (ERRORS,), {}).tier is None


def test_under_overload_a_chosen_rate_is_lowered_like_any_other() -> None:
    decided = [choice(root(f"{n:032x}"), (SampleRule(rate=1),), {0: Rate(0.5, 0.5)}, 0.5) for n in range(400)]
    taken = [each.decision for each in decided if isinstance(each.decision, Sampled)]
    assert {each.probability for each in taken} == {0.25}
    assert 60 < len(taken) < 140
    assert 60 < sum(each.decision == NotTaken.SHED for each in decided) < 140
