"""Reading a prompt from Langfuse's prompt management.

By our own client and not by `get_prompt` of Langfuse's SDK, whose cache is each process's own: a fleet of twenty would
ask twenty times a minute, beside the limit that all requests to Langfuse share, and a restart during an outage would
find nothing. Here one process asks for all, and Redis keeps what was known last.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from pydantic import ValidationError

from evaluator.errors import Refused, Unavailable
from evaluator.langfuse.wire import Wire
from judges import ManagedPrompt, PromptSource

_SECONDS: Final = 10.0
"""A prompt is asked for behind the scenes, again and again: nobody waits long for one answer."""


async def read_prompt(wire: Wire, source: PromptSource) -> ManagedPrompt:
    """Return the version of a text prompt that `source` names.

    Raises:
        ConfigError: the keys are wrong.
        Refused: there is no such prompt, or it is no text prompt.
        Unavailable: Langfuse does not answer.
    """
    wanted = source.wanted_label
    params = [("version", str(source.version))] if wanted is None else [("label", wanted)]
    try:
        async with asyncio.timeout(_SECONDS):
            answer = await wire.get(f"v2/prompts/{quote(source.langfuse, safe='')}", params)
    except TimeoutError:
        raise Unavailable(f"Langfuse did not give the prompt {source} in time") from None
    if answer.get("type", "text") != "text":
        raise Refused(f"prompt {source} is a chat prompt: criteria are a text prompt")
    try:
        return ManagedPrompt(text=answer.get("prompt"), version=answer.get("version"))
    except ValidationError:
        raise Refused(f"prompt {source} has no text") from None
