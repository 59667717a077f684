"""What an evaluator can say of a trace. Failures are values: one never stops the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, Final

from traces.record import record


@record(frozen=True, slots=True)
class Usage:
    """What an answer cost: model calls, tokens, US dollars; `model` is the one that answered.

    `cached` counts the answers that were used again instead: nobody was called for them. `cached_tokens` are those of
    the input that the provider's prompt cache held, at a lower price.
    """

    model: str = ""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    cached: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            other.model or self.model,
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.usd + other.usd,
            self.cached + other.cached,
            self.cached_tokens + other.cached_tokens,
        )


NOTHING_USED: Final = Usage()


@record(frozen=True, slots=True)
class Verdict:
    """A value with its reason. `confidence` is in [0, 1], None when nothing is known of it."""

    value: float | bool | str
    reason: str = ""
    confidence: float | None = None
    usage: Usage = NOTHING_USED
    details: Mapping[str, Any] = field(default_factory=dict)


@record(frozen=True, slots=True)
class NotApplicable:
    """The evaluator has nothing to say about this trace; `reason` is a short constant phrase, fit to be counted."""

    reason: str


@record(frozen=True, slots=True)
class Unscored:
    """The judge answered that it cannot tell. Never a number."""

    reason: str
    usage: Usage = NOTHING_USED


@record(frozen=True, slots=True)
class Failure:
    """Something went wrong. `kind` is a short constant phrase, fit to be counted; `reason` the whole story.

    `retryable` says whether the same work may succeed later.
    """

    kind: str
    reason: str
    retryable: bool = False
    usage: Usage = NOTHING_USED


Outcome = Verdict | NotApplicable | Unscored | Failure

_KINDS: Final[Mapping[str, type[Any]]] = {
    "verdict": Verdict,
    "not_applicable": NotApplicable,
    "unscored": Unscored,
    "failure": Failure,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_FIELDS: Final = {kind: tuple(field.name for field in fields(kind)) for kind in (*_NAMES, Usage)}


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as a JSON object; `outcome_from_json` is its inverse."""
    data = {name: getattr(outcome, name) for name in _FIELDS[type(outcome)]}
    if "usage" in data:
        data["usage"] = {name: getattr(data["usage"], name) for name in _FIELDS[Usage]}
    return {"is": _NAMES[type(outcome)], **data}


def outcome_from_json(data: Mapping[str, Any]) -> Outcome:
    """Read an outcome that `outcome_to_json` wrote.

    Fields unknown here are left out: a newer version of the service may have written it.

    Raises:
        KeyError: the object is not an outcome.
    """
    kind = _KINDS[data["is"]]
    known = _known(kind, data)
    if "usage" in known:
        known["usage"] = Usage(**_known(Usage, known["usage"]))
    outcome: Outcome = kind(**known)
    return outcome


def _known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _FIELDS[kind] if name in data}
