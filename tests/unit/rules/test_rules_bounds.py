"""How much of a text is looked at: what follows changes no verdict, so that nobody can make a rule work for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from benchmarks.rules import built, told
from rules import Rule, collect
from rules.collect import RESERVED
from rules.words import LONGEST
from sandbox.traffic import traffic
from tests.building import step, trace

KINDS = collect()
PROSE = ("".join(f"The {n}. order left at {n} o'clock, and nobody saw it. " for n in range(3000)))[:LONGEST]
ODD = "\nfuck {{name}} as an AI [99] https://a..b **bold"
TAIL = f"{ODD}\n```\n" * 60_000
BOUNDED = [
    *("boilerplate", "citations", "groundedness", "language", "markdown_valid", "max_repetition", "min_groundedness"),
    *("placeholder", "profanity", "reading_difficulty", "refusal", "repetition"),
]


def example(kind: type[Rule], **more: Any) -> Rule:
    asked: Mapping[str, Any] = {**kind.example, **more}
    return kind.model_validate({key: value for key, value in asked.items() if key not in RESERVED})


@pytest.mark.parametrize("kind", BOUNDED)
def test_what_follows_after_so_many_characters_is_not_looked_at(kind: str) -> None:
    more = {"same_as": None, "allowed": ["en"]} if kind == "language" else {}
    rule = example(KINDS[kind], **more)
    found = step("find", type="RETRIEVER", output=["The order left at noon, and nobody saw it."])
    assert rule.check(trace(found, output=PROSE + TAIL)) == rule.check(trace(found, output=PROSE))


def test_the_tail_would_have_been_noticed() -> None:
    noticed = [kind for kind in BOUNDED if _differs(example(KINDS[kind]))]
    assert {"boilerplate", "citations", "markdown_valid", "placeholder", "profanity"} <= set(noticed)


def _differs(rule: Rule) -> bool:
    found = step("find", type="RETRIEVER", output=["The order left at noon, and nobody saw it."])
    short: Iterable[str] = ("Fine. ", "Fine. " + ODD)
    one, other = (rule.check(trace(found, output=text)) for text in short)
    return one != other


def test_the_benchmark_tells_of_every_kind() -> None:
    page = told({"generated": built(islice(traffic(1, 6, datetime(2026, 11, 23, tzinfo=UTC)), 6)), "recorded": []})
    assert all(f"| `{kind}` | " in page for kind in KINDS)
    assert f"| all {len(KINDS)} | " in page
