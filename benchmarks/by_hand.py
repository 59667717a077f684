"""The loop people write: a thread pool, the openai SDK, the langfuse SDK's `create_score`."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langfuse import Langfuse
from openai import OpenAI, OpenAIError

from benchmarks.reading import roots, write
from benchmarks.work import AT_ONCE, FORMAT, MODEL, messages, texts


def main() -> None:
    """Judge and check every root of the last hour."""
    langfuse = Langfuse()
    model = OpenAI(base_url=os.environ["OPENAI_BASE_URL"])

    def judge(root: Any) -> None:
        prompt: Any = messages(*texts(root.input, root.output))
        form: Any = FORMAT
        try:
            answer = model.chat.completions.create(model=MODEL, messages=prompt, response_format=form)
        except OpenAIError as error:  # the SDK has tried it three times
            print(f"{root.trace_id} is not judged: {error}")
            return
        write(langfuse, root, json.loads(answer.choices[0].message.content or "{}")["score"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(judge, roots(langfuse)))
    langfuse.flush()


if __name__ == "__main__":
    main()
