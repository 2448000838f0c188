"""Adding, changing and removing models; what can be used, and what is used where nobody chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.kernel.auth import Role
from aperag_api.kernel.reading import reading
from aperag_api.models.catalog import repository
from aperag_api.models.catalog.decide import fits, own_tags, tagged
from aperag_api.models.catalog.schemas import (
    AvailableModel,
    AvailableModels,
    AvailableProvider,
    DefaultModelOut,
    DefaultModels,
    LlmConfiguration,
    ModelList,
)
from aperag_api.models.providers import repository as providers
from aperag_api.models.providers.decide import check_changeable
from aperag_api.models.providers.service import accessible, check_unused
from aperag_common import errors
from aperag_common.db.models.llm_provider import PUBLIC
from aperag_models.refs import Api, Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.models.catalog.schemas import DefaultModelIn, ModelChange, ModelCreate, ModelOut, TagFilter
    from aperag_api.models.providers.service import ProviderService

MOST_MODELS = 2_000
"""Of one provider: some routers offer hundreds."""


@dataclass(frozen=True, slots=True)
class ModelService:
    engine: AsyncEngine
    providers: ProviderService

    async def configuration(self, caller: Caller) -> LlmConfiguration:
        managed = (await self.providers.listed(caller)).items
        async with reading(self.engine) as conn:
            offered = await _offered(conn, [it.name for it in managed])
        return LlmConfiguration(providers=managed, models=offered)

    async def listed(self, caller: Caller, provider: str | None) -> ModelList:
        """Of all providers that the caller manages, or of one."""
        async with reading(self.engine) as conn:
            if provider is None:
                rows = await providers.listed(conn, caller.user_id, public=caller.role is Role.ADMIN)
                names = [row.name for row in rows]
            else:
                names = [(await accessible(conn, caller, provider)).name]
            return ModelList(items=await _offered(conn, names))

    async def create(self, caller: Caller, provider: str, wanted: ModelCreate) -> ModelOut:
        values = {
            **{field: getattr(wanted, field) for field in repository.FIELDS},
            "custom_llm_provider": wanted.custom_llm_provider or provider,
            "tags": own_tags(wanted.tags or []),
        }
        async with self.engine.begin() as conn:
            check_changeable(await accessible(conn, caller, provider, lock=True))
            if await repository.count_of(conn, provider) >= MOST_MODELS:
                message = f"Provider {provider} has {MOST_MODELS} models already. Delete one that is not needed."
                raise errors.InvalidParameter(message)
            row = await repository.insert(conn, provider, wanted.api, wanted.model, values)
        if row is None:
            message = f"The {wanted.api} model {wanted.model} of provider {provider} already exists"
            raise errors.InvalidParameter(message)
        return row

    async def update(self, caller: Caller, provider: str, api: Api, model: str, wanted: ModelChange) -> ModelOut:
        async with self.engine.begin() as conn:
            check_changeable(await accessible(conn, caller, provider, lock=True))
            row = await repository.find(conn, provider, api, model)
            if row is None:
                raise errors.ModelNotFound(f"Model {model} of provider {provider} not found")
            present = {field: getattr(row, field) for field in repository.FIELDS}
            given = wanted.model_dump(include=set(repository.FIELDS), exclude_none=True)
            values = {**present, **given}
            row = await repository.update(conn, provider, api, model, {**values, "tags": own_tags(values["tags"])})
            return tagged([row], await repository.defaults(conn))[0]

    async def remove(self, caller: Caller, provider: str, api: Api, model: str) -> bool | None:
        """True where it was there; one that collections are found with stays."""
        async with self.engine.begin() as conn:
            check_changeable(await accessible(conn, caller, provider, lock=True))
            if api is Api.EMBEDDING:
                await check_unused(conn, f"{provider}/{model}", f"Model {model} of provider {provider}")
            scenarios = [it.value for it in Scenario if it.api is api]
            return True if await repository.remove(conn, provider, api, model, scenarios) else None

    async def available(self, caller: Caller, filters: Sequence[TagFilter] | None) -> AvailableModels:
        """Providers that have nothing of what was filtered for are left out."""
        async with reading(self.engine) as conn:
            usable = await repository.usable(conn, caller.user_id)
            rows = await _offered(conn, [it.name for it in usable])
        fitting = [row for row in rows if fits(row.tags, filters)]
        found = [_available(it, [row for row in fitting if row.provider_name == it.name]) for it in usable]
        everything = filters is not None and not filters
        return AvailableModels(items=[it for it in found if everything or it.completion or it.embedding or it.rerank])

    async def defaults(self) -> DefaultModels:
        async with reading(self.engine) as conn:
            return await _defaults(conn)

    async def set_defaults(self, wanted: Sequence[DefaultModelIn]) -> DefaultModels:
        async with self.engine.begin() as conn:
            for it in wanted:
                await _set_default(conn, it)
            return await _defaults(conn)


async def _offered(conn: AsyncConnection, providers: Sequence[str]) -> list[ModelOut]:
    return tagged(await repository.of_providers(conn, providers), await repository.defaults(conn))


async def _set_default(conn: AsyncConnection, wanted: DefaultModelIn) -> None:
    if not wanted.provider_name and not wanted.model:
        await repository.clear_default(conn, wanted.scenario)
        return
    if not wanted.provider_name or not wanted.model:
        message = f"The default of {wanted.scenario} needs both provider_name and model, or neither"
        raise errors.InvalidParameter(message)
    api = wanted.scenario.api
    found = await repository.offered(conn, wanted.provider_name, api, wanted.model)
    if found is None or found[0] != PUBLIC:
        message = (
            f"Provider {wanted.provider_name} is none of the public ones: defaults are everybody's. Publish it first."
        )
        raise errors.ProviderNotPublic(message)
    if not found[1]:
        raise errors.ModelNotFound(f"Provider {wanted.provider_name} has no {api.value} model {wanted.model}")
    await repository.set_default(conn, wanted.scenario, wanted.provider_name, wanted.model)


async def _defaults(conn: AsyncConnection) -> DefaultModels:
    found = {row.scenario: row for row in await repository.defaults(conn)}
    return DefaultModels(items=[found.get(it) or DefaultModelOut(scenario=it) for it in Scenario])


def _available(provider: AvailableProvider, rows: Sequence[ModelOut]) -> AvailableProvider:
    def of(api: Api) -> list[AvailableModel]:
        return [
            AvailableModel(
                model=row.model,
                model_service_provider=provider.name,
                custom_llm_provider=row.custom_llm_provider,
                context_window=row.context_window,
                max_input_tokens=row.max_input_tokens,
                max_output_tokens=row.max_output_tokens,
                tags=row.tags,
            )
            for row in rows
            if row.api is api
        ]

    return provider.model_copy(update={api.value: of(api) for api in Api})
