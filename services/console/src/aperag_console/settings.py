"""What the console can be told."""

from __future__ import annotations

from pydantic import AliasChoices, Field, PositiveInt, SecretStr

from aperag_common.http.front import Front
from aperag_common.settings import FrontSettings, PublicSettings


class ConsoleHttp(FrontSettings):
    """Like the gateway, it has a port that people type into browsers."""

    port: int = Field(3000, ge=0, le=65535, description="port to bind; 0 = any free one")


class Settings(PublicSettings):
    """It needs the gateway's address and nothing else: no database, no bus, no key of its own."""

    http: ConsoleHttp = Field(default_factory=ConsoleHttp)
    api_url: str = Field("http://127.0.0.1:8000", description="address of the gateway, without /api/v1")
    traces_token: SecretStr | None = Field(
        None,
        description="token that the gateway takes spans for, where no collector is configured; none = spans go nowhere",
    )
    console_secure_cookies: bool = Field(
        default=False,
        description="send cookies over TLS only, also where neither APERAG_PUBLIC_URL nor a proxy says that people use https",
    )
    console_connections: PositiveInt = Field(
        512, description="connections to the gateway at a time; each open browser holds one for its events"
    )
    otel_console_pages_enabled: bool = Field(
        default=True,
        validation_alias=AliasChoices("otel_console_pages_enabled", "OTEL_CONSOLE_PAGES_ENABLED"),
        description="spans of the console's pages; without them a caller's trace is passed on all the same",
    )

    @property
    def front(self) -> Front:
        return Front.of(self.http.trusted_proxies, self.public_url)
