"""What a stack is started with."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from aperag_standalone.ports import LOOPBACK

ADMIN = "admin"
"""Name of the first user."""

API_PORT = 8000
MCP_PORT = 8001
CONSOLE_PORT = 3000
NATS_PORT = 4222


class StackOptions(BaseModel):
    """Port 0 is any free one; None is the usual one where that is free, else any.

    ``outsiders``: whether API keys open connections to NATS; ``nats_host`` is where NATS listens for clients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    port: int = Field(API_PORT, ge=0, le=65535)
    mcp_port: int | None = Field(None, ge=0, le=65535)
    console_port: int | None = Field(None, ge=0, le=65535)
    nats_host: str = LOOPBACK
    nats_port: int | None = Field(None, ge=0, le=65535)
    nats_monitor_port: int = Field(0, ge=0, le=65535)
    nats_tls: bool = False
    outsiders: bool = True
    postgres_port: int = Field(0, ge=0, le=65535)
    gateways: PositiveInt = 1
    indexers: PositiveInt = 1
    reconcilers: PositiveInt = 1
    agents: PositiveInt = 1
    start_timeout: float = 60.0
