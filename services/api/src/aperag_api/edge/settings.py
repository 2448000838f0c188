"""What the gateway can be told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import AliasChoices, Field, NonNegativeInt, PositiveInt, SecretStr, field_validator

from aperag_api.access.quotas.decide import BUILT_IN
from aperag_api.conversation.turns.settings import TurnSettings
from aperag_api.identity.settings import IdentitySettings
from aperag_api.kernel.http.settings import CorsSettings, IdempotencySettings, RateSettings, RequestSettings
from aperag_api.knowledge.ingest.settings import IngestSettings
from aperag_api.knowledge.web.settings import WebSettings
from aperag_api.operations.webhooks.settings import WebhookSettings
from aperag_common.auth.installation import check_secret
from aperag_common.db.models import QuotaType
from aperag_common.settings import FrontSettings, PublicSettings
from aperag_models.settings import CallingSettings

MIB = 1024 * 1024


class GatewayHttp(FrontSettings):
    """The gateway has a port that people know."""

    port: int = Field(8000, ge=0, le=65535, description="port to bind; 0 = any free one")


def _initial_quota(quota_type: QuotaType, what: str) -> Any:
    return Field(
        BUILT_IN[quota_type],
        validation_alias=AliasChoices(quota_type.value, quota_type.value.upper()),
        description=f"{what}, until an administrator says otherwise",
    )


class Settings(IdentitySettings, CallingSettings, PublicSettings):
    """``secret_key`` is required: without it no API key can be verified."""

    http: GatewayHttp = Field(default_factory=GatewayHttp)
    max_document_size: PositiveInt = Field(
        100 * MIB,
        validation_alias=AliasChoices("max_document_size", "MAX_DOCUMENT_SIZE"),
        description="largest document accepted, in bytes",
    )
    max_documents_per_request: PositiveInt = Field(50, description="most documents of one upload request")
    max_uploads_per_user: PositiveInt = Field(256, description="uploads of one user that a gateway receives at a time")
    max_streams_per_user: PositiveInt = Field(
        256, description="event streams, answers and WebSockets of one user that a gateway keeps open at a time"
    )
    max_staged_documents: PositiveInt = Field(1000, description="uploads of one user that wait to be confirmed")
    min_free_space: NonNegativeInt = Field(
        256 * MIB, description="uploads are refused while the disk has less room left, in bytes"
    )
    max_collection_count: NonNegativeInt = _initial_quota(QuotaType.COLLECTIONS, "collections a user may have")
    max_document_count: NonNegativeInt = _initial_quota(QuotaType.DOCUMENTS, "documents a user may have")
    max_document_count_per_collection: NonNegativeInt = _initial_quota(
        QuotaType.DOCUMENTS_PER_COLLECTION, "documents a collection may hold"
    )
    max_bot_count: NonNegativeInt = _initial_quota(QuotaType.BOTS, "bots a user may have")
    max_body_size: PositiveInt = Field(4 * MIB, description="largest JSON body accepted, in bytes")
    interactive_documents: PositiveInt = Field(5, description="an upload of more documents than this is bulk work")
    key_touched_every: timedelta = Field(timedelta(seconds=60), description="how exact last_used_at of a key is")
    remembered_for: timedelta = Field(
        timedelta(seconds=3),
        ge=timedelta(0),
        le=timedelta(seconds=10),
        description="how long a gateway relies on what it knows of an API key or a collection; an event that changes it"
        " ends this at once. 0 = ask the database every time",
    )
    mcp_url: str = Field(
        "http://127.0.0.1:8001", description="address of the MCP service, which is also reached under /mcp/ here"
    )
    console_url: str | None = Field(None, description="address of the console, which the page at / links to")
    traces_token: SecretStr | None = Field(
        None,
        description="token of the services that send their spans to POST /v1/traces; none = nobody may send any",
    )
    cors: CorsSettings = Field(default_factory=CorsSettings)
    requests: RequestSettings = Field(default_factory=RequestSettings)
    rates: RateSettings = Field(default_factory=RateSettings)
    idempotency: IdempotencySettings = Field(default_factory=IdempotencySettings)
    turns: TurnSettings = Field(default_factory=TurnSettings)
    mineru_url: str = Field("https://mineru.net", description="address of MinerU, which is asked whether a token works")
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    max_subscriptions_per_user: PositiveInt = Field(
        20, description="durable subscriptions to events that a user may have"
    )
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    event_heartbeat: timedelta = Field(timedelta(seconds=15), description="a silent event stream sends a comment")
    event_buffer: PositiveInt = Field(1000, description="events kept for a reader; one that lags more is dropped")
    otel_fastapi_enabled: bool = Field(
        default=True,
        validation_alias=AliasChoices("otel_fastapi_enabled", "OTEL_FASTAPI_ENABLED"),
        description="spans of HTTP requests",
    )

    @field_validator("traces_token")
    @classmethod
    def _hard_to_guess(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None or not token.get_secret_value():
            return None
        check_secret(token, "APERAG_TRACES_TOKEN", fewest=32)
        return token

    @property
    def initial_quotas(self) -> dict[QuotaType, int]:
        return {quota_type: getattr(self, quota_type.value) for quota_type in QuotaType}
