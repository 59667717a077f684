"""Media of the stand-in: records under /media, content under an address that is signed and expires, as in S3."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from sandbox.langfuse.answers import not_found
from sandbox.langfuse.times import iso, now_ms

_SIGNED: Final = "X-Amz-Signature"
_EXPIRES: Final = "X-Amz-Expires-At"


@dataclass(slots=True)
class StoredMedia:
    """One image or file, and how it misbehaves.

    `said_length` is told in place of its own length; the first `stale` addresses have expired when they are given;
    `redirect` is where the storage sends who asks for it; `status` is answered in place of the content.
    """

    content: bytes
    content_type: str
    said_length: int | None = None
    stale: int = 0
    redirect: str = ""
    status: int = 200


@dataclass(slots=True)
class MediaShelf:
    """The media of one project by id; filled by `add`."""

    stored: dict[str, StoredMedia] = field(default_factory=dict)
    seconds: float = 3600.0
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def add(self, media_id: str, content: bytes, content_type: str, **misbehaves: Any) -> str:
        """Store media and return the reference that stands for it in a trace."""
        self.stored[media_id] = StoredMedia(content, content_type, **misbehaves)
        return f"@@@langfuseMedia:type={content_type}|id={media_id}|source=base64_data_uri@@@"

    def record(self, media_id: str, origin: str) -> dict[str, Any]:
        """Return what the API tells of media; `origin` is where this server is reached.

        Raises:
            Refusal: 404, there is none of this id.
        """
        media = self.stored.get(media_id)
        if media is None:
            not_found("Media asset not found or not uploaded")
        now = now_ms()
        until = now + (0 if media.stale > 0 else round(self.seconds * 1000))
        media.stale -= 1
        path = f"/storage/media/{media_id}"
        return {
            "mediaId": media_id,
            "contentType": media.content_type,
            "contentLength": len(media.content) if media.said_length is None else media.said_length,
            "uploadedAt": iso(now),
            "url": f"{origin}{path}?{_EXPIRES}={until}&{_SIGNED}={self._signature(path, str(until))}",
            "urlExpiry": iso(until),
        }

    def download(self, request: web.Request) -> web.Response:
        """Answer as S3 does: one kind of credentials, a true signature, before its end."""
        until = request.query.get(_EXPIRES, "")
        media = self.stored.get(request.match_info["id"])
        if request.headers.get("Authorization"):
            return _denied(400, "InvalidArgument", "Only one auth mechanism allowed")
        if not hmac.compare_digest(self._signature(request.path, until), request.query.get(_SIGNED, "")):
            return _denied(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        if int(until) <= now_ms():
            return _denied(403, "AccessDenied", "Request has expired")
        if media is None:
            return _denied(404, "NoSuchKey", "The specified key does not exist.")
        if media.redirect:
            return web.Response(status=302, headers={"Location": media.redirect})
        return web.Response(status=media.status, body=media.content, content_type=media.content_type)

    def _signature(self, path: str, until: str) -> str:
        return hmac.new(self._key, f"{path}|{until}".encode(), hashlib.sha256).hexdigest()


def _denied(status: int, code: str, message: str) -> web.Response:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")
