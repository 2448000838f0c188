"""SQL of models and defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.models.catalog.schemas import AvailableProvider, DefaultModelOut, ModelOut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection


FIELDS = ("custom_llm_provider", "context_window", "max_input_tokens", "max_output_tokens", "tags")
_COLUMNS = (
    "provider_name, api, model, custom_llm_provider, context_window, max_input_tokens, max_output_tokens, dimensions,"
    " tags, created, updated"
)
_OF_PROVIDERS = text(
    f"SELECT {_COLUMNS} FROM llm_model WHERE provider_name = ANY(:names) ORDER BY provider_name, api, model"
)
_FIND = text(f"SELECT {_COLUMNS} FROM llm_model WHERE provider_name = :provider AND api = :api AND model = :model")
_COUNT = text("SELECT count(*) FROM llm_model WHERE provider_name = :provider")
_INSERT = text(
    f"""
    INSERT INTO llm_model (provider_name, api, model, {", ".join(FIELDS)})
    VALUES (:provider, :api, :model, {", ".join(f":{field}" for field in FIELDS)})
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
    """
)
_UPDATE = text(
    f"""
    UPDATE llm_model SET {", ".join(f"{field} = :{field}" for field in FIELDS)}, updated = clock_timestamp()
    WHERE provider_name = :provider AND api = :api AND model = :model RETURNING {_COLUMNS}
    """
)
_DELETE = text(
    """
    WITH gone AS (DELETE FROM llm_model WHERE provider_name = :provider AND api = :api AND model = :model
        RETURNING provider_name, model),
    cleared AS (DELETE FROM default_model d USING gone g WHERE d.provider_name = g.provider_name AND d.model = g.model
        AND d.scenario = ANY(:scenarios))
    SELECT count(*) FROM gone
    """
)
_USABLE = text(
    """
    SELECT name, label, completion_dialect, embedding_dialect, rerank_dialect, allow_custom_base_url, base_url
    FROM llm_provider WHERE user_id IN (:user, 'public') AND (api_key IS NOT NULL OR name = 'local') ORDER BY name
    """
)
_DEFAULTS = text(
    """
    SELECT d.scenario, d.provider_name, d.model, m.custom_llm_provider
    FROM default_model d LEFT JOIN llm_model m
        ON m.provider_name = d.provider_name AND m.model = d.model AND m.api = CASE d.scenario
            WHEN 'default_for_embedding' THEN 'embedding' WHEN 'default_for_rerank' THEN 'rerank' ELSE 'completion' END
    ORDER BY d.scenario
    """
)
_OFFERED = text(
    """
    SELECT p.user_id, m.model IS NOT NULL AS known FROM llm_provider p
    LEFT JOIN llm_model m ON m.provider_name = p.name AND m.api = :api AND m.model = :model
    WHERE p.name = :provider FOR SHARE OF p
    """
)
_SET = text(
    """
    INSERT INTO default_model (scenario, provider_name, model) VALUES (:scenario, :provider, :model)
    ON CONFLICT (scenario) DO UPDATE
        SET provider_name = excluded.provider_name, model = excluded.model, updated = clock_timestamp()
    """
)
_CLEAR = text("DELETE FROM default_model WHERE scenario = :scenario")


async def of_providers(conn: AsyncConnection, names: Sequence[str]) -> list[ModelOut]:
    rows = await conn.execute(_OF_PROVIDERS, {"names": list(names)})
    return [ModelOut(**row._mapping) for row in rows]


async def find(conn: AsyncConnection, provider: str, api: str, model: str) -> ModelOut | None:
    row = (await conn.execute(_FIND, {"provider": provider, "api": api, "model": model})).one_or_none()
    return None if row is None else ModelOut(**row._mapping)


async def count_of(conn: AsyncConnection, provider: str) -> int:
    return int((await conn.execute(_COUNT, {"provider": provider})).scalar_one())


async def insert(
    conn: AsyncConnection, provider: str, api: str, model: str, values: Mapping[str, Any]
) -> ModelOut | None:
    """None where it is there already."""
    row = (await conn.execute(_INSERT, {**values, "provider": provider, "api": api, "model": model})).one_or_none()
    return None if row is None else ModelOut(**row._mapping)


async def update(conn: AsyncConnection, provider: str, api: str, model: str, values: Mapping[str, Any]) -> ModelOut:
    row = (await conn.execute(_UPDATE, {**values, "provider": provider, "api": api, "model": model})).one()
    return ModelOut(**row._mapping)


async def remove(conn: AsyncConnection, provider: str, api: str, model: str, scenarios: Sequence[str]) -> bool:
    """With the defaults among ``scenarios`` that name it."""
    values = {"provider": provider, "api": api, "model": model, "scenarios": list(scenarios)}
    return bool((await conn.execute(_DELETE, values)).scalar_one())


async def usable(conn: AsyncConnection, user_id: str) -> list[AvailableProvider]:
    """Without their models."""
    return [AvailableProvider(**row._mapping) for row in await conn.execute(_USABLE, {"user": user_id})]


async def defaults(conn: AsyncConnection) -> list[DefaultModelOut]:
    return [DefaultModelOut(**row._mapping) for row in await conn.execute(_DEFAULTS)]


async def offered(conn: AsyncConnection, provider: str, api: str, model: str) -> tuple[str, bool] | None:
    """Whose the provider is, and whether it has the model; None where there is no such provider. It stays as it is."""
    row = (await conn.execute(_OFFERED, {"provider": provider, "api": api, "model": model})).one_or_none()
    return None if row is None else (row.user_id, row.known)


async def set_default(conn: AsyncConnection, scenario: str, provider: str, model: str) -> None:
    await conn.execute(_SET, {"scenario": scenario, "provider": provider, "model": model})


async def clear_default(conn: AsyncConnection, scenario: str) -> None:
    await conn.execute(_CLEAR, {"scenario": scenario})
