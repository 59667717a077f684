"""The loop people write: a thread pool, the openai SDK, the langfuse SDK's `create_score`."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from langfuse import Langfuse
from openai import OpenAI

SCHEMA = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "score": {"type": "number", "description": "a number from 1 to 5"}},
    "required": ["reasoning", "score"],
    "additionalProperties": False,
}


def main() -> None:
    """Judge and check every root of the last hour."""
    langfuse = Langfuse()
    model = OpenAI(base_url=os.environ["OPENAI_BASE_URL"])

    def judge(row: Any) -> None:
        prompt = f"Does it help? Score a number from 1 to 5.\n{row.input}\n{row.output}"
        answer = model.chat.completions.create(
            model="gpt-5.4-mini",
            messages=[{"role": "user", "content": prompt}],
            response_format={"type": "json_schema", "json_schema": {"name": "v", "strict": True, "schema": SCHEMA}},
        )
        verdict = json.loads(answer.choices[0].message.content or "{}")
        langfuse.create_score(trace_id=row.trace_id, name="helpfulness", value=verdict["score"])
        langfuse.create_score(trace_id=row.trace_id, name="answered", value=float(bool(row.output)))
        langfuse.create_score(trace_id=row.trace_id, name="no-errors", value=float(row.level != "ERROR"))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(judge, _roots(langfuse)))
    langfuse.flush()


def _roots(langfuse: Langfuse) -> list[Any]:
    rows: list[Any] = []
    cursor: str | None = None
    since = datetime.now(UTC) - timedelta(hours=1)
    while True:
        page = langfuse.api.observations.get_many(
            fields="core,basic,io", is_root_observation=True, from_start_time=since, limit=100, cursor=cursor
        )
        rows += page.data
        cursor = page.meta.cursor
        if not cursor:
            return rows


if __name__ == "__main__":
    main()
