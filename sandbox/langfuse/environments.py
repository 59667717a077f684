"""What Langfuse makes of an environment's name."""

from __future__ import annotations

import re
from typing import Final

_OWN_PREFIX: Final = re.compile(r"^(?:langfuse[-_])+")
_ALLOWED: Final = re.compile(r"[a-z0-9_-]+")


def environment_name(text: object) -> str:
    """Return the name under which `text` is stored: nobody can write into `langfuse-*` from outside."""
    name = _OWN_PREFIX.sub("", str(text or "").lower())[:40]
    return name if _ALLOWED.fullmatch(name) else "default"
