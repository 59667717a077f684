"""Images and files that traces refer to: looked up in Langfuse, downloaded from where it keeps them, checked.

Only an id comes from a trace. The address is the one that Langfuse signs for it: it is asked without our keys, is not
followed elsewhere, and what it answers is neither longer nor of another kind than may be shown.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from evaluator.errors import ConfigError, Refused, Unavailable
from evaluator.http import TooLarge, content_of, open_session
from evaluator.langfuse.wire import Wire
from judges import Attachment

LARGEST: Final = 5 << 20
"""Bytes of one image or file; some providers take no more."""

_KEPT_BYTES: Final = 32 << 20
_SIGNATURES: Final[Mapping[str, tuple[bytes, int, bytes]]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n", 0, b""),
    "image/jpeg": (b"\xff\xd8\xff", 0, b""),
    "image/gif": (b"GIF8", 0, b""),
    "image/webp": (b"RIFF", 8, b"WEBP"),
    "application/pdf": (b"%PDF-", 0, b""),
}
"""What judges can be shown, and how it begins: its first bytes, then where more of them stand."""

_EXPIRED: Final = frozenset({400, 401, 403})


class MediaStore:
    """Reads media of one project. Every method runs on the event loop."""

    def __init__(self, wire: Wire, timeout: float) -> None:
        """Ask `wire`; `timeout` in seconds for one download."""
        self._wire = wire
        self._timeout = timeout
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._kept: OrderedDict[str, Attachment] = OrderedDict()

    async def read(self, media_id: str) -> Attachment:
        """Return one image or file; one that cannot be shown says why.

        Raises:
            Unavailable: Langfuse or its storage does not answer now.
        """
        known = self._kept.get(media_id)
        if known is not None:
            self._kept.move_to_end(media_id)
            return known
        found = await self._found(media_id)
        if found.content:  # an id is the hash of a content: it never changes
            self._kept[media_id] = found
            while sum(len(each.content) for each in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return found

    async def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()

    async def _found(self, media_id: str) -> Attachment:
        for _ in range(2):
            try:
                record = await self._wire.get(f"media/{media_id}")
            except ConfigError as error:
                raise Unavailable(str(error)) from error
            except Refused:
                return Attachment(media_id, missing="Langfuse does not have it")
            if (problem := _unfit(record)) is not None:
                return Attachment(media_id, missing=problem)
            status, content = await self._downloaded(str(record["url"]))
            if status not in _EXPIRED:
                return _checked(media_id, record, status, content)
        return Attachment(media_id, missing=f"the storage of Langfuse answered {status}")

    async def _downloaded(self, url: str) -> tuple[int, bytes]:
        place = urlsplit(url)
        origin = f"{place.scheme}://{place.netloc}"
        if origin not in self._sessions:
            self._sessions[origin] = open_session(origin, {}, self._timeout)
        try:
            # Not followed anywhere, and the address as it was signed: encoded anew it would be another one.
            address = URL(url, encoded=True)
            async with self._sessions[origin].get(address, allow_redirects=False) as response:
                if response.status >= 500:
                    raise Unavailable(f"the storage of Langfuse answered {response.status}")
                return response.status, await content_of(response, LARGEST)
        except TooLarge:
            return 413, b""
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"the storage of Langfuse does not answer ({type(error).__name__})") from None


def _unfit(record: Mapping[str, Any]) -> str | None:
    """Say why what Langfuse tells of media cannot be shown; None when it can."""
    kind, length, url = record.get("contentType"), record.get("contentLength"), record.get("url")
    if kind not in _SIGNATURES:
        return f"{str(kind)[:80]} cannot be shown"
    if isinstance(length, int | float) and length > LARGEST:
        return f"it has more than {LARGEST >> 20} MB"
    place = urlsplit(url) if isinstance(url, str) else None
    if place is None or place.scheme not in {"http", "https"} or not place.hostname:
        return "Langfuse tells no address for it"
    return None


def _checked(media_id: str, record: Mapping[str, Any], status: int, content: bytes) -> Attachment:
    kind, length = str(record["contentType"]), record.get("contentLength")
    if status == 413:
        return Attachment(media_id, missing=f"it has more than {LARGEST >> 20} MB")
    if status != 200:
        return Attachment(media_id, missing=f"the storage of Langfuse answered {status}")
    if isinstance(length, int) and length != len(content):
        return Attachment(media_id, missing="it has another length than Langfuse tells")
    begins, place, inner = _SIGNATURES[kind]
    if not content.startswith(begins) or content[place : place + len(inner)] != inner:
        return Attachment(media_id, missing=f"it is no {kind}")
    return Attachment(media_id, kind, base64.b64encode(content).decode())
