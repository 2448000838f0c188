"""Settings blocks that services combine; built once in a service's ``app.py`` and passed down.

Environment variables are ``APERAG_<BLOCK>__<FIELD>`` (for example ``APERAG_NATS__URL``); the contract's own
names (``MAX_DOCUMENT_SIZE``, ``OTEL_ENABLED``, …) are accepted as aliases. A ``.env`` in the working directory
is read first, the environment wins.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from aperag_common.http.front import Front, origin_of


class Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class NatsSettings(Block):
    """How to reach NATS, and as whom."""

    url: str = Field("nats://127.0.0.1:4222", description="NATS server URL")
    seed_file: Path | None = Field(None, description="file with this service's nkey seed; none = no authentication")
    tls_ca: Path | None = Field(
        None, description="PEM file with the CA of NATS' certificate; set = TLS only, from the first byte"
    )
    tls_cert: Path | None = Field(None, description="PEM file with this service's certificate, where NATS wants one")
    tls_key: Path | None = Field(None, description="PEM file with the key of that certificate, without a password")


class PostgresSettings(Block):
    """How to reach PostgreSQL."""

    url: str = Field("postgresql+asyncpg://aperag@127.0.0.1:5432/aperag", description="SQLAlchemy URL (asyncpg)")
    password: SecretStr | None = Field(None, description="password, where the URL names none")
    pool_size: PositiveInt = Field(16, description="connections kept per process")
    max_overflow: int = Field(4, ge=0, description="connections opened beyond the pool under load")


class ObjectSettings(Block):
    """Where documents' bytes live."""

    directory: Path = Field(Path(".aperag/objects"), description="directory of the local object store")


class HttpSettings(Block):
    """Where a service's HTTP server listens."""

    host: str = Field("127.0.0.1", description="address to bind")
    port: int = Field(0, ge=0, le=65535, description="port to bind; 0 = any free one")
    port_file: Path | None = Field(None, description="file the chosen port is written to once bound")
    head_timeout: timedelta = Field(timedelta(seconds=15), description="the head of a request has to end within this")
    body_timeout: timedelta = Field(timedelta(seconds=20), description="span over which the pace of a body is measured")
    body_rate: PositiveInt = Field(1024, description="bytes per second at which a body has to arrive")
    send_timeout: timedelta = Field(
        timedelta(seconds=60), description="disconnect a client that reads nothing for this long"
    )
    max_head_size: PositiveInt = Field(16 * 1024, description="largest head of a request, in bytes")
    max_connections: PositiveInt | None = Field(
        None, description="most connections at a time; none = as many as the process's file descriptors allow"
    )


