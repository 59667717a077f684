"""One HTTP request to an OpenAI-compatible server: who we are as the SDK says it, sent as cheaply as can be.

The SDK's own request path costs four times the CPU of the request itself (docs: performance). So the SDK tells address,
authentication and headers; the request goes out on an aiohttp session of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson
from yarl import URL

from evaluator.errors import Unavailable
from evaluator.http import TooLarge, content_of, open_session
from evaluator.model.completion import StatusError
from evaluator.model.endpoint import Endpoint
from traces import json_text, well_formed

if TYPE_CHECKING:
    import openai

LARGEST_ANSWER: Final = 16 << 20
"""Bytes of an answer; a server that sends more is broken or means ill."""


Heard = Callable[[Mapping[str, str]], None]
"""Is told the headers of an answer."""


class Transport:
    """Sends requests, all on one event loop: its connections belong to that loop.

    The first one opens it, unless `open` did: a process that asks no judge does not even load the SDK.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Talk to an endpoint.

        Raises:
            ConfigError: its address is none, or holds a password.
        """
        endpoint.check()
        self._endpoint = endpoint
        self._addresses: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def place(self) -> str:
        """The server's address as it may be shown: parameters may hold a key."""
        return str(self._sdk.base_url.copy_with(query=None))

    async def post(self, path: str, body: Mapping[str, Any], heard: Heard | None = None) -> bytes:
        """Return the content of the answer to a POST; `heard` is told its headers.

        Raises:
            StatusError: it refuses.
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

    def open(self) -> aiohttp.ClientSession:
        """Return the session, opened when first asked for; call it on the event loop of all requests."""
        if self._session is None:
            # What the SDK tells of itself is left out: it is not what sends.
            told = {
                name: value
                for name, value in self._sdk.default_headers.items()
                if isinstance(value, str) and not name.startswith("X-Stainless-")
            }
            headers = {**told, **self._sdk.auth_headers}
            self._session = open_session(self._endpoint.base_url, headers, self._endpoint.timeout)
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    @cached_property
    def _sdk(self) -> openai.AsyncOpenAI:
        return self._endpoint.client()

    async def _send(self, method: str, path: str, body: Any, heard: Heard | None = None, **more: Any) -> bytes:
        session = self.open()
        try:
            # Followed, a redirect would carry prompts to a host nobody set.
            async with session.request(
                method, self._address(path), data=body, allow_redirects=False, **more
            ) as response:
                content = await content_of(response, LARGEST_ANSWER)
                status, headers = response.status, response.headers
        except TimeoutError:
            raise Unavailable(f"the model API does not answer within {self._endpoint.timeout:g} s") from None
        except TooLarge as error:
            raise Unavailable(f"the model API answered with {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the model API does not answer ({type(error).__name__})") from None
        if status >= 300:
            raise StatusError(status, headers, content)
        if heard is not None:
            heard(headers)
        return content

    def _address(self, path: str) -> URL:
        if path not in self._addresses:
            query = {name: str(value) for name, value in self._sdk.default_query.items()}
            base = self._sdk.base_url.copy_merge_params(query)
            self._addresses[path] = URL(str(base.copy_with(path=base.path.rstrip("/") + path)))
        return self._addresses[path]


def _written(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        return well_formed(json_text(body)).encode()  # texts that are no Unicode, numbers beyond 64 bits
