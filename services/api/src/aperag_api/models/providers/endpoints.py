"""Routes of providers (contract 1.10)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Admin, Reader, Writer
from aperag_api.models.providers.schemas import ProviderChange, ProviderCreate, ProviderList, ProviderOut
from aperag_api.models.services import Services

router = APIRouter(tags=["models"])


@router.get("/llm_providers")
async def list_llm_providers(caller: Reader, services: Services) -> ProviderList:
    return await services.providers.listed(caller)


@router.post("/llm_providers")
async def create_llm_provider(body: ProviderCreate, caller: Writer, services: Services) -> ProviderOut:
    """The caller's own; nobody else sees or uses it."""
    return await services.providers.create(caller, body)


@router.get("/llm_providers/{provider_name}")
async def get_llm_provider(provider_name: str, caller: Reader, services: Services) -> ProviderOut:
    return await services.providers.get(caller, provider_name)


@router.put("/llm_providers/{provider_name}")
async def update_llm_provider(
    provider_name: str, body: ProviderChange, caller: Writer, services: Services
) -> ProviderOut:
    return await services.providers.update(caller, provider_name, body)


@router.delete("/llm_providers/{provider_name}")
async def delete_llm_provider(provider_name: str, caller: Writer, services: Services) -> bool | None:
    """With its models; null where there is none."""
    return await services.providers.remove(caller, provider_name)


@router.post("/llm_providers/{provider_name}/publish")
async def publish_llm_provider(provider_name: str, caller: Admin, services: Services) -> ProviderOut:
    """From now on it belongs to the installation, and everybody may use it with the key that it has."""
    return await services.providers.publish(caller, provider_name)
