"""SQL of whoever calls a provider: which there are for a user, and the slots that all callers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider as it is called, and one of its models; ``known`` where it lists that one."""

    provider: str
    base_url: str
    rerank_dialect: str
    api_key: str | None
    known: bool
    max_output_tokens: int | None
    dimensions: int | None


_OFFER = text(
    """
    SELECT p.name AS provider, p.base_url, p.rerank_dialect, p.api_key, m.model IS NOT NULL AS known,
        m.max_output_tokens, m.dimensions
    FROM llm_provider p LEFT JOIN llm_model m ON m.provider_name = p.name AND m.api = :api AND m.model = :model
    WHERE p.name = :provider AND p.user_id IN (:user, 'public')
    """
)
_DEFAULT = text("SELECT provider_name, model FROM default_model WHERE scenario = :scenario")
_LEARN = text(
    """
    UPDATE llm_model SET dimensions = :dimensions
    WHERE provider_name = :provider AND api = 'embedding' AND model = :model AND dimensions IS NULL
    """
)
_OPEN = text(
    """
    INSERT INTO provider_slot (provider_name, slot)
    SELECT name, generate_series(0, CAST(:slots AS int) - 1) FROM llm_provider WHERE name = :provider
    ON CONFLICT DO NOTHING
    """
)
# Of a provider that asked for patience there is none to be had.
_TAKE = text(
    """
    UPDATE provider_slot SET token = :token, held_until = clock_timestamp() + CAST(:lease AS interval)
    WHERE (provider_name, slot) = (
        SELECT s.provider_name, s.slot FROM provider_slot s JOIN llm_provider p ON p.name = s.provider_name
        WHERE s.provider_name = :provider AND s.slot < :slots
            AND (s.held_until IS NULL OR s.held_until < clock_timestamp())
            AND (p.paused_until IS NULL OR p.paused_until < clock_timestamp())
        ORDER BY s.slot LIMIT 1 FOR UPDATE OF s SKIP LOCKED)
    RETURNING slot
    """
)
_RENEW = text(
    "UPDATE provider_slot SET held_until = clock_timestamp() + CAST(:lease AS interval) WHERE token = ANY(:tokens)"
)
_FREE = text(
    "UPDATE provider_slot SET token = NULL, held_until = NULL WHERE provider_name = :provider AND token = :token"
)
_PAUSE = text(
    """
    UPDATE llm_provider SET paused_until = greatest(paused_until, clock_timestamp() + CAST(:pause AS interval))
    WHERE name = :provider
    """
)
_PAUSED = text(
    """
    SELECT extract(epoch FROM paused_until - clock_timestamp())::float FROM llm_provider
    WHERE name = :provider AND paused_until > clock_timestamp()
    """
)


async def offer(conn: AsyncConnection, user_id: str, provider: str, api: str, model: str) -> Offer | None:
    """None where there is no such provider for the user."""
    values = {"user": user_id, "provider": provider, "api": api, "model": model}
    row = (await conn.execute(_OFFER, values)).one_or_none()
    return None if row is None else Offer(**row._mapping)


async def default(conn: AsyncConnection, scenario: str) -> tuple[str, str] | None:
    """Provider and model."""
    row = (await conn.execute(_DEFAULT, {"scenario": scenario})).one_or_none()
    return None if row is None else (row.provider_name, row.model)


async def learn_dimensions(conn: AsyncConnection, provider: str, model: str, dimensions: int) -> None:
    """The first answer tells; a later one that differs is refused by whoever got it."""
    await conn.execute(_LEARN, {"provider": provider, "model": model, "dimensions": dimensions})


async def open_slots(conn: AsyncConnection, provider: str, slots: int) -> None:
    await conn.execute(_OPEN, {"provider": provider, "slots": slots})


async def take_slot(conn: AsyncConnection, provider: str, token: str, *, slots: int, lease: timedelta) -> bool:
    values = {"provider": provider, "token": token, "slots": slots, "lease": lease}
    return (await conn.execute(_TAKE, values)).one_or_none() is not None


async def renew_slots(conn: AsyncConnection, tokens: Sequence[str], lease: timedelta) -> None:
    await conn.execute(_RENEW, {"tokens": list(tokens), "lease": lease})


async def free_slot(conn: AsyncConnection, provider: str, token: str) -> None:
    await conn.execute(_FREE, {"provider": provider, "token": token})


async def pause(conn: AsyncConnection, provider: str, pause: timedelta) -> None:
    """For every caller in every process."""
    await conn.execute(_PAUSE, {"provider": provider, "pause": pause})


async def paused_seconds(conn: AsyncConnection, provider: str) -> float:
    """Zero where nobody has to wait."""
    return (await conn.execute(_PAUSED, {"provider": provider})).scalar_one_or_none() or 0.0
