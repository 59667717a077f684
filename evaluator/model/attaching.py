"""Images and files beside a prompt: fetched when it is sent, shown behind its text, and told of in the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from judges import Attachment, Prompt
from traces import Outcome, Verdict

Attach = Callable[[str], Awaitable[Attachment]]
"""Gives an image or file by its id."""

_NOWHERE: Final = "nobody was asked for it"
_LARGEST_TOGETHER: Final = 20 << 20
"""Characters of base64 in one request."""


async def attached(prompt: Prompt, attach: Attach | None) -> Prompt:
    """Return a prompt with the images and files it refers to.

    Raises:
        Unavailable: they cannot be had now.
    """
    if not prompt.media:
        return prompt
    if attach is None:
        return replace(prompt, attached=tuple(Attachment(each, missing=_NOWHERE) for each in prompt.media))
    found: list[Attachment] = []
    left = _LARGEST_TOGETHER
    for each in await asyncio.gather(*map(attach, prompt.media)):
        fits = len(each.content) <= left
        found.append(each if fits else Attachment(each.id, missing="the others leave no room for it"))
        left -= len(each.content) if fits else 0
    return replace(prompt, attached=tuple(found))


def content(prompt: Prompt) -> str | list[dict[str, Any]]:
    """Return what a person says in a request: text, or parts when there is something to be seen."""
    if not prompt.attached:
        return prompt.user
    parts: list[dict[str, Any]] = [{"type": "text", "text": prompt.user}]
    for each in prompt.attached:
        about = f"could not be shown: {each.missing}" if each.missing else "part of the material to be judged:"
        parts.append({"type": "text", "text": f"Media {each.id}, {about}"})
        if not each.missing:
            parts.append(_shown(each))
    return parts


def told(outcome: Outcome, prompt: Prompt) -> Outcome:
    """Return a verdict with what its judge has seen, and what it could not see."""
    if not prompt.attached or not isinstance(outcome, Verdict):
        return outcome
    missing: Mapping[str, str] = {each.id: each.missing for each in prompt.attached if each.missing}
    seen = {"media_shown": len(prompt.attached) - len(missing), **({"media_missing": missing} if missing else {})}
    return replace(outcome, details={**outcome.details, **seen})


def _shown(media: Attachment) -> dict[str, Any]:
    data = f"data:{media.type};base64,{media.content}"
    if media.type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": data}}
    return {"type": "file", "file": {"filename": f"{media.id}.pdf", "file_data": data}}
