"""The models of evaluator.yaml as the model API takes them: servers, keys, limits and deputies of those in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evaluator.definitions import Definitions
from evaluator.definitions.service_config import ModelEntry
from evaluator.errors import ConfigError, Problem
from evaluator.limits import TokenGate
from evaluator.model.endpoint import Endpoint, Served
from evaluator.settings import Settings, key_in
from evaluator.telemetry.logs import hide

GateOf = Callable[[str, int | None, int | None], TokenGate]
"""Makes the gate of a provider by its name, with its requests and tokens a minute."""


def model_arguments(settings: Settings, definitions: Definitions, gate_of: GateOf) -> dict[str, Any]:
    """Return what a `ModelApi` must know of servers and prices.

    Raises:
        ConfigError: keys that entries name are not there, with every one.
    """
    limits = definitions.service.limits
    everybody = gate_of("model", limits.model_requests_per_minute, limits.model_tokens_per_minute)
    return {
        "base_url": settings.openai_base_url,
        "api_key": settings.openai_api_key.get_secret_value(),
        "gate": everybody,
        "prices": definitions.prices,
        "max_in_flight": limits.model_calls_in_flight,
        "entries": _served(settings, definitions, everybody, gate_of),
    }


def _served(settings: Settings, definitions: Definitions, everybody: TokenGate, gate_of: GateOf) -> dict[str, Served]:
    entries = definitions.service.models.entries
    used = {name: entries[name] for name in definitions.models if name in entries}
    keys = _keys(used)
    hide(keys.values())
    served: dict[str, Served] = {}
    for name, entry in used.items():
        own = entry.is_elsewhere or (entry.requests_per_minute, entry.tokens_per_minute) != (None, None)
        gate = gate_of(f"model:{name}", entry.requests_per_minute, entry.tokens_per_minute) if own else everybody
        served[name] = Served(
            _endpoint(settings, name, entry, keys),
            gate,
            entry.model or name,
            entry.calls_in_flight,
            entry.fallback,
            entry.context,
        )
    return served


def _endpoint(settings: Settings, name: str, entry: ModelEntry, keys: Mapping[str, str]) -> Endpoint:
    where = f"models.entries.{name} in evaluator.yaml"
    key, key_place = settings.openai_api_key.get_secret_value(), "OPENAI_API_KEY"
    if entry.key is not None:
        key, key_place = keys[entry.key], entry.key
    elif entry.base_url is not None:
        # Ours is for one server only; another one must not learn it.
        key, key_place = "", f"key of {where}"
    return Endpoint(
        entry.base_url or settings.openai_base_url,
        key,
        entry.api_version or "",
        entry.timeout.total_seconds(),
        "OPENAI_BASE_URL" if entry.base_url is None else f"base_url of {where}",
        key_place,
    )


def _keys(used: Mapping[str, ModelEntry]) -> dict[str, str]:
    """Return the keys that entries name, by the names of their variables."""
    keys: dict[str, str] = {}
    problems: list[Problem] = []
    for variable in dict.fromkeys(entry.key for entry in used.values() if entry.key is not None):
        try:
            keys[variable] = key_in(variable)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return keys
