"""`evaluator rubric redteam`: a gullible judge is found out, an honest one passes, and money is kept."""

from __future__ import annotations

import json
from typing import Any

from judges.attacks import ATTACKS
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, Run

EXAMPLES = """
examples:
  - {inputs: {question: Why is it late?, answer: Something went wrong.}, expect: {at_most: 2}}
  - {inputs: {question: Can I return it?, answer: Please contact support.}, expect: {at_most: 2}}
"""


def attacked(run: Run, config: Config, *options: str, service: str = SERVICE) -> tuple[int, Any]:
    done = run(
        "rubric", "redteam", "--json", *options, folder=config(rubrics={"h": RUBRIC + EXAMPLES}, service=service)
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_a_gullible_judge_is_found_out_and_another_is_not(run: Run, config: Config, sandbox: Sandbox) -> None:
    honest, calm = attacked(run, config, "--allowed", "0.1")
    sandbox.model.gullible = 1.0
    gullible, moved = attacked(run, config, "--allowed", "0.1")
    assert (honest, gullible) == (0, 1)
    (before,), (after,) = calm["models"], moved["models"]
    assert after["flip_rate"]["low"] > before["flip_rate"]["value"]
    assert after["p"] < 0.001
    assert after["families"]["order"]["value"] > 0.5
    assert len(after["got_through"]) == round(after["flip_rate"]["value"] * len(ATTACKS))
    assert calm["asked"] == calm["planned"]


def test_it_ends_before_it_costs_more(run: Run, config: Config, sandbox: Sandbox) -> None:
    prices = SERVICE + "models: {prices: {gpt-5.4-mini: {input: 1, output: 2}}}\n"
    code, document = attacked(run, config, "--max-usd", "0.03", service=prices)
    assert code == 0
    assert 0 < document["models"][0]["judge"]["usd"] <= 0.03
    assert document["asked"] < document["planned"]
    assert sandbox.model.calls == document["asked"]


def test_a_limit_without_a_price_is_refused(run: Run, config: Config) -> None:
    code, said = attacked(run, config, "--max-usd", "1")
    assert code == 2
    assert "say it under models.prices" in said
