"""One HTTP request to an OpenAI-compatible server: who we are as the SDK says it, sent as cheaply as can be.

The SDK's own request path costs four times the CPU of the request itself (docs: performance). So the SDK tells address,
authentication and headers and owns the type of a refusal; the request goes out on an aiohttp session of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import httpx2
import openai
import orjson
from yarl import URL

from evaluator.errors import Unavailable
from evaluator.http import TooLarge, content_of, open_session
from evaluator.model.endpoint import Endpoint
from traces import json_text, well_formed

LARGEST_ANSWER: Final = 16 << 20
"""Bytes of an answer; a server that sends more is broken or means ill."""


Heard = Callable[[Mapping[str, str]], None]
"""Is told the headers of an answer."""


class Transport:
    """Sends requests. Made on the event loop it is used on: its connections belong to that loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Talk to an endpoint.

        Raises:
            ConfigError: its address is none, or holds a password.
        """
        sdk = endpoint.client()
        headers = {name: value for name, value in sdk.default_headers.items() if isinstance(value, str)}
        self._base = sdk.base_url.copy_merge_params({name: str(value) for name, value in sdk.default_query.items()})
        self._addresses: dict[str, URL] = {}
        self._timeout = endpoint.timeout
        self._session = open_session(endpoint.base_url, {**headers, **sdk.auth_headers}, endpoint.timeout)

    @property
    def place(self) -> str:
        """The server's address as it may be shown: parameters may hold a key."""
        return str(self._base.copy_with(query=None))

    async def post(self, path: str, body: Mapping[str, Any], heard: Heard | None = None) -> bytes:
        """Return the content of the answer to a POST; `heard` is told its headers.

        Raises:
            openai.APIStatusError: it refuses.
            Unavailable: it does not answer.
        """
        return await self._send("POST", path, _written(body), heard)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """Return the content of the answer to a GET; raises what `post` raises."""
        return await self._send("GET", path, None, params=params)

    async def delete(self, path: str) -> bytes:
        """Return the content of the answer to a DELETE; raises what `post` raises."""
        return await self._send("DELETE", path, None)

    async def upload(self, path: str, fields: Mapping[str, str], content: bytes) -> bytes:
        """Return the content of the answer to a form with a file; raises what `post` raises."""
        form = aiohttp.FormData(dict(fields))
        form.add_field("file", content, filename="requests.jsonl", content_type="application/jsonl")
        written = form()
        # The SDK's own header says JSON, and would stand.
        return await self._send("POST", path, written, headers={"Content-Type": written.headers["Content-Type"]})

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _send(self, method: str, path: str, body: Any, heard: Heard | None = None, **more: Any) -> bytes:
        try:
            # Followed, a redirect would carry prompts to a host nobody set.
            async with self._session.request(
                method, self._address(path), data=body, allow_redirects=False, **more
            ) as response:
                content = await content_of(response, LARGEST_ANSWER)
                status, headers = response.status, response.headers
        except TimeoutError:
            raise Unavailable(f"the model API does not answer within {self._timeout:g} s") from None
        except TooLarge as error:
            raise Unavailable(f"the model API answered with {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the model API does not answer ({type(error).__name__})") from None
        if status >= 300:
            raise _refusal(status, headers, content)
        if heard is not None:
            heard(headers)
        return content

    def _address(self, path: str) -> URL:
        if path not in self._addresses:
            self._addresses[path] = URL(str(self._base.copy_with(path=self._base.path.rstrip("/") + path)))
        return self._addresses[path]


def _refusal(status: int, headers: Mapping[str, str], content: bytes) -> openai.APIStatusError:
    """Return a refusal as the SDK's own path would raise it; the request, which holds key and prompt, stays out."""
    try:
        said = orjson.loads(content)
    except orjson.JSONDecodeError:
        said = content.decode(errors="replace")
    body = said.get("error", said) if isinstance(said, dict) else said
    known = {name: value for name, value in headers.items() if name.lower() != "content-encoding"}
    response = httpx2.Response(status, headers=known, content=content, request=httpx2.Request("POST", ""))
    return openai.APIStatusError(f"status {status}", response=response, body=body)


def _written(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        return well_formed(json_text(body)).encode()  # texts that are no Unicode, numbers beyond 64 bits
