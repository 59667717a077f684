"""`python -m benchmarks.groups`: the shipped rubrics on the same traces, each asked for itself and all in one call.

Tokens are those the stand-in counts, a quarter of the characters of a prompt; a provider's cache is taken to hold a
beginning of at least 1,024 tokens that an earlier prompt had too, as OpenAI's does.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from ruamel.yaml import YAML

from benchmarks.tables import table
from benchmarks.traffic import finished_traces, recent
from evaluator.app import open_app
from evaluator.service import sweep
from evaluator.settings import Settings
from evaluator.telemetry import configure_logs
from sandbox.model_api import ModelStandIn
from sandbox.server import Sandbox

_RUBRICS: Final = Path(__file__).parents[1] / "config" / "rubrics"
_CACHED_FROM: Final = 1024
_A_TOKEN: Final = 4


class Recording(ModelStandIn):
    """The model API, keeping what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.latency_seconds = 0.0
        self.prompts: list[tuple[str, str]] = []

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        system, user = (message["content"] for message in body["messages"])
        self.prompts.append((system, user))
        return super()._answer(body)


@dataclass(frozen=True, slots=True)
class Measured:
    """What judging some traces took: model calls, tokens, US dollars, and the tokens of texts that never change.

    `cached` are the tokens a provider's cache would hold.
    """

    calls: int
    read: int
    written: int
    usd: float
    unchanging: int
    cached: int


def measure(names: Sequence[str], group: str | None, traces: int) -> Measured:
    """Judge so many traces by the shipped rubrics of these names."""
    model = Recording()
    with Sandbox(model=model) as sandbox, tempfile.TemporaryDirectory() as folder:
        sandbox.langfuse.load_observations(_rows(traces))
        settings = Settings(
            langfuse_base_url=sandbox.langfuse_url,
            langfuse_public_key=sandbox.public_key,
            langfuse_secret_key=sandbox.secret_key,
            openai_base_url=sandbox.model_url,
            openai_api_key="sk-sandbox",
            evaluator_config=_config(Path(folder), names, group),
            evaluator_data=Path(folder) / "data",
        )
        with open_app(settings) as app:
            used = sweep(app, timedelta(hours=1), drain=True).used
    return Measured(used.calls, used.input_tokens, used.output_tokens, used.usd, *_unchanging(model.prompts))


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.groups", description=__doc__)
    parser.add_argument("--traces", type=int, default=200)
    traces = parser.parse_args().traces
    configure_logs(level=logging.ERROR)
    shipped = sorted(_RUBRICS.glob("*.yaml"))
    every = [path.stem for path in shipped if YAML().load(path).get("enabled", True)]
    lines = []
    for names in (["faithfulness", "helpfulness"], every):
        for what, group in (("apart", None), ("together", "quality")):
            found = measure(names, group, traces)
            lines.append(_line(f"{len(names)} rubrics {what}", found, traces))
    print(table(["", "calls", "tokens in", "of them unchanging", "cached", "tokens out", "USD"], lines))


def _line(name: str, found: Measured, traces: int) -> list[str]:
    per_thousand = 1000 / traces
    return [
        name,
        f"{found.calls / traces:g}",
        f"{found.read / traces:,.0f}",
        f"{found.unchanging / found.read:.0%}",
        f"{found.cached / found.read:.0%}",
        f"{found.written / traces:,.0f}",
        f"{found.usd * per_thousand:.2f} a thousand",
    ]


def _rows(traces: int) -> Iterator[dict[str, Any]]:
    for trace in finished_traces(traces, recent()):
        yield from (orjson.loads(stored.full) for stored in trace.observations)


def _config(folder: Path, names: Sequence[str], group: str | None) -> Path:
    yaml = YAML()
    (folder / "rubrics").mkdir()
    for name in names:
        rubric = yaml.load(_RUBRICS / f"{name}.yaml")
        rubric["sample"] = [{"rate": 1}]
        rubric.pop("when", None)
        rubric["judge"] = {**rubric.get("judge", {}), **({"group": group} if group else {})}
        with (folder / "rubrics" / f"{name}.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(rubric, file)
    (folder / "evaluator.yaml").write_text(
        "discovery: {quiet_for: 1s, max_wait: 1m}\nmodels: {prices: {gpt-5.4-mini: {input: 0.25, output: 2.0}}}\n"
        "judges: {trace: off}\n"
    )
    return folder


def _unchanging(prompts: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """Return the tokens of all system prompts, and those of beginnings long enough to be cached and seen before."""
    cached, seen = 0, set[str]()
    for system, _ in prompts:
        tokens = len(system) // _A_TOKEN
        cached += tokens if system in seen and tokens >= _CACHED_FROM else 0
        seen.add(system)
    return sum(len(system) for system, _ in prompts) // _A_TOKEN, cached


if __name__ == "__main__":
    main()
