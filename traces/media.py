"""Images and files in recorded text: Langfuse keeps them apart, and leaves a reference where they were."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_BEGINS: Final = "@@@langfuseMedia:"
_ID: Final = r"[A-Za-z0-9_-]{1,100}"
_TYPE: Final = r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,80}"
_REFERENCE: Final = re.compile(rf"@@@langfuseMedia:type=({_TYPE})\|id=({_ID})\|source=[A-Za-z0-9_]{{1,40}}@@@")
_REMARK: Final = re.compile(rf"\[media: {_TYPE}, id ({_ID})\]")


def with_remarks(text: str, *, shown: bool) -> str:
    """Return `text` with a short remark in place of every reference to media.

    Args:
        text: as recorded.
        shown: whether the media can be shown beside the text; then the remark holds the id, for `media_in`.
    """
    if _BEGINS not in text:
        return text
    return _REFERENCE.sub(r"[media: \1, id \2]" if shown else r"[media: \1, not shown]", text)


def media_in(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of the media that texts remark on, in their order, each once."""
    return tuple(dict.fromkeys(found[1] for text in texts for found in _REMARK.finditer(text)))
