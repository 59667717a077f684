"""The Slack stand-in: an incoming webhook and the few Web API methods a bot needs; it keeps and shows what arrived."""

from __future__ import annotations

import html
import json
import re
import time
from typing import Any, Final

from aiohttp import web

from sandbox.faults import CONTROL, Fault, FaultKind, Faults, controlling, injecting

MOST_BLOCKS: Final = 50
LONGEST_SECTION: Final = 3000
LONGEST_HEADER: Final = 150
LONGEST_MESSAGE: Final = 40_000
_LINK: Final = re.compile(r"<([^|>]+)\|([^>]+)>")
_BOLD: Final = re.compile(r"\*([^*\n]+)\*")


class SlackStandIn:
    """A workspace with one channel.

    Attributes:
        faults: What goes wrong on the wire.
        scopes: What the bot may do.
        messages: Every message that arrived, oldest first, as sent, with its `ts`.
        files: Name and content of every uploaded file.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.scopes = {"chat:write", "files:write", "channels:history"}
        self.messages: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self._tickets: dict[str, tuple[str, int, bytes]] = {}

    def counts(self) -> dict[str, Any]:
        """Return how many messages and files arrived."""
        return {"messages": len(self.messages), "files": len(self.files)}

    def app(self) -> web.Application:
        """Return the web application that serves it."""
        app = web.Application(middlewares=[injecting(self.faults, _refused)], client_max_size=32 << 20)
        app.router.add_post("/services/{team}/{app}/{token}", self._webhook)
        app.router.add_route("*", "/api/auth.test", self._who)
        app.router.add_post("/api/chat.postMessage", self._post)
        app.router.add_route("*", "/api/conversations.history", self._history)
        app.router.add_route("*", "/api/conversations.replies", self._history)
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
        if (problem := problem_of(message)) is not None:
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
        for part in ("blocks", "metadata"):
            if isinstance(given.get(part), str):
                given[part] = json.loads(given[part])
        if not given.get("channel"):
            return web.json_response({"ok": False, "error": "channel_not_found"})
        if (problem := problem_of(given)) is not None:
            return web.json_response({"ok": False, "error": problem})
        ts = self._keep(given)
        return web.json_response({"ok": True, "channel": given["channel"], "ts": ts, "message": {"ts": ts}})

    async def _history(self, request: web.Request) -> web.Response:
        """The channel, newest first and without replies; or a thread, oldest first. Metadata only for who asks."""
        given = await _given(request)
        if not _token(request, given):
            return _error("not_authed")
        if "channels:history" not in self.scopes:
            return _error("missing_scope", needed="channels:history", provided=",".join(sorted(self.scopes)))
        most = min(int(given.get("limit") or 100), 999)
        first, oldest = int(given.get("cursor") or 0), float(given.get("oldest") or 0)
        thread = given.get("ts") if request.path.endswith("replies") else None
        there = [message for message in self.messages if message.get("channel") == given.get("channel")]
        if thread is None:
            there = [message for message in reversed(there) if message.get("thread_ts") is None]
        else:
            there = [message for message in there if thread in {message["ts"], message.get("thread_ts")}]
            if not there:
                return _error("thread_not_found")
        found = [
            {k: v for k, v in message.items() if k != "metadata" or _yes(given.get("include_all_metadata"))}
            for message in there
            if float(message["ts"]) >= oldest
        ]
        more = len(found) > first + most
        return web.json_response(
            {
                "ok": True,
                "messages": found[first : first + most],
                "has_more": more,
                "response_metadata": {"next_cursor": str(first + most) if more else ""},
            }
        )

    async def _upload_url(self, request: web.Request) -> web.Response:
        given = await _given(request)
        if not _token(request, given):
            return _error("not_authed")
        if "files:write" not in self.scopes:
            return _error("missing_scope", needed="files:write", provided=",".join(sorted(self.scopes)))
        if not given.get("filename") or not str(given.get("length", "")).isdigit():
            return _error("invalid_arguments")
        ticket = f"F{len(self._tickets) + 1}"
        self._tickets[ticket] = str(given["filename"]), int(given["length"]), b""
        url = f"{request.scheme}://{request.host}/upload/{ticket}"
        return web.json_response({"ok": True, "upload_url": url, "file_id": ticket})

    async def _upload(self, request: web.Request) -> web.Response:
        ticket = request.match_info["id"]
        if ticket not in self._tickets:
            return web.Response(status=404, text="unknown upload")
        name, length, _ = self._tickets[ticket]
        content = await _uploaded(request)
        if len(content) != length:
            return web.Response(status=400, text="length mismatch")
        self._tickets[ticket] = name, length, content
        return web.Response(text=f"OK - {len(content)}")

    async def _complete(self, request: web.Request) -> web.Response:
        given = await _given(request)
        if not _token(request, given):
            return _error("not_authed")
        named = json.loads(given["files"]) if isinstance(given.get("files"), str) else given.get("files", [])
        if not named:
            return _error("invalid_arguments")
        if any(not self._tickets.get(each.get("id"), ("", 0, b""))[2] for each in named):
            return _error("file_not_found")
        thread = given.get("thread_ts")
        if thread and all(message["ts"] != thread for message in self.messages):
            return _error("invalid_thread_ts")
        for each in named:
            name, _, content = self._tickets[each["id"]]
            self.files[f"{each['id']}/{name}"] = content
        return web.json_response(
            {"ok": True, "files": [{"id": each["id"], "title": each.get("title")} for each in named]}
        )

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
        # Seconds since 1970, and never the same twice: it is also the message's name.
        last = self.messages[-1]["ts"] if self.messages else "0"
        ts = max(f"{time.time():.6f}", f"{float(last) + 1e-6:.6f}")
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


def problem_of(message: Any) -> str | None:
    """Say what Slack would refuse a message for; None when it would take it."""
    if not isinstance(message, dict):
        return "invalid_payload"
    blocks = message.get("blocks") or []
    if not message.get("text") and not blocks:
        return "no_text"
    if len(str(message.get("text") or "")) > LONGEST_MESSAGE:
        return "msg_too_long"
    if len(blocks) > MOST_BLOCKS or not all(isinstance(block, dict) and _is_legal(block) for block in blocks):
        return "invalid_blocks"
    return None


def _is_legal(block: dict[str, Any]) -> bool:
    elements = block.get("elements") or []
    match block.get("type"):
        case "header":
            return _fits(block.get("text"), LONGEST_HEADER, "plain_text")
        case "section":
            fields = block.get("fields") or []
            texts = [block["text"]] if "text" in block else []
            small = len(fields) <= 10 and all(_fits(field, 2000) for field in fields)
            return small and bool(texts or fields) and all(_fits(text, LONGEST_SECTION) for text in texts)
        case "context":
            return 0 < len(elements) <= 10 and all(_fits(element, LONGEST_SECTION) for element in elements)
        case "actions":
            names = [element.get("action_id") for element in elements]
            return 0 < len(elements) <= 25 and len({*names}) == len(names) and all(map(_is_button, elements))
        case "divider":
            return True
    return False


def _is_button(element: dict[str, Any]) -> bool:
    url = element.get("url", "https://")
    known = element.get("type") == "button" and url.startswith(("https://", "http://"))
    return known and len(url) <= 3000 and _fits(element.get("text"), 75, "plain_text")


def _fits(text: Any, most: int, *kinds: str) -> bool:
    """Whether a text object has a kind that is allowed here, and neither nothing nor too much in it."""
    if not isinstance(text, dict) or text.get("type") not in (kinds or ("plain_text", "mrkdwn")):
        return False
    return 0 < len(str(text.get("text", ""))) <= most


async def _given(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        return dict(json.loads(await request.text()))
    return {**request.query, **dict(await request.post())}


async def _uploaded(request: web.Request) -> bytes:
    """Return an uploaded file, sent as the body or as the one file of a form."""
    if request.content_type != "multipart/form-data":
        return await request.read()
    for field in (await request.post()).values():
        if isinstance(field, web.FileField):
            return field.file.read()
    return b""


def _error(code: str, **more: str) -> web.Response:
    return web.json_response({"ok": False, "error": code, **more})


def _yes(said: object) -> bool:
    return str(said).lower() in {"1", "true"}


def _token(request: web.Request, given: dict[str, Any]) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ").strip() or str(given.get("token", ""))


def _refused(fault: Fault) -> web.Response:
    if fault.kind is FaultKind.RATE_LIMITED:
        return web.Response(status=429, text="rate_limited", headers={"Retry-After": f"{max(1, round(fault.seconds))}"})
    return web.Response(status=fault.status, text="server_error")
