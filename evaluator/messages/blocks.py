"""Block Kit: the parts of a Slack message, always within Slack's limits, and strangers' text made harmless.

In mrkdwn names from strangers are escaped and shown as code; longer texts go into `plain_text`, which Slack neither
formats nor links nor resolves to mentions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

Message = dict[str, Any]
"""`text` (what notifications show) and `blocks`."""

MOST_BLOCKS: Final = 50
LONGEST_SECTION: Final = 3000
LONGEST_TEXT: Final = 3000
"""Of what a notification shows; Slack takes 40,000 characters and advises 4,000."""

_HEADER: Final = 150
_BUTTON: Final = 75
_LONGEST_URL: Final = 3000
_MOST_BUTTONS: Final = 5
_NAME: Final = 80
_NO_MARKUP: Final = str.maketrans("|`*_~", "/'...")
_OF_URLS: Final = ":/?#[]@!$&'()*+,;=%"


def post(title: str, blocks: Sequence[Mapping[str, Any]], text: str) -> Message:
    """Return a message; `text` is plain. Blocks beyond what Slack takes are left out, and that is said."""
    head = {"type": "header", "text": {"type": "plain_text", "text": cut(plain(title), _HEADER), "emoji": False}}
    shown = [head, *blocks]
    if len(shown) > MOST_BLOCKS:
        left = len(shown) - MOST_BLOCKS + 1
        shown = [*shown[: MOST_BLOCKS - 1], context(f"… and {left} parts more than Slack takes")]
    return {"text": entities(cut(text, LONGEST_TEXT)), "blocks": shown, "unfurl_links": False, "unfurl_media": False}


def section(text: str) -> Message:
    """Return a paragraph of mrkdwn."""
    return {"type": "section", "text": mrkdwn(text)}


def context(text: str) -> Message:
    """Return small print in mrkdwn."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def remark(label: str, text: str) -> Message:
    """Return mrkdwn with a stranger's text beside it, which is shown as it is."""
    return {"type": "context", "elements": [mrkdwn(label), {"type": "plain_text", "text": text, "emoji": False}]}


def mrkdwn(text: str) -> Message:
    """Return mrkdwn, cut between lines when it is longer than Slack takes."""
    # verbatim: Slack must not turn names and addresses in the text into links or mentions.
    return {"type": "mrkdwn", "text": _fitting(text), "verbatim": True}


def buttons(links: Sequence[tuple[str, str]]) -> list[Message]:
    """Return a row of buttons that are links, (label, address) each; none when there is nothing to link."""
    elements = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": cut(plain(label), _BUTTON), "emoji": False},
            "url": safe,
            "action_id": f"link-{number}",
        }
        for number, (label, url) in enumerate(links[:_MOST_BUTTONS])
        if len(safe := quote(url, safe=_OF_URLS)) <= _LONGEST_URL
    ]
    return [{"type": "actions", "elements": elements}] if elements else []


def link(url: str, label: str) -> str:
    """Return a link in mrkdwn."""
    safe = entities(quote(url, safe=_OF_URLS))
    return f"<{safe}|{entities(plain(label)).translate(_NO_MARKUP)}>"


def escaped(text: str) -> str:
    """Return a stranger's text for mrkdwn, as inline code: it can neither link, ping nor format."""
    return f"`{entities(cut(plain(text).replace('`', chr(39)), _NAME)) or '?'}`"


def plain(text: str) -> str:
    """Return text on one line, without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]+|\s+", " ", text).strip()


def entities(text: str) -> str:
    """Return text with the three characters replaced that Slack reads as markup of its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(text: str, most: int) -> str:
    """Return text with at most so many characters, the last of them an ellipsis when some are missing."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _fitting(text: str) -> str:
    """Return as many whole lines as fit: half a link or half a name in backticks would be shown as something else."""
    if len(text) <= LONGEST_SECTION:
        return text or " "
    lines, room = [], LONGEST_SECTION - 2
    for line in text.split("\n"):
        if len(line) + 1 > room:
            break
        lines.append(line)
        room -= len(line) + 1
    # One line alone is too long only when it lists many names: those between commas are whole.
    kept = "\n".join(lines) or text[: LONGEST_SECTION - 2].rpartition(", ")[0]
    return f"{kept}\n…"
