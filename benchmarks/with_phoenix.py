"""arize-phoenix-evals: its classifier over a data frame with the async executor; read and written by the langfuse SDK.

By itself its rate limiter starts at five requests a second, doubles in 70 seconds and stops at forty; the rate given
here keeps it out of the way until the model refuses.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pandas as pd
from langfuse import Langfuse
from phoenix.evals import LLM, async_evaluate_dataframe, create_classifier

from benchmarks.reading import roots, write
from benchmarks.work import AT_ONCE, INSTRUCTIONS, MODEL, texts

TEMPLATE = INSTRUCTIONS.replace("{", "(").replace("}", ")") + (
    "\n\nquestion:\n{question}\n\ndocuments:\n{documents}\n\nanswer:\n{answer}"
)


def main() -> None:
    """Judge and check every root of the last hour."""
    langfuse = Langfuse()
    found = roots(langfuse)
    llm = LLM(
        provider="openai",
        model=MODEL,
        base_url=os.environ["OPENAI_BASE_URL"],
        initial_per_second_request_rate=100_000,
    )
    choices = {str(score): float(score) for score in range(1, 6)}
    classifier = create_classifier("helpfulness", TEMPLATE, llm, choices)
    frame = pd.DataFrame([_row(root) for root in found])
    judged = asyncio.run(async_evaluate_dataframe(frame, [classifier], concurrency=AT_ONCE, hide_tqdm_bar=True))
    for root, score in zip(found, judged["helpfulness_score"], strict=True):
        verdict = json.loads(score) if isinstance(score, str) else score
        write(langfuse, root, float(verdict["score"]))
    langfuse.flush()


def _row(root: Any) -> dict[str, str]:
    given, answer = texts(root.input, root.output)
    return {"question": given["question"], "documents": "\n\n".join(given["context"]), "answer": answer}


if __name__ == "__main__":
    main()
