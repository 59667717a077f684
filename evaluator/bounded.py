"""Reading an HTTP answer that may be larger than anybody has room for."""

from __future__ import annotations

import aiohttp


class TooLarge(Exception):
    """An answer has more bytes than its reader takes."""


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
