"""Routes of models and defaults (contract 1.10)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from aperag_api.kernel.auth import Admin, Reader, Writer
from aperag_api.kernel.validation import Unfilled
from aperag_api.models.catalog.schemas import (
    AvailableModels,
    AvailableQuery,
    DefaultModels,
    DefaultModelsChange,
    LlmConfiguration,
    ModelChange,
    ModelCreate,
    ModelList,
    ModelOut,
)
from aperag_api.models.services import Services
from aperag_models.refs import Api

router = APIRouter(tags=["models"])
Name = Annotated[str, Field(max_length=128)]


@router.get("/llm_configuration")
async def get_llm_configuration(caller: Reader, services: Services) -> LlmConfiguration:
    return await services.catalog.configuration(caller)


@router.get("/llm_provider_models")
async def list_llm_models(
    caller: Reader, services: Services, provider_name: Annotated[Name | None, Unfilled, Query()] = None
) -> ModelList:
    return await services.catalog.listed(caller, provider_name)


@router.get("/llm_providers/{provider_name}/models")
async def list_models_of_llm_provider(provider_name: str, caller: Reader, services: Services) -> ModelList:
    return await services.catalog.listed(caller, provider_name)


@router.post("/llm_providers/{provider_name}/models")
async def create_llm_model(provider_name: str, body: ModelCreate, caller: Writer, services: Services) -> ModelOut:
    return await services.catalog.create(caller, provider_name, body)


# The names of some models hold slashes.
@router.put("/llm_providers/{provider_name}/models/{api}/{model:path}")
async def update_llm_model(
    provider_name: str, api: Api, model: str, body: ModelChange, caller: Writer, services: Services
) -> ModelOut:
    return await services.catalog.update(caller, provider_name, api, model, body)


@router.delete("/llm_providers/{provider_name}/models/{api}/{model:path}")
async def delete_llm_model(provider_name: str, api: Api, model: str, caller: Writer, services: Services) -> bool | None:
    """Null where there is none."""
    return await services.catalog.remove(caller, provider_name, api, model)


@router.post("/available_models")
async def list_available_models(
    caller: Reader, services: Services, body: AvailableQuery | None = None
) -> AvailableModels:
    """What the caller can choose: models of providers that have a key, and the built-in ones."""
    return await services.catalog.available(caller, None if body is None else body.tag_filters)


@router.get("/default_models")
async def get_default_models(_: Reader, services: Services) -> DefaultModels:
    return await services.catalog.defaults()


@router.put("/default_models")
async def update_default_models(body: DefaultModelsChange, _: Admin, services: Services) -> DefaultModels:
    """Defaults are everybody's: only administrators change them, and only to models of public providers."""
    return await services.catalog.set_defaults(body.defaults)
