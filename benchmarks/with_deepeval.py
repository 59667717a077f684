"""deepeval: a G-Eval metric with given steps (one call a case) through `evaluate`; langfuse's SDK reads and writes."""

from __future__ import annotations

import os
from typing import Any

from deepeval import evaluate
from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig, ErrorConfig
from deepeval.metrics import GEval
from deepeval.models import GPTModel
from deepeval.test_case import LLMTestCase, SingleTurnParams
from langfuse import Langfuse

from benchmarks.reading import roots, write
from benchmarks.work import AT_ONCE, INSTRUCTIONS, MODEL, texts


def main() -> None:
    """Judge and check every root of the last hour."""
    langfuse = Langfuse()
    found = roots(langfuse)
    model = GPTModel(
        MODEL, base_url=os.environ["OPENAI_BASE_URL"], cost_per_input_token=1e-6, cost_per_output_token=1e-6
    )
    metric = GEval(
        name="helpfulness",
        evaluation_steps=[INSTRUCTIONS],
        evaluation_params=[SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT, SingleTurnParams.RETRIEVAL_CONTEXT],
        model=model,
    )
    results = evaluate(
        [_case(root) for root in found],
        [metric],
        async_config=AsyncConfig(max_concurrent=AT_ONCE),
        display_config=DisplayConfig(show_indicator=False, print_results=False, inspect_after_run=False),
        cache_config=CacheConfig(write_cache=False),
        error_config=ErrorConfig(ignore_errors=True),  # else one refused call costs every other its score
    )
    judged = {result.name: result.metrics_data[0].score for result in results.test_results}
    for root in found:
        if (score := judged[root.trace_id]) is not None:
            write(langfuse, root, score)
    langfuse.flush()


def _case(root: Any) -> LLMTestCase:
    given, answer = texts(root.input, root.output)
    return LLMTestCase(
        name=root.trace_id, input=given["question"], actual_output=answer, retrieval_context=given["context"]
    )


if __name__ == "__main__":
    main()
