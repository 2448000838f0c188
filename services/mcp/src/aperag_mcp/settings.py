"""What the MCP service can be told."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, PositiveInt, SecretStr

from aperag_common.http.front import origin_of
from aperag_common.settings import HttpSettings, PublicSettings


class McpHttp(HttpSettings):
    """Like the gateway, it has a port that people write into configurations."""

    port: int = Field(8001, ge=0, le=65535, description="port to bind; 0 = any free one")


class Settings(PublicSettings):
    """It needs the gateway's address and nothing else: no database, no bus."""

    http: McpHttp = Field(default_factory=McpHttp)
    api_url: str = Field("http://127.0.0.1:8000", description="address of the gateway, without /api/v1")
    api_key: SecretStr | None = Field(
        None, description="key of MCP calls that bring none; whoever reaches the service then acts as its user"
    )
    traces_token: SecretStr | None = Field(
        None,
        description="token that the gateway takes spans for, where no collector is configured; none = spans go nowhere",
    )
    mcp_allowed_hosts: list[str] = Field(
        [],
        description="host names, besides those of this machine and of APERAG_PUBLIC_URL, that requests may be addressed"
        " to (JSON)",
    )
    mcp_allowed_origins: list[str] = Field(
        [],
        description="origins of web pages, besides that of APERAG_PUBLIC_URL, that may send requests, as in"
        " https://example.org (JSON)",
    )
    mcp_result_characters: PositiveInt = Field(
        60_000, description="most characters of text in one result; what is longer is shortened and says so"
    )
    mcp_connections: PositiveInt = Field(64, description="connections to the gateway at a time")
    otel_mcp_enabled: bool = Field(
        default=True,
        validation_alias=AliasChoices("otel_mcp_enabled", "OTEL_MCP_ENABLED"),
        description="spans of MCP calls; without them a caller's trace is passed on all the same",
    )

    @property
    def hosts(self) -> list[str]:
        return [*self.mcp_allowed_hosts, *(urlsplit(it).netloc for it in self._public)]

    @property
    def origins(self) -> list[str]:
        return [*self.mcp_allowed_origins, *self._public]

    @property
    def _public(self) -> list[str]:
        return [] if self.public_url is None else [origin_of(self.public_url)]
