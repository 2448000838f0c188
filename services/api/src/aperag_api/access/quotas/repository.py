"""SQL of quotas: limits as they are set, and what is there, counted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models import QuotaType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

DEFAULTS = "default_quotas"
"""Name of the setting that an administrator writes."""

INITIAL = "initial_quotas"
"""Name of the setting that a starting gateway writes from its environment."""

_NAMES = {"defaults": DEFAULTS, "initial": INITIAL}

_OPEN = text(
    """
    INSERT INTO user_quota (user_id, quota_type)
    SELECT :user, quota_type FROM unnest(CAST(:types AS text[])) AS t(quota_type)
    ON CONFLICT DO NOTHING
    """
)

# In one order for everybody, so that two transactions never wait for each other.
_HOLD = text(
    """
    SELECT quota_type, quota_limit, at_most,
        (SELECT jsonb_object_agg(name, value::jsonb) FROM setting WHERE name IN (:defaults, :initial)) AS defaults
    FROM user_quota WHERE user_id = :user AND quota_type = ANY(:types) ORDER BY quota_type FOR UPDATE
    """
)
_BOUND = text("UPDATE user_quota SET at_most = :at_most WHERE user_id = :user AND quota_type = :type")
_OWN_LIMITS = text("SELECT quota_type, quota_limit FROM user_quota WHERE user_id = :user")
_SET_LIMIT = text(
    """
    UPDATE user_quota SET quota_limit = :limit, updated = now() WHERE user_id = :user AND quota_type = :type
    """
)
_DEFAULTS = text(
    "SELECT jsonb_object_agg(name, value::jsonb) AS defaults FROM setting WHERE name IN (:defaults, :initial)"
)
_SET_DEFAULTS = text(
    """
    INSERT INTO setting (name, value) VALUES (:name, :value)
    ON CONFLICT (name) DO UPDATE SET value = (setting.value::jsonb || excluded.value::jsonb)::text, updated = now()
    WHERE NOT setting.value::jsonb @> excluded.value::jsonb
    """
)

# What was confirmed, is neither deleted nor expired and lies in a collection that is not deleted: a delete frees in
# the transaction that marks it, long before the rows are gone. Each collection is counted in the partial index
# ix_document_owned, in whose words the condition is written, whatever the planner believes of how many there are.
_DOCUMENTS = text(
    """
    SELECT c.id, (
        SELECT count(*) FROM document d
        WHERE d.owner = :user AND d.collection_id = c.id AND d.deleted_at IS NULL
            AND d.status NOT IN ('UPLOADED', 'EXPIRED')) AS documents
    FROM collection c
    WHERE c.owner = :user AND c.status <> 'DELETED' AND (CAST(:collection AS text) IS NULL OR c.id = :collection)
    """
)

# A user's chat collection and first bot came with the user and are no choice of theirs.
_COLLECTIONS = text("SELECT count(*) FROM collection WHERE owner = :user AND status <> 'DELETED' AND type = 'document'")
_BOTS = text("SELECT count(*) FROM bot WHERE owner = :user AND deleted_at IS NULL AND NOT provided")

_PERSON = "SELECT id, username, email, role FROM users"
_BY_ID = text(f"{_PERSON} WHERE id = :id AND deleted_at IS NULL")
_SEARCH = text(
    f"{_PERSON} WHERE (id = :search OR username = :search OR email = :search) AND deleted_at IS NULL ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    username: str
    email: str | None
    role: str


@dataclass(frozen=True, slots=True)
class Held:
    """Rows locked by the current transaction; ``own`` and ``at_most`` lack what has no row yet."""

    own: Mapping[str, int | None]
    at_most: Mapping[str, int | None]
    defaults: Mapping[str, int]


async def open_rows(conn: AsyncConnection, user_id: str) -> None:
    await conn.execute(_OPEN, {"user": user_id, "types": [quota_type.value for quota_type in QuotaType]})


async def hold(conn: AsyncConnection, user_id: str, types: Sequence[QuotaType]) -> Held:
    values = {"user": user_id, "types": [quota_type.value for quota_type in types], **_NAMES}
    rows = (await conn.execute(_HOLD, values)).all()
    return Held(
        {row.quota_type: row.quota_limit for row in rows},
        {row.quota_type: row.at_most for row in rows},
        _merged(rows[0].defaults if rows else None),
    )


async def bound(conn: AsyncConnection, user_id: str, quota_type: QuotaType, at_most: int) -> None:
    """The user's row of this type is held."""
    await conn.execute(_BOUND, {"user": user_id, "type": quota_type.value, "at_most": at_most})


async def own_limits(conn: AsyncConnection, user_id: str) -> dict[str, int | None]:
    return {row.quota_type: row.quota_limit for row in await conn.execute(_OWN_LIMITS, {"user": user_id})}


async def set_limit(conn: AsyncConnection, user_id: str, quota_type: QuotaType, limit: int | None) -> None:
    await conn.execute(_SET_LIMIT, {"user": user_id, "type": quota_type.value, "limit": limit})


async def defaults(conn: AsyncConnection) -> dict[str, int]:
    return _merged((await conn.execute(_DEFAULTS, _NAMES)).scalar_one())


def _merged(found: Mapping[str, Mapping[str, int]] | None) -> dict[str, int]:
    """What an administrator has set, over what the environment says."""
    return {} if found is None else {**found.get(INITIAL, {}), **found.get(DEFAULTS, {})}


async def set_defaults(conn: AsyncConnection, name: str, limits: Mapping[QuotaType, int]) -> None:
    """Those of the setting that are not among ``limits`` stay."""
    value = json.dumps({quota_type.value: limit for quota_type, limit in limits.items()}, sort_keys=True)
    await conn.execute(_SET_DEFAULTS, {"name": name, "value": value})


async def documents(conn: AsyncConnection, user_id: str, collection_id: str | None = None) -> dict[str, int]:
    """How many each of the user's collections holds, or this one alone."""
    rows = await conn.execute(_DOCUMENTS, {"user": user_id, "collection": collection_id})
    return {row.id: row.documents for row in rows}


async def collections(conn: AsyncConnection, user_id: str) -> int:
    return int((await conn.execute(_COLLECTIONS, {"user": user_id})).scalar_one())


async def bots(conn: AsyncConnection, user_id: str) -> int:
    return int((await conn.execute(_BOTS, {"user": user_id})).scalar_one())


async def person(conn: AsyncConnection, user_id: str) -> Person | None:
    row = (await conn.execute(_BY_ID, {"id": user_id})).one_or_none()
    return None if row is None else Person(**row._mapping)


async def search(conn: AsyncConnection, value: str) -> list[Person]:
    """Whose id, name or address is exactly ``value``."""
    return [Person(**row._mapping) for row in await conn.execute(_SEARCH, {"search": value})]
