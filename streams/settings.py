"""Every setting of hoso, read from ``HOSO_…`` environment variables, in one typed place.

A wrong value is named together with what was expected, before anything starts
(:class:`SettingsError`). The README documents each; a test compares.
"""

from __future__ import annotations

import difflib
import re
import ssl
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.domain.definitions import DEFAULT_DEFINITION, DEFINITIONS

AsOf = date | Literal["today", "latest"]

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+(%\w+)?\]|[^\[\]:\s/@]+):(?P<port>\d{1,5})")
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#\s@]+)(:\d{1,5})?(/[^?#\s]*)?")
_OTHERS = ("HOSO_TEST_", "HOSO_UPDATE_", "HOSO_BENCH_", "HOSO_CHAOS_", "HOSO_PROMETHEUS_URL")
"""Names under HOSO_ that are not the program's: of the tests, the benchmark, docker compose."""


class SettingsError(ValueError):
    """One or more settings are wrong; each is named on a line of its own."""


class Settings(BaseSettings):
    """How a process of hoso runs. Frozen; see :func:`load`."""

    model_config = SettingsConfigDict(env_prefix="HOSO_", frozen=True, extra="ignore")

    brokers: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port,…")
    topic_prefix: str = Field(
        "hoso.", pattern=r"^[A-Za-z0-9._-]*$", description="goes in front of every topic"
    )
    partitions: int = Field(12, ge=1, le=1000, description="partitions of every topic")
    replication: int = Field(1, ge=1, le=10, description="replication factor of new topics")
    create_topics: bool = Field(True, description="create missing topics at the start")
    app_id: str = Field(
        "hoso", pattern=r"^[A-Za-z0-9._-]+$", description="consumer group and changelog prefix"
    )
    store: Literal["memory", "rocksdb"] = Field("memory", description="where dossier rows are kept")
    data_dir: Path = Field(Path("./data"), description="local state (rocksdb), one per worker")
    web_host: str = Field("127.0.0.1", min_length=1, description="address of API and metrics")
    web_port: int = Field(6066, ge=0, le=65535, description="port of API and metrics")
    web_pages: bool = Field(True, description="serve the pages beside API, metrics and health")
    url: str | None = Field(None, description="address of the worker that hoso services asks")
    definition: str = Field(DEFAULT_DEFINITION, description="definition behind /metrics")
    as_of: Annotated[AsOf, Field(union_mode="left_to_right")] = Field(
        "today", description="as-of day of /metrics: today, latest, or a date"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="log lines for people or machines"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism"
    )
    sasl_username: str | None = Field(None, description="SASL user")
    sasl_password: SecretStr | None = Field(None, description="SASL password")
    ssl_cafile: Path | None = Field(None, description="CA certificates (PEM)")
    ssl_certfile: Path | None = Field(None, description="client certificate (PEM)")
    ssl_keyfile: Path | None = Field(None, description="client key (PEM)")

    @field_validator("log_level", "store", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("definition")
    @classmethod
    def _known_definition(cls, value: str) -> str:
        if value not in DEFINITIONS:
            raise ValueError(f"expected one of {', '.join(DEFINITIONS)}")
        return value

    @field_validator("brokers")
    @classmethod
    def _host_port(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",")]
        for server in servers:
            found = _SERVER.fullmatch(server)
            if found is None or not 0 < int(found["port"]) < 65536:
                raise ValueError(
                    f"expected host:port[,host:port…], IPv6 as [::1]:9092; found {server!r}"
                )
        return ",".join(servers)

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is None or _URL.fullmatch(value):
            return value and value.rstrip("/")
        raise ValueError("expected an address as http://127.0.0.1:6066")

    @field_validator("as_of", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        if not isinstance(value, str) or value in ("today", "latest"):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("expected today, latest or a day as 2022-08-25") from None

    @property
    def worker_url(self) -> str:
        """Where a worker is asked: ``HOSO_URL``, else one on its own host and port."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        host = everywhere.get(self.web_host, self.web_host)
        return self.url or f"http://{authority(host, self.web_port)}"

    def topic(self, name: str) -> str:
        """A contract topic's full name."""
        return f"{self.topic_prefix}{name}"

    def changelog(self, table: str) -> str:
        """The changelog topic of a table of this application."""
        return f"{self.app_id}-{table}-changelog"

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS as configured, or None for plain protocols. Raises ``SettingsError``."""
        if "SSL" not in self.security_protocol:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
        except OSError as error:
            raise _unreadable(
                "HOSO_SSL_CAFILE", self.ssl_cafile, "CA certificates", error
            ) from error
        if self.ssl_certfile is not None:
            _load_certificate(context, self.ssl_certfile, self.ssl_keyfile)
        return context

    def client_options(self) -> dict[str, Any]:
        """What every aiokafka client of ours is given."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.brokers.split(","),
            "security_protocol": self.security_protocol,
        }
        context = self.ssl_context()
        if context is not None:
            options["ssl_context"] = context
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value()
                if self.sasl_password
                else None,
            }
        return options


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings, ``overrides`` (None = not given) before the environment.

    Raises :class:`SettingsError` that names each wrong variable, its value and what was expected.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if environ is not None:
        named = {
            name.removeprefix("HOSO_").lower(): value
            for name, value in environ.items()
            if name.startswith("HOSO_")
        }
        known = {name: value for name, value in named.items() if name in Settings.model_fields}
        given = known | given
    try:
        settings = Settings(**given)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0]).upper()
            expected = problem["msg"].removeprefix("Value error, ")
            lines.append(f"HOSO_{name}: {problem['input']!r} is not valid: {expected}")
        raise SettingsError("\n".join(dict.fromkeys(lines))) from error
    if settings.security_protocol.startswith("SASL"):
        missing = [
            f"HOSO_{name.upper()}"
            for name in ("sasl_username", "sasl_password")
            if not getattr(settings, name)
        ]
        if missing:
            raise SettingsError(
                f"{', '.join(missing)}: missing; {settings.security_protocol} needs both"
            )
    if settings.ssl_keyfile is not None and settings.ssl_certfile is None:
        raise SettingsError("HOSO_SSL_KEYFILE: a key needs its certificate in HOSO_SSL_CERTFILE")
    settings.ssl_context()
    return settings


