"""Rules about agents that hand over to each other."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import ClassVar, Final

from pydantic import Field

from rules.base import Rule, counted, failed, passed, quoted
from traces import NotApplicable, ObservationType, Trace, Verdict

_ALONE: Final = NotApplicable("fewer than two agents")


class HandoffRule(Rule):
    """A rule over the order in which agents get control: one is given it when an observation of its type begins.

    A trace with fewer than two different ones is not scored.
    """

    type: ObservationType = Field(default="AGENT", description="how agents are recorded")

    def turns(self, trace: Trace) -> list[str]:
        """Return whose turn it was, in order; an agent that begins again at once has one turn."""
        names = (step.name for step in trace.observations if step.type == self.type)
        return [name for name, _ in groupby(names)]


class HandoffLoop(HandoffRule):
    """No agent gets control more than `limit` times: handing over again and again is a loop that costs every time."""

    example: ClassVar = {"name": "no-handoff-loop", "rule": "handoff_loop", "limit": 3}

    limit: int = Field(default=3, ge=1, description="how often one agent may get control")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Count the turns of each agent."""
        turns = Counter(self.turns(trace))
        if len(turns) < 2:
            return _ALONE
        name, times = turns.most_common(1)[0]
        verdict = passed if times <= self.limit else failed
        return verdict(f"{quoted(name)} got control {counted(times, 'time')}, at most {self.limit} allowed", times)


class PingPong(HandoffRule):
    """No two agents hand over to and fro more than `limit` times in a row, with nobody else in between."""

    example: ClassVar = {"name": "no-ping-pong", "rule": "ping_pong", "limit": 3}

    limit: int = Field(default=3, ge=1, description="how often two agents may hand over to each other in a row")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look for the longest exchange between two agents."""
        turns = self.turns(trace)
        if len(set(turns)) < 2:
            return _ALONE
        most, first = _longest_exchange(turns)
        both = f"{quoted(turns[first], 40)} and {quoted(turns[first + 1], 40)}"
        verdict = passed if most <= self.limit else failed
        return verdict(f"{both} handed over {counted(most, 'time')} in a row, at most {self.limit} allowed", most)


def _longest_exchange(turns: list[str]) -> tuple[int, int]:
    """Return how many handovers the longest exchange of two has, and with whose turn it begins."""
    best, start = (1, 0), 0
    for place in range(2, len(turns)):
        if turns[place] != turns[place - 2]:
            start = place - 1
        best = max(best, (place - start, start), key=lambda found: found[0])
    return best