class FrontSettings(HttpSettings):
    """Of a service that browsers reach, maybe through proxies."""

    trusted_proxies: tuple[str, ...] = Field(
        ("127.0.0.0/8", "::1"),
        description="addresses and networks of proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host"
        " are believed (JSON); [] = nobody's",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        Front.of(proxies)
        return proxies


class RetrySettings(Block):
    """Where one kind of work differs from the others; what is not given is as for all."""

    retry_base: timedelta | None = Field(None, description="delay after the first reported failure")
    retry_cap: timedelta | None = Field(None, description="upper bound of the retry delay")
    retry_jitter: float | None = Field(None, ge=0, le=1, description="largest share of a delay added at random")
    max_failures: PositiveInt | None = Field(None, description="reported failures until the job is FAILED")
    max_attempts: PositiveInt | None = Field(None, description="claims until the job is FAILED as WORKER_LOST")


class WorkSettings(Block):
    """How jobs are leased, retried, released and redriven."""

    lease: timedelta = Field(timedelta(seconds=30), description="how long a claim holds without a renewal")
    beat: timedelta = Field(timedelta(seconds=10), description="how often a claim is renewed")
    first_due: timedelta = Field(timedelta(seconds=60), description="a published command counts as lost after this")
    max_due: timedelta = Field(timedelta(minutes=10), description="upper bound of the doubling of first_due")
    retry_base: timedelta = Field(timedelta(seconds=1), description="delay after the first reported failure")
    retry_cap: timedelta = Field(timedelta(seconds=60), description="upper bound of the retry delay")
    retry_jitter: float = Field(0.2, ge=0, le=1, description="largest share of a retry delay added at random")
    max_failures: PositiveInt = Field(4, description="reported failures until a job is FAILED")
    max_attempts: PositiveInt = Field(12, description="claims until a job is FAILED as WORKER_LOST")
    in_flight_per_owner: PositiveInt = Field(
        16, description="documents, and webhook deliveries, of one owner released at a time"
    )
    steps: dict[str, RetrySettings] = Field(
        default_factory=dict,
        description="retries of single kinds of work (parse, vector, fulltext, remove, purge, summarize, turn, webhook), as in"
        " APERAG_WORK__STEPS__PARSE__MAX_FAILURES=2",
    )

    @model_validator(mode="after")
    def _beats_in_time(self) -> Self:
        if self.beat * 2 > self.lease:
            message = (
                f"a lease of {self.lease} with a beat every {self.beat} is lost where one beat comes late:"
                " make WORK__BEAT at most half of WORK__LEASE"
            )
            raise ValueError(message)
        return self


class TelemetrySettings(Block):
    """Where traces go; see ``aperag_common.telemetry``."""

    spans_to_nats: bool = Field(True, description="publish spans to APERAG_SPANS where no collector is configured")
    sql_spans_to_nats: bool = Field(True, description="SQL statements, without their text, among the spans on NATS")
    log_level: str = Field("INFO", description="lowest level logged")
    log_json: bool = Field(True, description="log lines as JSON; false = for people")


class ProcessSettings(BaseSettings):
    """What every process needs that serves HTTP and makes spans, whatever it talks to."""

    model_config = SettingsConfigDict(
        env_prefix="APERAG_",
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
        # What was refused may be a secret, and the message stands in a log.
        hide_input_in_errors=True,
        populate_by_name=True,
        env_parse_none_str="none",
    )

    instance: str = Field("", description="name of this process among its replicas; empty = host and pid")
    incarnation: str = Field(
        "", description="8 hexadecimal characters that tell this start of the process from any other; empty = random"
    )
    predecessor: str = Field(
        "",
        description="incarnation of the process whose place this one takes, known to be dead: its leases are released",
    )
    http: HttpSettings = Field(default_factory=HttpSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    otel_enabled: bool = Field(
        True, validation_alias=AliasChoices("OTEL_ENABLED"), description="OpenTelemetry on or off"
    )
    otel_service_name: str = Field(
        "aperag",
        validation_alias=AliasChoices("OTEL_SERVICE_NAME"),
        description="name of the installation in its spans: `service.namespace`, and before each service's own in"
        " `service.name`, as in `aperag-api`",
    )
    otel_service_version: str = Field(
        "",
        validation_alias=AliasChoices("OTEL_SERVICE_VERSION"),
        description="`service.version` of spans; empty = the version that is installed",
    )
    otel_console_enabled: bool = Field(
        False,
        validation_alias=AliasChoices("OTEL_CONSOLE_ENABLED"),
        description="print spans to stderr too, one JSON object per line",
    )
    jaeger_enabled: bool = Field(
        False, validation_alias=AliasChoices("JAEGER_ENABLED"), description="send OTLP to JAEGER_ENDPOINT"
    )
    jaeger_endpoint: str | None = Field(
        None, validation_alias=AliasChoices("JAEGER_ENDPOINT"), description="OTLP/HTTP base URL of Jaeger"
    )
    otlp_endpoint: str | None = Field(
        None, validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"), description="standard OTLP endpoint"
    )


class PublicSettings(ProcessSettings):
    """Of a service that browsers reach."""

    public_url: str | None = Field(
        None,
        description="address at which people open this installation, as in https://rag.example.com: pages from there may"
        " use a person's cookie, and cookies are for TLS only where it begins with https; none = the address that each"
        " request names",
    )

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if not url:
            return None
        origin_of(url)
        return url


class ServiceSettings(ProcessSettings):
    """What every service on the bus needs; each service's ``settings.py`` subclasses this."""

    nats: NatsSettings = Field(default_factory=NatsSettings)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)
    objects: ObjectSettings = Field(default_factory=ObjectSettings)
    work: WorkSettings = Field(default_factory=WorkSettings)
    secret_key: SecretStr | None = Field(
        None,
        description="secret that API keys are hashed, sessions signed and stored credentials encrypted under;"
        " required by the gateway",
    )
    secret_key_previous: tuple[SecretStr, ...] = Field(
        (), description="earlier secrets as a JSON list, newest first: what was made under them is still read"
    )
    otel_sqlalchemy_enabled: bool = Field(
        True, validation_alias=AliasChoices("OTEL_SQLALCHEMY_ENABLED"), description="spans of SQL statements"
    )
