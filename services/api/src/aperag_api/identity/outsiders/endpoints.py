"""The route that tells a key how to connect to NATS."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.identity.outsiders.schemas import NatsAccess
from aperag_api.identity.services import Services
from aperag_api.kernel.auth import ScopedReader

router = APIRouter(tags=["nats"])


@router.get("/nats")
async def get_nats_access(caller: ScopedReader, services: Services) -> NatsAccess:
    """Servers, inbox prefix and permissions of a connection that this API key opens."""
    return await services.outsiders.access(caller)
