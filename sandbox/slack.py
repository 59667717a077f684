"""The Slack stand-in: an incoming webhook and the few Web API methods a bot needs; it keeps and shows what arrived."""

from __future__ import annotations

import html
import json
import re
from typing import Any, Final

from aiohttp import web

from sandbox.faults import CONTROL, Fault, FaultKind, Faults, controlling, injecting

MOST_BLOCKS: Final = 50
LONGEST_SECTION: Final = 3000
LONGEST_HEADER: Final = 150
_LINK: Final = re.compile(r"<([^|>]+)\|([^>]+)>")
_BOLD: Final = re.compile(r"\*([^*\n]+)\*")


class SlackStandIn:
    """A workspace with one channel.

    Attributes:
        faults: What goes wrong on the wire.
        messages: Every message that arrived, oldest first, as sent, with its `ts`.
        files: Name and content of every uploaded file.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.messages: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    def counts(self) -> dict[str, Any]:
        """Return how many messages and files arrived."""
        return {"messages": len(self.messages), "files": len(self.files)}

    def app(self) -> web.Application:
        """Return the web application that serves it."""
        app = web.Application(middlewares=[injecting(self.faults, _refused)], client_max_size=32 << 20)
        app.router.add_post("/services/{team}/{app}/{token}", self._webhook)
        app.router.add_route("*", "/api/auth.test", self._who)
        app.router.add_post("/api/chat.postMessage", self._post)
        app.router.add_route("*", "/api/files.getUploadURLExternal", self._upload_url)
        app.router.add_post("/upload/{id}", self._upload)
        app.router.add_post("/api/files.completeUploadExternal", self._complete)
        app.router.add_get(f"{CONTROL}messages", self._shown)
        app.router.add_get(f"{CONTROL}counts", self._count)
        app.router.add_post(f"{CONTROL}faults", controlling(self.faults))
        app.router.add_get("/", self._page)
        return app

    async def _webhook(self, request: web.Request) -> web.Response:
        try:
            message = json.loads(await request.text())
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        if (problem := _problem(message)) is not None:
            return web.Response(status=400, text=problem)
        self._keep(message)
        return web.Response(text="ok")

    async def _who(self, request: web.Request) -> web.Response:
        if not _token(request, await _given(request)):
            return web.json_response({"ok": False, "error": "not_authed"})
        return web.json_response({"ok": True, "user": "evaluator", "team": "Sandbox", "user_id": "U1", "team_id": "T1"})

    async def _post(self, request: web.Request) -> web.Response:
        given = await _given(request)
        if not _token(request, given):
            return web.json_response({"ok": False, "error": "not_authed"})
        if isinstance(given.get("blocks"), str):
            given["blocks"] = json.loads(given["blocks"])
        if not given.get("channel"):
            return web.json_response({"ok": False, "error": "channel_not_found"})
        if (problem := _problem(given)) is not None:
            return web.json_response({"ok": False, "error": problem})
        ts = self._keep(given)
        return web.json_response({"ok": True, "channel": given["channel"], "ts": ts, "message": {"ts": ts}})

    async def _upload_url(self, request: web.Request) -> web.Response:
        given = await _given(request)
        name = str(given.get("filename", "file"))
        url = f"{request.scheme}://{request.host}/upload/{len(self.files) + 1}?name={name}"
        return web.json_response({"ok": True, "upload_url": url, "file_id": f"F{len(self.files) + 1}"})

    async def _upload(self, request: web.Request) -> web.Response:
        content = await request.read()
        self.files[request.query.get("name", "file")] = content
        return web.Response(text=f"OK - {len(content)}")

    async def _complete(self, request: web.Request) -> web.Response:
        given = await _given(request)
        named = json.loads(given["files"]) if isinstance(given.get("files"), str) else given.get("files", [])
        return web.json_response({"ok": True, "files": named})

    async def _shown(self, _request: web.Request) -> web.Response:
        return web.json_response(self.messages)

    async def _count(self, _request: web.Request) -> web.Response:
        return web.json_response(self.counts())

    async def _page(self, _request: web.Request) -> web.Response:
        shown = "".join(f"<pre>{html.escape(render(message))}</pre>" for message in self.messages)
        style = "<style>body{font:15px sans-serif;margin:2em}pre{border-left:4px solid #c33;padding:.5em 1em}</style>"
        page = f"<!doctype html><title>Slack stand-in</title>{style}<h1>What arrived</h1>{shown or 'Nothing yet.'}"
        return web.Response(text=page, content_type="text/html")

    def _keep(self, message: dict[str, Any]) -> str:
        ts = f"{len(self.messages) + 1:010d}.000100"
        self.messages.append({**{k: v for k, v in message.items() if k != "token"}, "ts": ts})
        return ts


def render(message: dict[str, Any]) -> str:
    """Return a message as plain text, near to how it reads in Slack."""
    lines: list[str] = []
    for block in message.get("blocks") or []:
        match block.get("type"):
            case "divider":
                lines.append("-" * 40)
            case "header":
                lines += [_plain(block["text"]), ""]
            case "context":
                lines.append(" ".join(_plain(element) for element in block.get("elements", [])))
            case "actions":
                lines.append("  ".join(f"[{_plain(e['text'])}]" for e in block.get("elements", [])))
            case _:
                texts = [block["text"]] if "text" in block else []
                lines += [_plain(text) for text in [*texts, *block.get("fields", [])]]
    return "\n".join(lines) if lines else str(message.get("text", ""))


def _plain(element: dict[str, Any]) -> str:
    text = str(element.get("text", ""))
    if element.get("type") == "mrkdwn":
        text = _BOLD.sub(r"\1", _LINK.sub(r"\2 (\1)", text))
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return text


def _problem(message: Any) -> str | None:
    """Say what Slack would refuse a message for; None when it would take it."""
    if not isinstance(message, dict):
        return "invalid_payload"
    blocks = message.get("blocks") or []
    if not message.get("text") and not blocks:
        return "no_text"
    if len(blocks) > MOST_BLOCKS:
        return "invalid_blocks"
    limits = {"header": LONGEST_HEADER, "section": LONGEST_SECTION}
    for block in blocks:
        text = block.get("text", {}).get("text", "-") if isinstance(block.get("text"), dict) else "-"
        if not isinstance(block.get("type"), str) or not 0 < len(text) <= limits.get(block["type"], LONGEST_SECTION):
            return "invalid_blocks"
    return None


async def _given(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        return dict(json.loads(await request.text()))
    return {**request.query, **dict(await request.post())}


def _token(request: web.Request, given: dict[str, Any]) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ").strip() or str(given.get("token", ""))


def _refused(fault: Fault) -> web.Response:
    if fault.kind is FaultKind.RATE_LIMITED:
        return web.Response(status=429, text="rate_limited", headers={"Retry-After": f"{max(1, round(fault.seconds))}"})
    return web.Response(status=fault.status, text="server_error")
