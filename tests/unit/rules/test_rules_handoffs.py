from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.handoffs import HandoffLoop, PingPong
from tests.building import step, trace
from traces import NotApplicable, Trace, Verdict


def turns(names: str, kind: str = "AGENT", **fields: Any) -> Trace:
    return trace(*(step(name, type=kind, id=f"a{number}", **fields) for number, name in enumerate(names)))


@pytest.mark.parametrize("rule", [HandoffLoop(), PingPong()])
@pytest.mark.parametrize("names", ["", "a", "aaaa"])
def test_one_agent_hands_over_to_nobody(rule: HandoffLoop | PingPong, names: str) -> None:
    assert rule.check(turns(names)) == NotApplicable("fewer than two agents")


def test_agents_may_be_recorded_as_another_type() -> None:
    built = turns("ababab", kind="CHAIN")
    assert HandoffLoop(limit=2).check(built) == NotApplicable("fewer than two agents")
    found = HandoffLoop(limit=2, type="CHAIN").check(built)
    assert isinstance(found, Verdict)
    assert found.value is False


class TestHandoffLoop:
    def test_up_to_the_limit_is_allowed(self) -> None:
        found = HandoffLoop(limit=2).check(turns("abac"))
        assert found == Verdict(True, "'a' got control 2 times, at most 2 allowed", details={"measured": 2})

    def test_beyond_it_names_the_agent(self) -> None:
        found = HandoffLoop(limit=2).check(turns("abcacba"))
        assert found == Verdict(False, "'a' got control 3 times, at most 2 allowed", details={"measured": 3})

    def test_an_agent_that_begins_again_at_once_has_one_turn(self) -> None:
        found = HandoffLoop(limit=1).check(turns("aaaab"))
        assert isinstance(found, Verdict)
        assert found.value is True


class TestPingPong:
    @pytest.mark.parametrize(
        ("names", "most"),
        [("ab", 1), ("aba", 2), ("abab", 3), ("abcab", 1), ("ababcdcdcd", 5), ("aabbaa", 2)],
    )
    def test_the_longest_exchange_counts(self, names: str, most: int) -> None:
        for limit in (most, max(most - 1, 1)):
            found = PingPong(limit=limit).check(turns(names))
            assert isinstance(found, Verdict)
            assert found.value is (limit >= most)
            assert found.details == {"measured": most}

    def test_both_are_named(self) -> None:
        found = PingPong(limit=2).check(turns("xabab"))
        assert isinstance(found, Verdict)
        assert found.reason == "'a' and 'b' handed over 3 times in a row, at most 2 allowed"

    @given(st.text("abc", min_size=2, max_size=30).filter(lambda names: len(set(names)) > 1))
    def test_it_is_the_longest_stretch_of_two(self, names: str) -> None:
        order = [one for one, before in zip(names, " " + names, strict=False) if one != before]
        ends = [(i, j) for i in range(len(order)) for j in range(i + 2, len(order) + 1)]
        expected = max((j - i - 1 for i, j in ends if len(set(order[i:j])) == 2), default=0)
        found = PingPong().check(turns(names))
        assert isinstance(found, Verdict)
        assert found.details == {"measured": expected}

    def test_ten_thousand_turns_with_endless_names_are_read(self) -> None:
        built = trace(*(step("ab"[n % 2] * 5000, type="AGENT", id=f"a{n}") for n in range(10_000)))
        found = PingPong().check(built)
        assert isinstance(found, Verdict)
        assert len(found.reason) < 300
