"""Routes of models and defaults (contract 1.10)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from aperag_api.auth import Admin, Reader, Writer
from aperag_api.gateway import Services
from aperag_api.models.schemas import (
    AvailableModels,
    AvailableQuery,
    DefaultModels,
    DefaultModelsChange,
    ModelChange,
    ModelCreate,
    ModelList,
    ModelOut,
)
from aperag_models.refs import Api

router = APIRouter(tags=["models"])


@router.get("/llm_provider_models")
async def list_llm_models(
    caller: Reader, services: Services, provider_name: Annotated[str | None, Query(max_length=128)] = None
) -> ModelList:
    return await services.models.listed(caller, provider_name)


@router.get("/llm_providers/{provider_name}/models")
async def list_models_of_llm_provider(provider_name: str, caller: Reader, services: Services) -> ModelList:
    return await services.models.listed(caller, provider_name)


@router.post("/llm_providers/{provider_name}/models")
async def create_llm_model(provider_name: str, body: ModelCreate, caller: Writer, services: Services) -> ModelOut:
    return await services.models.create(caller, provider_name, body)


# The names of some models hold slashes.
@router.put("/llm_providers/{provider_name}/models/{api}/{model:path}")
async def update_llm_model(
    provider_name: str, api: Api, model: str, body: ModelChange, caller: Writer, services: Services
) -> ModelOut:
    return await services.models.update(caller, provider_name, api, model, body)


@router.delete("/llm_providers/{provider_name}/models/{api}/{model:path}")
async def delete_llm_model(provider_name: str, api: Api, model: str, caller: Writer, services: Services) -> bool | None:
    """Null where there is none."""
    return await services.models.remove(caller, provider_name, api, model)


@router.post("/available_models")
async def list_available_models(
    caller: Reader, services: Services, body: AvailableQuery | None = None
) -> AvailableModels:
    """What the caller can choose: models of providers that have a key, and the built-in ones."""
    return await services.models.available(caller, None if body is None else body.tag_filters)


@router.get("/default_models")
async def get_default_models(_: Reader, services: Services) -> DefaultModels:
    return await services.models.defaults()


@router.put("/default_models")
async def update_default_models(body: DefaultModelsChange, _: Admin, services: Services) -> DefaultModels:
    """Defaults are everybody's: only administrators change them, and only to models of public providers."""
    return await services.models.set_defaults(body.defaults)
