"""Removes everything of a deleted collection, in steps that may be repeated: documents, rows, objects, the collection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settled
from aperag_common.objects import layout

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.events.commands import PurgeCollection
    from aperag_common.objects.port import ObjectStore
    from aperag_common.work.policy import WorkPolicy

log = structlog.get_logger(__name__)

BATCH = 200

_CLAIM = text(
    """
    UPDATE collection_purge SET status = 'DELETION_IN_PROGRESS', attempt = attempt + 1,
        lease_token = :token, lease_owner = :owner, lease_until = clock_timestamp() + :lease,
        due_at = clock_timestamp() + :lease + interval '5 s', started_at = coalesce(started_at, clock_timestamp())
    WHERE id = :id AND generation = :generation AND (lease_until IS NULL OR lease_until <= clock_timestamp())
    RETURNING id
    """
)

_RENEW = text(
    """
    UPDATE collection_purge SET lease_until = clock_timestamp() + :lease,
        due_at = clock_timestamp() + :lease + interval '5 s'
    WHERE id = :id AND lease_token = :token
    """
)

# Deleting the document cascades to its steps, chunks and index rows: one owner of that truth, the schema.
_REMOVE_DOCUMENTS = text(
    """
    DELETE FROM document WHERE id IN (
        SELECT id FROM document WHERE collection_id = :id ORDER BY id LIMIT :limit FOR UPDATE)
    RETURNING id
    """
)

_REMOVE_WORKFLOWS = text("DELETE FROM workflow WHERE collection_id = :id")
_REMOVE_COLLECTION = text(
    """
    WITH purged AS (DELETE FROM collection_purge WHERE id = :id AND lease_token = :token RETURNING id)
    DELETE FROM collection USING purged WHERE collection.id = purged.id
    """
)


@dataclass(frozen=True, slots=True)
class Purge:
    """Claimed under a lease like any driven row; a worker that dies leaves a smaller rest to the next."""

    engine: AsyncEngine
    objects: ObjectStore
    policy: WorkPolicy
    instance: str

    async def run(self, command: PurgeCollection) -> None:
        fence = {"id": command.data.collection_id, "token": f"{self.instance[:10]}:{command.id[:20]}"}
        if not await self._claim(command, fence):
            return
        try:
            removed = 0
            while batch := await self._remove_documents(fence):
                removed += batch
            await self.objects.delete_prefix(layout.collection_prefix(command.owner, command.data.collection_id))
            await self._remove_collection(fence)
        except (SQLAlchemyError, OSError, errors.Retryable) as err:
            log.warning("collection.purge_interrupted", collection_id=fence["id"], error=repr(err))
            raise Settled(Nak(timedelta(seconds=5), outcome="retry")) from err
        log.info("collection.purged", collection_id=fence["id"], documents=removed)

    async def _claim(self, command: PurgeCollection, fence: dict[str, str]) -> bool:
        async with self.engine.begin() as conn:
            parameters = {"owner": self.instance, "lease": self.policy.lease, "generation": command.data.generation}
            claimed = (await conn.execute(_CLAIM, {**fence, **parameters})).one_or_none()
            if claimed is not None:
                return True
            query = text("SELECT 1 FROM collection_purge WHERE id = :id")
            if (await conn.execute(query, {"id": fence["id"]})).one_or_none() is None:
                raise Settled(Ack(outcome="settled"))
        raise Settled(Nak(self.policy.lease, outcome="leased"))

    async def _remove_documents(self, fence: dict[str, str]) -> int:
        async with self.engine.begin() as conn:
            await self._renew(conn, fence)
            rows = (await conn.execute(_REMOVE_DOCUMENTS, {"id": fence["id"], "limit": BATCH})).all()
        return len(rows)

    async def _renew(self, conn: AsyncConnection, fence: dict[str, str]) -> None:
        renewed = await conn.execute(_RENEW, {**fence, "lease": self.policy.lease})
        if renewed.rowcount == 0:
            raise Settled(Ack(outcome="superseded"))

    async def _remove_collection(self, fence: dict[str, str]) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(_REMOVE_WORKFLOWS, {"id": fence["id"]})
            await conn.execute(_REMOVE_COLLECTION, fence)
