"""How a client connects to NATS with the key that it asks with."""

from __future__ import annotations

from pydantic import BaseModel, Field


class NatsAccess(BaseModel):
    """``publish`` and ``subscribe`` are all that a connection with this key may do, made now."""

    enabled: bool = Field(description="whether other services may connect at all")
    servers: list[str]
    authority: str | None = Field(description="PEM: who signed the servers' certificate; null without TLS")
    key_id: str
    owner: str
    inbox_prefix: str = Field(description="clients must set it: every other inbox is refused")
    publish: list[str]
    subscribe: list[str]
