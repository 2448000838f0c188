"""What the gateway can be told."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AliasChoices, Field, PositiveInt

from aperag_api.web.settings import WebSettings
from aperag_common.outbound.settings import OutboundSettings
from aperag_common.settings import HttpSettings, ServiceSettings

MIB = 1024 * 1024


class GatewayHttp(HttpSettings):
    """The gateway alone has a port that people know."""

    port: int = Field(8000, ge=0, le=65535, description="port to bind; 0 = any free one")


class Settings(ServiceSettings):
    """``secret_key`` is required: without it no API key can be verified."""

    http: GatewayHttp = Field(default_factory=GatewayHttp)
    max_document_size: PositiveInt = Field(
        100 * MIB,
        validation_alias=AliasChoices("max_document_size", "MAX_DOCUMENT_SIZE"),
        description="largest document accepted, in bytes",
    )
    max_documents_per_request: PositiveInt = Field(50, description="most documents of one upload request")
    max_body_size: PositiveInt = Field(4 * MIB, description="largest JSON body accepted, in bytes")
    interactive_documents: PositiveInt = Field(5, description="an upload of more documents than this is bulk work")
    key_touched_every: timedelta = Field(timedelta(seconds=60), description="how exact last_used_at of a key is")
    mcp_url: str = Field(
        "http://127.0.0.1:8001", description="address of the MCP service, which is also reached under /mcp/ here"
    )
    outbound: OutboundSettings = Field(default_factory=OutboundSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    event_heartbeat: timedelta = Field(timedelta(seconds=15), description="a silent event stream sends a comment")
    event_buffer: PositiveInt = Field(1000, description="events kept for a reader; one that lags more is dropped")
    otel_fastapi_enabled: bool = Field(
        default=True,
        validation_alias=AliasChoices("otel_fastapi_enabled", "OTEL_FASTAPI_ENABLED"),
        description="spans of HTTP requests",
    )
