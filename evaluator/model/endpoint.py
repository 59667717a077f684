"""Where a model's server is, who we are to it, and what people call both when something is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote, urlsplit

from evaluator.errors import ConfigError, Problem
from evaluator.limits import TokenGate

if TYPE_CHECKING:
    import openai

CHAT: Final = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One OpenAI-compatible server; with `api_version` an Azure resource, whose deployments stand in the address.

    An address that ends in ?api-version=... is Azure's too, and is complete up to the deployment. `address_in` and
    `key_in` say where a person sets them. `timeout` is in seconds, of one request, to the last byte.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    api_version: str = ""
    timeout: float = 60.0
    address_in: str = "OPENAI_BASE_URL"
    key_in: str = "OPENAI_API_KEY"

    def client(self) -> openai.AsyncOpenAI:
        """Return the SDK's client, which knows address, authentication and headers; nothing is sent."""
        import openai  # noqa: PLC0415 - a fifth of all that is imported, for those who ask a model and nobody else

        key = self.api_key or "none"
        if self.api_version:
            return openai.AsyncAzureOpenAI(azure_endpoint=self.base_url, api_key=key, api_version=self.api_version)
        parts = urlsplit(self.base_url)
        if versions := parse_qs(parts.query).get("api-version"):
            whole = parts._replace(query="").geturl()
            return openai.AsyncAzureOpenAI(base_url=whole, api_key=key, api_version=versions[-1])
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=key)

    def chat(self, model: str) -> str:
        """Return the path of a model's completions."""
        return f"/deployments/{quote(model, safe='')}{CHAT}" if self.api_version else CHAT

    def check(self) -> None:
        """Look at the address, before there is anything to be sent.

        Raises:
            ConfigError: `base_url` is no address, or holds a password.
        """
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            raise ConfigError([Problem(self.address_in, "is no address such as https://api.openai.com/v1")])
        if parts.username is not None or parts.password is not None:
            raise ConfigError([Problem(self.address_in, f"holds a user name or password; use {self.key_in}")])


@dataclass(frozen=True, slots=True)
class Served:
    """A model that has an entry: the server that has it and the fleet's limits for it.

    Attributes:
        endpoint: its server.
        gate: its limits.
        name: what the server calls it.
        calls_in_flight: at once; None for as many as others.
        fallback: models that answer in its place, in order.
        context: tokens it reads and writes at once; None where nobody told.
    """

    endpoint: Endpoint
    gate: TokenGate
    name: str
    calls_in_flight: int | None = None
    fallback: tuple[str, ...] = ()
    context: int | None = None


def fallbacks_of(entries: Mapping[str, Served], model: str) -> tuple[str, ...]:
    """Return the models that answer in the place of one, in order."""
    return entries[model].fallback if model in entries else ()