def authority(host: str, port: int) -> str:
    """``host:port`` as URLs and Kafka's clients read it: IPv6 addresses stand in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unknown(environ: Mapping[str, str]) -> list[str]:
    """A line for each ``HOSO_…`` variable that is no setting, with the name that may be meant."""
    known = [f"HOSO_{name.upper()}" for name in Settings.model_fields]
    lines = []
    for name in sorted(environ):
        if not name.upper().startswith("HOSO_") or name.upper() in known:
            continue
        if name.upper().startswith(_OTHERS):
            continue
        meant = difflib.get_close_matches(name.upper(), known, n=1)
        lines.append(f"{name}: no such setting" + (f"; is {meant[0]} meant?" if meant else ""))
    return lines


def without_effect(settings: Settings) -> list[str]:
    """A line for each setting that was given and does nothing, with the reason."""
    protocol = f"HOSO_SECURITY_PROTOCOL={settings.security_protocol}"
    reasons = {
        "sasl_": "SASL" not in settings.security_protocol and protocol,
        "ssl_": "SSL" not in settings.security_protocol and protocol,
        "data_dir": settings.store == "memory" and "HOSO_STORE=memory",
        "replication": not settings.create_topics and "HOSO_CREATE_TOPICS=false",
    }
    return [
        f"HOSO_{name.upper()}: has no effect with {reason}"
        for name in sorted(settings.model_fields_set)
        for start, reason in reasons.items()
        if reason and name.startswith(start)
    ]


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Raises ``SettingsError`` that names the file at fault."""

    def no_passphrase() -> str:
        # Without this OpenSSL would ask for it on the terminal, and wait.
        raise SettingsError(
            f"HOSO_SSL_KEYFILE: {key or certificate} is encrypted; expected a key "
            "without a passphrase"
        )

    try:
        ssl.create_default_context().load_verify_locations(certificate)
    except OSError as error:
        raise _unreadable("HOSO_SSL_CERTFILE", certificate, "a certificate", error) from error
    try:
        context.load_cert_chain(certificate, key, password=no_passphrase)
    except OSError as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"HOSO_SSL_KEYFILE: {key or certificate} is not the key of {certificate}"
            ) from error
        raise _unreadable("HOSO_SSL_KEYFILE", key or certificate, "a key", error) from error


def _unreadable(name: str, file: Path | None, what: str, error: OSError) -> SettingsError:
    return SettingsError(
        f"{name}: {file}: {error.strerror or error}; expected a readable PEM file with {what}"
    )
