"""The services that have an identity of their own at NATS and in PostgreSQL."""

from __future__ import annotations

from enum import StrEnum


class Service(StrEnum):
    AGENT = "agent"
    API = "api"
    INDEXER = "indexer"
    RECONCILER = "reconciler"
    WEBHOOKS = "webhooks"


def role(service: Service) -> str:
    """The PostgreSQL role that ``service`` connects as."""
    return f"aperag_{service}"
