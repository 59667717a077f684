"""What all HTTP clients of the service share: a cheap session that finds the proxy, and answers of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp


class TooLarge(Exception):
    """An answer has more bytes than its reader takes."""


def open_session(base_url: str, headers: Mapping[str, str], timeout: float) -> aiohttp.ClientSession:
    """Return a session for one server; call it on the event loop that will use it.

    Args:
        base_url: the server's address. Its proxy is looked up here, once: aiohttp would do so for each request, in
            other threads, and would read passwords from .netrc.
        headers: sent with every request.
        timeout: seconds for one request, from sending to the last byte.
    """
    parts = urlsplit(base_url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    return aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout),
        connector=aiohttp.TCPConnector(limit=0),  # requests in flight are bounded above
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
    )


async def content_of(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the content of an answer, unpacked.

    Raises:
        TooLarge: it has more than `most` bytes; the rest is not read.
    """
    parts: list[bytes] = []
    left = most
    async for part in response.content.iter_any():
        left -= len(part)
        if left < 0:
            response.close()
            raise TooLarge(f"more than {most:,} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
