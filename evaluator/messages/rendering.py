"""Block Kit as plain text and as HTML: for mail, and for whoever has no Slack."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any, Final

from evaluator.messages.blocks import Message

_MARKUP: Final = re.compile(r"`([^`\n]*)`|<(https?://[^|>\s]+)\|([^>]*)>|\*([^*\n]+)\*")
_EMOJI: Final = {":small_red_triangle_down:": "▼"}
_STYLE: Final = (
    "font:15px/1.5 -apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;color:#1d1c1d;background:#fff;"
    "max-width:680px;margin:0 auto;padding:8px 16px"
)
_CODE: Final = (
    "font:13px/1.4 'SF Mono',Menlo,'DejaVu Sans Mono',monospace;background:#f4f4f4;padding:1px 4px;color:#b3402c"
)
_SMALL: Final = "color:#616061;font-size:13px;margin:6px 0"
_BUTTON: Final = (
    "display:inline-block;border:1px solid #bbb;border-radius:4px;padding:5px 12px;margin:4px 8px 4px 0;color:#1d1c1d;"
    "text-decoration:none;font-weight:600;font-size:14px"
)


def title_of(content: Message) -> str:
    """Return the headline of a message, on one line."""
    heads = (block["text"]["text"] for block in content.get("blocks", ()) if block.get("type") == "header")
    return next(heads, str(content.get("text", "")))


def as_text(content: Message) -> str:
    """Return a message as plain text, links after their words."""
    parts = []
    for block in content.get("blocks", ()):
        between = "\n" if block["type"] == "actions" else "  "
        parts.append(between.join(_text(each) for each in _texts(block)))
    return "\n\n".join(parts) + "\n"


def as_html(content: Message, picture: str | None = None) -> str:
    """Return a message as an HTML page without anything from elsewhere; `picture` is the address of its chart."""
    parts = [_block(block) for block in content.get("blocks", ())]
    if picture is not None:
        chart = f'<img src="{html.escape(picture)}" alt="weekly means" style="max-width:100%">'
        parts.insert(min(3, len(parts)), chart)
    title = html.escape(title_of(content))
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
    return f'{head}<body style="{_STYLE}">{"".join(parts)}</body></html>\n'


def _texts(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" in block:
        yield block["text"]
    yield from block.get("elements", ())


def _text(element: dict[str, Any]) -> str:
    if element["type"] == "button":
        return f"{element['text']['text']}: {element['url']}"
    if element["type"] != "mrkdwn":
        return str(element["text"])

    def said(found: re.Match[str]) -> str:
        code, url, label, bold = found.groups()
        return f"{label} ({url})" if url else code or bold or ""

    return html.unescape(_MARKUP.sub(said, _with_emoji(element["text"])))


def _block(block: dict[str, Any]) -> str:
    inside = " ".join(_html(element) for element in _texts(block))
    match block["type"]:
        case "header":
            return f'<h1 style="font-size:20px;margin:16px 0 8px">{inside}</h1>'
        case "context":
            return f'<p style="{_SMALL}">{inside}</p>'
    return f'<p style="margin:10px 0">{inside}</p>'


def _html(element: dict[str, Any]) -> str:
    if element["type"] == "button":
        return f'<a href="{html.escape(element["url"])}" style="{_BUTTON}">{html.escape(element["text"]["text"])}</a>'
    if element["type"] != "mrkdwn":
        return html.escape(str(element["text"]))

    def marked(found: re.Match[str]) -> str:
        code, url, label, bold = found.groups()
        if url:
            return f'<a href="{_quoted(url)}">{label}</a>'
        return f"<b>{bold}</b>" if bold else f'<code style="{_CODE}">{code}</code>'

    # Its three characters are entities already; what is left to escape are quotes in addresses.
    return _MARKUP.sub(marked, _with_emoji(element["text"])).replace("\n", "<br>")


def _quoted(url: str) -> str:
    return url.replace('"', "%22").replace("'", "%27")


def _with_emoji(text: str) -> str:
    for name, shown in _EMOJI.items():
        text = text.replace(name, shown)
    return text
