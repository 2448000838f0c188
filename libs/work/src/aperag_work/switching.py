"""A collection's change of embedding model: what is wanted, how far it is, and when it has taken place.

The gateway writes what is wanted. The reconciler makes the documents' vectors agree with it, lets the wanted model
take over in one statement once nothing would be lost by that, and removes what is left of other models.
What served rows are made with stands in ``document_index``, written in the transaction that writes the rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

# Steps that were built before there was a choice name their one model only.
MODELS = "coalesce(i.data -> 'models', jsonb_build_array(i.data -> 'model'))"
"""Of ``document_index i``: the models that its served rows are made with."""

JOBS = """
    document d JOIN job v ON v.subject_id = d.id AND v.kind = 'index.vector'
    JOIN job p ON p.subject_id = d.id AND p.kind = 'parse'
    LEFT JOIN document_index i ON i.document_id = d.id AND i.kind = 'vector'
"""
"""Documents ``d`` that have, or will have, vectors, what of them is served ``i``, and their parses ``p``."""

# A claim knows the models of its moment. One from before the change writes what it knows; the seconds are for a claim
# whose statement began before the change was committed and took the lease after it.
_OF_AN_EARLIER_CLAIM = f"v.status IN {OPEN_SQL} AND v.started_at <= {{since}} + interval '5 s'"

_WANT = text(
    """
    UPDATE collection SET wanted_model = nullif(CAST(:model AS text), active_model), switching_since = clock_timestamp()
    WHERE id = :id AND status = 'ACTIVE' AND coalesce(wanted_model, active_model) <> :model
    """
)

_SWITCHING = text(
    "SELECT id FROM collection WHERE switching_since IS NOT NULL AND status = 'ACTIVE' ORDER BY switching_since, id"
)

_HOLD = text(
    """
    SELECT id, active_model, wanted_model, switching_since AS since,
        switching_since < clock_timestamp() - CAST(:grace AS interval) AS quiet
    FROM collection WHERE id = :id AND switching_since IS NOT NULL AND status = 'ACTIVE' FOR SHARE
    """
)

# One more try for what had failed before the models changed, whatever it had failed of; what failed since waits for a
# person. A document whose parse failed before it ever served anything is no concern of its vectors.
_UNBUILT = text(
    f"""
    SELECT d.id FROM {JOBS}
    WHERE d.collection_id = :collection AND d.deleted_at IS NULL AND (CAST(:among AS text[]) IS NULL OR d.id = ANY(:among))
        AND NOT EXISTS (SELECT FROM job o WHERE o.subject_id = d.id AND o.status IN {OPEN_SQL})
        AND (i.served_generation IS NOT NULL OR p.status = 'ACTIVE')
        AND (v.status = 'ACTIVE' AND p.status = 'ACTIVE' AND NOT {MODELS} @> CAST(:models AS jsonb)
            OR (v.status = 'FAILED' OR NOT {MODELS} @> CAST(:models AS jsonb))
                AND coalesce(greatest(v.settled_at, p.settled_at), '-infinity') < :since)
    ORDER BY d.id LIMIT :limit
    """
)

_FLIP = text(
    f"""
    UPDATE collection c SET active_model = wanted_model, wanted_model = NULL, switching_since = clock_timestamp()
    WHERE c.id = :id AND c.status = 'ACTIVE' AND c.wanted_model = :wanted AND NOT EXISTS (
        SELECT FROM {JOBS} WHERE d.collection_id = c.id AND d.deleted_at IS NULL
            AND (i.served_generation IS NOT NULL AND NOT {MODELS} ? c.wanted_model
                OR {_OF_AN_EARLIER_CLAIM.format(since="c.switching_since")}))
    """
)

_SETTLE = text(
    f"""
    UPDATE collection c SET switching_since = NULL
    WHERE c.id = :id AND c.wanted_model IS NULL AND c.switching_since = :since AND NOT EXISTS (
        SELECT FROM {JOBS} WHERE d.collection_id = c.id AND d.deleted_at IS NULL
            AND (v.status = 'ACTIVE' AND p.status = 'ACTIVE' AND NOT {MODELS} ? c.active_model
                OR {_OF_AN_EARLIER_CLAIM.format(since="c.switching_since")}))
    """
)

_PROGRESS = text(
    f"""
    SELECT c.wanted_model AS wanted,
        count(*) FILTER (WHERE {MODELS} ? c.wanted_model) AS done,
        count(*) FILTER (WHERE i.served_generation IS NOT NULL OR v.status IN {OPEN_SQL}) AS total,
        count(*) FILTER (WHERE f.stuck) AS failed,
        min(coalesce(v.error_message, p.error_message)) FILTER (WHERE f.stuck) AS reason
    FROM collection c
    LEFT JOIN ({JOBS}) ON d.collection_id = c.id AND d.deleted_at IS NULL
    LEFT JOIN LATERAL (SELECT 'FAILED' IN (v.status, p.status) AND i.served_generation IS NOT NULL
        AND NOT {MODELS} ? c.wanted_model AS stuck) f ON true
    WHERE c.id = :id AND c.wanted_model IS NOT NULL GROUP BY c.wanted_model
    """
)


@dataclass(frozen=True, slots=True)
class Switching:
    """A collection whose vectors do not agree with its models yet; ``quiet`` once this has been so for a while.

    Without ``wanted`` its models have changed, and what remains is to remove the rows of others.
    """

    id: str
    active_model: str
    wanted_model: str | None
    since: datetime
    quiet: bool

    @property
    def models(self) -> tuple[str, ...]:
        """Those that every document shall have rows of."""
        return (self.active_model,) if self.wanted_model is None else (self.active_model, self.wanted_model)


@dataclass(frozen=True, slots=True)
class Progress:
    """Documents whose vectors of the ``wanted`` model are ``done``, of all that searches find, or will.

    Those that ``failed`` keep it from taking over; ``reason`` is one of theirs.
    """

    wanted: str
    done: int
    total: int
    failed: int
    reason: str | None


async def want(conn: AsyncConnection, collection_id: str, model: str) -> bool:
    """Let ``model`` take over, or stop another one from it; False where nothing changes by that."""
    return bool((await conn.execute(_WANT, {"id": collection_id, "model": model})).rowcount)


async def progress(conn: AsyncConnection, collection_id: str) -> Progress | None:
    """None where no other model is wanted."""
    found = (await conn.execute(_PROGRESS, {"id": collection_id})).one_or_none()
    return None if found is None else Progress(**found._mapping)


async def switching(conn: AsyncConnection) -> list[str]:
    """Living collections, those that have waited longest first."""
    return [row.id for row in await conn.execute(_SWITCHING)]


async def hold(conn: AsyncConnection, collection_id: str, grace: timedelta) -> Switching | None:
    """Its models stay as they are until this transaction ends; None where there is nothing left to do."""
    found = (await conn.execute(_HOLD, {"id": collection_id, "grace": grace})).one_or_none()
    return None if found is None else Switching(**found._mapping)


async def unbuilt(
    conn: AsyncConnection, collection: Switching, *, limit: int, among: Sequence[str] | None = None
) -> list[str]:
    """Documents at rest whose vectors have to be built again for the models that are kept."""
    values = {
        "collection": collection.id,
        "models": json.dumps(collection.models),
        "since": collection.since,
        "among": None if among is None else list(among),
        "limit": limit,
    }
    return [row.id for row in await conn.execute(_UNBUILT, values)]


async def flip(conn: AsyncConnection, collection_id: str, wanted: str) -> bool:
    """The wanted model takes over, unless a document that searches find would be lost by that."""
    return bool((await conn.execute(_FLIP, {"id": collection_id, "wanted": wanted})).rowcount)


async def settle(conn: AsyncConnection, collection: Switching) -> bool:
    """The change is over: every document has rows of the active model. False where one has not yet."""
    return bool((await conn.execute(_SETTLE, {"id": collection.id, "since": collection.since})).rowcount)
