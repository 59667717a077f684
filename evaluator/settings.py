"""Environment variables -> Settings. Every secret may also come from a file named by NAME_FILE."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from evaluator.errors import ConfigError, Problem

_LONGEST_VALUE: Final = 64_000
"""Bytes of a file that holds one value; another file was meant when there are more."""


def _address(url: str) -> str:
    """Refuse what is no web address, and a password in it: addresses stand in errors, logs and messages."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is no address such as https://cloud.langfuse.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or password; there are settings for keys")
    return url


def _secret_address(url: SecretStr) -> SecretStr:
    """Refuse what is no web address, without showing it: what follows its host may be a secret."""
    try:
        parts = urlsplit(url.get_secret_value())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        usable = False
    if url.get_secret_value() and not usable:
        raise ValueError("is no address such as https://alerts.example.com/evaluator")
    return url


def _one_line(secret: SecretStr) -> SecretStr:
    """Refuse a line break: a key travels in a header, where it would end it."""
    if not secret.get_secret_value().isprintable():
        raise ValueError("holds a line break or another character that no key has")
    return secret


def _address_if_any(url: str) -> str:
    return _address(url) if url else url


Address = Annotated[str, AfterValidator(_address)]
Secret = Annotated[SecretStr, AfterValidator(_one_line)]


