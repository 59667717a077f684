"""Rules about what an answer took: time, money, tokens."""

from __future__ import annotations

import math
from typing import ClassVar, Final

from pydantic import Field

from rules.base import Rule, counted, failed, measured, passed
from traces import DataType, NotApplicable, Trace, Verdict

_NO_TIME: Final = NotApplicable("ends before it starts")
_NO_COST: Final = NotApplicable("no cost recorded")
_NO_TOKENS: Final = NotApplicable("no tokens recorded")


class MaxLatency(Rule):
    """The trace took no longer than a limit, from the root's start to its end."""

    example: ClassVar = {"name": "quick-enough", "rule": "max_latency", "seconds": 10}

    seconds: float = Field(gt=0, allow_inf_nan=False, description="the longest that is allowed, in seconds")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Compare the time taken."""
        if trace.latency < 0:
            return _NO_TIME
        verdict = passed if trace.latency <= self.seconds else failed
        return verdict(f"took {trace.latency:.2f} s, at most {self.seconds:g} s allowed", trace.latency)


class Latency(Rule):
    """The time the trace took, in seconds, from the root's start to its end."""

    gives: ClassVar = DataType.NUMERIC
    example: ClassVar = {"name": "latency", "rule": "latency"}

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Measure the time taken."""
        return _NO_TIME if trace.latency < 0 else measured(trace.latency, f"took {trace.latency:.2f} s")


class MaxCost(Rule):
    """The trace cost no more than a limit: the sum over all steps that have a cost.

    A trace without any recorded cost is not scored.
    """

    example: ClassVar = {"name": "cheap-enough", "rule": "max_cost", "usd": 0.05}

    usd: float = Field(ge=0, allow_inf_nan=False, description="the most that is allowed, in US dollars")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Compare the recorded cost."""
        cost = trace.cost
        if cost is None or not math.isfinite(cost):
            return _NO_COST
        verdict = passed if cost <= self.usd else failed
        return verdict(f"cost {cost:.4g} USD, at most {self.usd:g} USD allowed", cost)


class MaxTokens(Rule):
    """The model calls of the trace used no more tokens than a limit, input and output together.

    A trace without any recorded usage is not scored.
    """

    example: ClassVar = {"name": "short-on-tokens", "rule": "max_tokens", "tokens": 20000}

    tokens: int = Field(gt=0, description="the most that is allowed")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Compare the recorded usage."""
        calls = [step for step in trace.generations if step.usage]
        if not calls or not math.isfinite(trace.tokens):
            return _NO_TOKENS
        verdict = passed if trace.tokens <= self.tokens else failed
        used = f"{counted(trace.tokens, 'token')} in {counted(len(calls), 'model call')}"
        return verdict(f"{used}, at most {self.tokens:,} allowed", trace.tokens)
