"""`run_batched_evaluation` of the langfuse SDK: as its documentation shows it, or (`tuned`) with every trick applied.

The tricks: pages of 1,000, the rules as one evaluator, the openai SDK on its aiohttp transport. The judge is async in
both: a synchronous one would stop the event loop that all items share.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from langfuse import Evaluation, EvaluatorInputs, Langfuse
from openai import AsyncOpenAI, DefaultAioHttpClient

from benchmarks.work import AT_ONCE, FORMAT, JUDGED, MODEL, messages, rules, texts

ROOTS = json.dumps([{"type": "boolean", "column": "isRootObservation", "operator": "=", "value": True}])
RULES = ("answered", "answer-length", "no-boilerplate", "no-errors", "fast-enough")


def mapper(*, item: Any, **_: Any) -> EvaluatorInputs:
    """Take what the evaluators need from a root."""
    given, answer = texts(item.input, item.output)
    about = {"level": item.level, "start": item.start_time, "end": item.end_time}
    return EvaluatorInputs(input=given, output=answer, expected_output=None, metadata=about)


def judge(model: AsyncOpenAI) -> Callable[..., Awaitable[Evaluation]]:
    """Return the evaluator that asks the model."""

    async def helpfulness(*, input: Any, output: Any, **_: Any) -> Evaluation:  # noqa: A002 - the SDK names it so
        prompt: Any = messages(input, output)
        form: Any = FORMAT
        answer = await model.chat.completions.create(model=MODEL, messages=prompt, response_format=form)
        verdict = json.loads(answer.choices[0].message.content or "{}")
        return Evaluation(name=JUDGED, value=verdict["score"], comment=verdict["reasoning"])

    return helpfulness


def rule(name: str) -> Callable[..., Evaluation]:
    """Return the evaluator of one rule."""

    def check(*, output: Any, metadata: Any, **_: Any) -> Evaluation:
        return Evaluation(name=name, value=rules(output, metadata["level"], metadata["start"], metadata["end"])[name])

    return check


def all_rules(*, output: Any, metadata: Any, **_: Any) -> list[Evaluation]:
    """Check all rules at once."""
    found = rules(output, metadata["level"], metadata["start"], metadata["end"])
    return [Evaluation(name=name, value=value) for name, value in found.items()]


def main(*, tuned: bool) -> None:
    """Evaluate every root there is."""
    http = DefaultAioHttpClient() if tuned else None
    evaluators: list[Any] = [judge(AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"], http_client=http))]
    evaluators += [all_rules] if tuned else [rule(name) for name in RULES]
    Langfuse().run_batched_evaluation(
        mapper=mapper,
        filter=ROOTS,
        evaluators=evaluators,
        fields="core,basic,io,time",
        fetch_batch_size=1000 if tuned else 50,
        max_concurrency=AT_ONCE,
    )


if __name__ == "__main__":
    main(tuned="tuned" in sys.argv)