class Settings(BaseSettings):
    """Where the services are and who we are; what is evaluated is in the config folder."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    langfuse_base_url: Address = Field(
        default="https://cloud.langfuse.com",
        validation_alias=AliasChoices("LANGFUSE_BASE_URL", "LANGFUSE_HOST"),
        description="address of Langfuse; LANGFUSE_HOST is read too",
    )
    langfuse_public_key: str = Field(default="", description="project key, pk-lf-...")
    langfuse_secret_key: Secret = Field(default=SecretStr(""), description="project key, sk-lf-...")
    openai_base_url: str = Field(
        default="https://api.openai.com/v1", description="any OpenAI-compatible model API, with its /v1"
    )
    openai_api_key: Secret = Field(default=SecretStr(""), description="key of the model API")
    redis_url: Secret = Field(
        default=SecretStr(""),
        description="redis://, rediss:// or unix://; without it an embedded Valkey keeps its data in EVALUATOR_DATA",
    )
    slack_webhook_url: Secret = Field(default=SecretStr(""), description="incoming webhook for alerts")
    slack_bot_token: Secret = Field(default=SecretStr(""), description="xoxb-...; alerts then carry a chart")
    slack_channel: str = Field(default="", description="channel id for the bot, for example C0123456789")
    slack_api_url: Address = Field(default="https://slack.com/api/", description="address of Slack's Web API")
    alert_webhook_url: Annotated[Secret, AfterValidator(_secret_address)] = Field(
        default=SecretStr(""), description="alerts go there too, as JSON (docs/alerts.md)"
    )
    alert_webhook_secret: Secret = Field(
        default=SecretStr(""), description="signs them: whsec_... or any text; without it they are not signed"
    )
    smtp_url: Secret = Field(
        default=SecretStr(""),
        description="alerts go out by mail too: smtps://user:password@host, or smtp:// with STARTTLS (docs/alerts.md)",
    )
    alert_email_from: str = Field(default="", description="who mails come from: evaluator@example.com")
    alert_email_to: str = Field(default="", description="who gets them, with commas between")
    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_address_if_any)] = Field(
        default="",
        description="an OpenTelemetry collector, OTLP over HTTP: gets scores as events, and spans of this service",
    )
    otel_exporter_otlp_logs_endpoint: Annotated[str, AfterValidator(_address_if_any)] = Field(
        default="", description="the same with its path, for these events only"
    )
    otel_exporter_otlp_traces_endpoint: Annotated[str, AfterValidator(_address_if_any)] = Field(
        default="", description="the same with its path, for these spans only"
    )
    otel_exporter_otlp_headers: Secret = Field(
        default=SecretStr(""), description="headers the collector wants: name=value,name=value"
    )
    evaluator_config: Path = Field(default=Path("config"), description="folder with the definitions")
    evaluator_data: Path = Field(default=Path(".evaluator"), description="folder of the embedded Valkey")
    evaluator_namespace: str = Field(default="evaluator", description="prefix of every Redis key")
    evaluator_heartbeat: float = Field(
        default=20, gt=1, description="seconds; the work of a worker silent for so long is given to others"
    )
    evaluator_grace: float = Field(
        default=25, gt=0, description="seconds that paid judge calls get to finish when the service is told to stop"
    )
    evaluator_status_port: int = Field(
        default=8321,
        ge=0,
        le=65535,
        description="port of the status page, of health and metrics; 0: they are not served",
    )
    evaluator_status_host: str = Field(
        default="127.0.0.1", description="where they are served; elsewhere than on this machine only with a token"
    )
    evaluator_status_token: Secret = Field(
        default=SecretStr(""), description="opens the status page and metrics: a bearer token, or a browser's password"
    )
    evaluator_log: str = Field(default="auto", pattern="^(auto|json|pretty)$", description="auto, json or pretty")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Look at arguments first, then the environment, then the files the environment names."""
        return init_settings, env_settings, _SecretFiles(settings_cls)

    def missing(self) -> list[Problem]:
        """Return what must be set before Langfuse can be asked anything."""
        return [
            Problem(name, f"is not set: {what}")
            for name, value, what in (
                ("LANGFUSE_PUBLIC_KEY", self.langfuse_public_key, "create a key pair in Langfuse, project settings"),
                ("LANGFUSE_SECRET_KEY", self.langfuse_secret_key.get_secret_value(), "it comes with the public key"),
            )
            if not value
        ]

    @property
    def otlp_logs_endpoint(self) -> str:
        """Where OpenTelemetry events go; empty when nowhere."""
        base = self.otel_exporter_otlp_endpoint.rstrip("/")
        return self.otel_exporter_otlp_logs_endpoint or (f"{base}/v1/logs" if base else "")

    @property
    def otlp_traces_endpoint(self) -> str:
        """Where OpenTelemetry spans go; empty when nowhere."""
        base = self.otel_exporter_otlp_endpoint.rstrip("/")
        return self.otel_exporter_otlp_traces_endpoint or (f"{base}/v1/traces" if base else "")

    @property
    def otlp_headers(self) -> dict[str, str]:
        """The headers of events and spans; what is no `name=value` is left out. Values may be percent-encoded."""
        pairs = (part.partition("=") for part in self.otel_exporter_otlp_headers.get_secret_value().split(","))
        return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs if name.strip() and value}

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must never be shown: what is secret, and the forms in which it travels."""
        given = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        basic = f"{self.langfuse_public_key}:{self.langfuse_secret_key.get_secret_value()}"
        passwords = [_password(url.get_secret_value()) for url in (self.redis_url, self.smtp_url)]
        paths = [_path(url.get_secret_value()) for url in (self.slack_webhook_url, self.alert_webhook_url)]
        headers = self.otlp_headers.values()
        found = (
            *given,
            *headers,
            base64.b64encode(basic.encode()).decode(),
            *passwords,
            *map(unquote, passwords),
            *paths,
        )
        return tuple(dict.fromkeys(text for text in found if text))


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigError: a value has the wrong form, or a NAME_FILE cannot be read.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(
            Problem(str(e["loc"][0]).upper(), e["msg"].removeprefix("Value error, "))
            for e in error.errors(include_input=False, include_url=False)
        ) from None


def key_in(variable: str) -> str:
    """Return the key that an environment variable holds, or the file named by NAME_FILE, whichever is asked for.

    Raises:
        ConfigError: neither is set, or what is there is no key.
    """
    variable = variable.removesuffix("_FILE")
    value, path = os.environ.get(variable, ""), os.environ.get(f"{variable}_FILE", "")
    try:
        key = value or (_content(Path(path)) if path else "")
    except (OSError, ValueError):
        raise ConfigError([Problem(f"{variable}_FILE", f"cannot be read as a short text: {path}")]) from None
    if not key:
        raise ConfigError([Problem(variable, "is not set; a model of evaluator.yaml takes its key from there")])
    if not key.isprintable():
        raise ConfigError([Problem(variable, "holds a line break or another character that no key has")])
    return key


def variables() -> list[tuple[str, str, str]]:
    """Return name, default and description of every variable, for the documentation."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else str(field.default)
        rows.append((name.upper(), default, field.description or ""))
    return rows


class _SecretFiles(PydanticBaseSettingsSource):
    """NAME_FILE: the value is what the file holds, as container platforms hand secrets over."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the field's file, when its variable is set."""
        path = os.environ.get(field_name.upper() + "_FILE")
        if not path:
            return None, field_name, False
        try:
            return _content(Path(path)), _alias(field, field_name), False
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no short text in UTF-8"
            raise ConfigError([Problem(f"{field_name.upper()}_FILE", f"cannot be read: {path}: {said}")]) from None

    def __call__(self) -> dict[str, Any]:
        """Return every value that came from a file."""
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in found if value is not None}


def _alias(field: FieldInfo, name: str) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def _content(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LONGEST_VALUE + 1)
    if len(content) > _LONGEST_VALUE:
        raise ValueError("too long")
    return content.decode("utf-8").strip()


def _password(url: str) -> str:
    """Return the password in an address as it is written there, even in one that cannot be read otherwise."""
    user = url.partition("://")[2].rpartition("@")[0]
    return user.partition(":")[2]


def _path(url: str) -> str:
    """Return what follows the host: of a webhook, all that is secret."""
    try:
        return urlsplit(url).path.strip("/")
    except ValueError:
        return ""
