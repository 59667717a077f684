"""`python -m benchmarks.groups`: the shipped rubrics on the same traces, each asked for itself and all in one call.

Tokens are those the stand-in counts, a quarter of the characters of a prompt. Its prompt cache holds a beginning of at
least 1,024 tokens that an earlier prompt had too, in steps of 128, as OpenAI's does; what it held costs a tenth.
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
from evaluator.telemetry.logs import configure_logs
from judges import Price
from judges.grouping import MOST_TOGETHER
from sandbox.model_api import ModelStandIn
from sandbox.server import Sandbox

_RUBRICS: Final = Path(__file__).parents[1] / "config" / "rubrics"
_CACHED_FROM: Final = 1024
_A_TOKEN: Final = 4
_PRICE: Final = Price(input=0.25, cached_input=0.025, output=2.0)


class Recording(ModelStandIn):
    """The model API, keeping what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.latency_seconds = 0.0
        self.cached_from = _CACHED_FROM
        self.unchanging = 0

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.unchanging += len(body["messages"][0]["content"]) // _A_TOKEN
        return super()._answer(body)


@dataclass(frozen=True, slots=True)
class Measured:
    """What judging some traces took: model calls, tokens, US dollars, and the tokens of texts that never change.

    `cached` are the tokens that the prompt cache held; `full` is what it would have cost without one.
    """

    calls: int
    read: int
    written: int
    usd: float
    full: float
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
    read, written = used.input_tokens, used.output_tokens
    full = _PRICE.cost(read, written)
    return Measured(used.calls, read, written, used.usd, full, model.unchanging, used.cached_tokens)


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.groups", description=__doc__)
    parser.add_argument("--traces", type=int, default=200)
    traces = parser.parse_args().traces
    configure_logs(level=logging.ERROR)
    rubrics = {path.stem: YAML().load(path) for path in sorted(_RUBRICS.glob("*.yaml"))}
    on = [name for name, rubric in rubrics.items() if rubric.get("enabled", True)]
    of_traces = [name for name, rubric in rubrics.items() if rubric.get("target", "trace") == "trace"]
    lines = []
    for names in (["faithfulness", "helpfulness"], on, of_traces[:MOST_TOGETHER]):
        for what, group in (("apart", None), ("together", "quality")):
            found = measure(names, group, traces)
            lines.append(_line(f"{len(names)} rubrics {what}", found, traces))
    columns = ["a trace", "calls", "tokens in", "unchanging", "cached", "tokens out", "USD a thousand", "uncached"]
    print(table(columns, lines))


def _line(name: str, found: Measured, traces: int) -> list[str]:
    per_thousand = 1000 / traces
    return [
        name,
        f"{found.calls / traces:g}",
        f"{found.read / traces:,.0f}",
        f"{found.unchanging / found.read:.0%}",
        f"{found.cached / found.read:.0%}",
        f"{found.written / traces:,.0f}",
        f"{found.usd * per_thousand:.2f}",
        f"{found.full * per_thousand:.2f}",
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
        rubric["enabled"] = True
        rubric.pop("when", None)
        rubric["judge"] = {**rubric.get("judge", {}), **({"group": group} if group else {})}
        with (folder / "rubrics" / f"{name}.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(rubric, file)
    (folder / "evaluator.yaml").write_text(
        "discovery: {quiet_for: 1s, max_wait: 1m}\n"
        f"models: {{prices: {{gpt-5.4-mini: {_PRICE.model_dump_json()}}}}}\n"
        "judges: {trace: off}\n"
    )
    return folder


if __name__ == "__main__":
    main()
