"""The few models this Langfuse knows: it completes usage and cost of a generation as the real one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class KnownModel(NamedTuple):
    """A model of the price list; prices are USD a token, as decimal strings."""

    id: str
    input_price: str
    output_price: str


MODELS: Final = {
    "gpt-5.4": KnownModel("model-gpt-5.4", "0.00000125", "0.00001"),
    "gpt-5.4-mini": KnownModel("model-gpt-5.4-mini", "0.00000025", "0.000002"),
    "gpt-4o": KnownModel("model-gpt-4o", "0.0000025", "0.00001"),
    "gpt-4o-mini": KnownModel("model-gpt-4o-mini", "0.00000015", "0.0000006"),
}

_WORDS: Final = {"prompt_tokens": "input", "completion_tokens": "output", "total_tokens": "total"}


def enrich(body: dict[str, Any]) -> None:
    """Complete usage and cost of a row in place, and set the four keys that answers always carry."""
    usage = _counted(body["usageDetails"] or {})
    if usage:
        usage.setdefault("total", sum(usage.values()))
    known = MODELS.get(body["model"] or "")
    cost = {what: usd for what, usd in (body["costDetails"] or {}).items() if usd is not None}
    if known and usage and not cost:
        cost["input"] = usage.get("input", 0) * float(known.input_price)
        cost["output"] = usage.get("output", 0) * float(known.output_price)
    if cost:
        cost.setdefault("total", sum(cost.values()))
    body["usageDetails"], body["costDetails"] = usage, cost
    if body["totalCost"] is None:
        body["totalCost"] = cost.get("total")
    body["internalModelId"] = body["modelId"] = known.id if known else None
    body["inputPrice"] = known.input_price if known else None
    body["outputPrice"] = known.output_price if known else None
    body["totalPrice"] = None


def _counted(given: Mapping[str, Any]) -> dict[str, float]:
    """Return usage as numbers by kind; what a model API tells in OpenAI's words is told in Langfuse's.

    Tokens that are told apart, such as cached ones, are a kind of their own and leave the rest.
    """
    usage = {_WORDS.get(what, what): count for what, count in given.items() if isinstance(count, int | float)}
    for side, details in (("input", "prompt_tokens_details"), ("output", "completion_tokens_details")):
        apart = given.get(details)
        for what, count in apart.items() if isinstance(apart, dict) else ():
            if isinstance(count, int | float):
                usage[f"{side}_{what}"] = count
                usage[side] = max(usage.get(side, 0) - count, 0)
    return usage
