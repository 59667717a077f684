"""The floor: bare aiohttp and orjson making the requests of the service and nothing else.

No queue, no retries, no limits, nothing remembered: what Python needs for the traffic alone.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from benchmarks.work import AT_ONCE, FORMAT, JUDGED, MODEL, messages, rules, texts

_TRACES_A_FETCH = 50
_TRACES_A_WRITE = 16


async def main() -> None:
    """Read, judge and write every trace of the last hour."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        worker = Floor(session)
        roots = await worker.roots()
        batches = [roots[at : at + _TRACES_A_FETCH] for at in range(0, len(roots), _TRACES_A_FETCH)]
        ahead = asyncio.Semaphore(max(2, 4 * AT_ONCE // _TRACES_A_FETCH))

        async def bounded(batch: list[dict[str, Any]]) -> None:
            async with ahead:
                await worker.batch(batch)

        await asyncio.gather(*map(bounded, batches))


class Floor:
    """One session and its bound on model calls."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(AT_ONCE)
        key = f"{os.environ['LANGFUSE_PUBLIC_KEY']}:{os.environ['LANGFUSE_SECRET_KEY']}"
        self._headers = {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}
        self._langfuse = os.environ["LANGFUSE_BASE_URL"] + "/api/public"
        self._model = os.environ["OPENAI_BASE_URL"] + "/chat/completions"

    async def roots(self) -> list[dict[str, Any]]:
        """Return the roots that ended within the hour, without their texts."""
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        filters = [{"type": "datetime", "column": "endTime", "operator": ">=", "value": since}]
        return await self._rows("core,basic,time", filters, 1000, isRootObservation="true")

    async def batch(self, roots: list[dict[str, Any]]) -> None:
        """Fetch whole traces, judge them all at once and write their scores as they come."""
        ids = [root["traceId"] for root in roots]
        filters = [{"type": "stringOptions", "column": "traceId", "operator": "any of", "value": ids}]
        rows = await self._rows("core,basic,io,metadata,model,usage,prompt,metrics,trace_context,time", filters, 100)
        traces: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            traces.setdefault(row["traceId"], []).append(row)
        scores = await asyncio.gather(*map(self._judged, traces.values()))
        for at in range(0, len(scores), _TRACES_A_WRITE):
            body = orjson.dumps(list(itertools.chain.from_iterable(scores[at : at + _TRACES_A_WRITE])))
            await self._post(f"{self._langfuse}/scores", body)

    async def _judged(self, trace: list[dict[str, Any]]) -> list[dict[str, Any]]:
        root = next(row for row in trace if not row["parentObservationId"])
        given, answer = texts(root["input"], root["output"])
        body = {"model": MODEL, "messages": messages(given, answer), "response_format": FORMAT}
        async with self._slots:
            completion = orjson.loads(await self._post(self._model, orjson.dumps(body)))
        verdict = orjson.loads(completion["choices"][0]["message"]["content"])
        tools = (row["name"] for row in trace if row["type"] == "TOOL")
        found = {JUDGED: verdict["score"], **rules(answer, root["level"], root["startTime"], root["endTime"], tools)}
        about = {"traceId": root["traceId"], "timestamp": root["endTime"]}
        return [{"id": str(uuid.uuid4()), "name": name, "value": value, **about} for name, value in found.items()]

    async def _rows(self, fields: str, filters: list[Any], limit: int, **more: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        params = {"fields": fields, "filter": orjson.dumps(filters).decode(), "limit": str(limit), **more}
        while True:
            async with self._session.get(
                f"{self._langfuse}/v2/observations", params=params, headers=self._headers
            ) as response:
                answer = orjson.loads(await response.read())
            rows += answer["data"]
            if "cursor" not in answer["meta"]:
                return rows
            params["cursor"] = answer["meta"]["cursor"]

    async def _post(self, url: str, body: bytes) -> bytes:
        async with self._session.post(url, data=body, headers=self._headers) as response:
            return await response.read()


if __name__ == "__main__":
    asyncio.run(main())
