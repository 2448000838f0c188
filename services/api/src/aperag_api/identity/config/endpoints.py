"""Route of what everybody may know (contract 1.1)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.identity.config.schemas import ConfigOut
from aperag_api.identity.services import Services

router = APIRouter(tags=["config"])


@router.get("/config", response_model_exclude_none=True)
async def get_config(services: Services) -> ConfigOut:
    """How people log in here; asked for before anybody has."""
    return await services.config.get()
