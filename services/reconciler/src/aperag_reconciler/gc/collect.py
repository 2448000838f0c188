"""Garbage collection: what expired, what was deleted, what is forgotten, and objects that belong to no row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from aperag_common import errors
from aperag_common.events import facts
from aperag_common.events.fact import DocumentData
from aperag_common.jobs.kind import transient
from aperag_common.objects import layout
from aperag_reconciler.gc import repository
from aperag_work import outbox
from aperag_work.database import FAILURES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.objects.port import ObjectStore
    from aperag_reconciler.settings import RetentionSettings

log = structlog.get_logger(__name__)

SOURCE = "reconciler"
BATCH = 200
FORGET_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Collect:
    """Every part may run twice, at once or after a crash in the middle: each works in batches that are its progress."""

    engine: AsyncEngine
    objects: ObjectStore
    retention: RetentionSettings

    async def run(self) -> None:
        """A part that fails keeps none of the others from its work; the first failure is raised at the end."""
        parts: dict[str, Callable[[], Awaitable[int]]] = {
            "expired": self._expire,
            "forgotten": self._forget,
            "tombstones": self._remove_tombstones,
            "orphans": self._sweep_orphans,
        }
        collected: dict[str, int] = {}
        failure: Exception | None = None
        for name, part in parts.items():
            try:
                collected[name] = await part()
            except (*FAILURES, errors.ApeRAGError) as err:
                log.warning("garbage.uncollected", part=name, error=repr(err))
                failure = failure or err
        if any(collected.values()):
            log.info("garbage.collected", **collected)
        if failure is not None:
            raise failure

    async def _expire(self) -> int:
        """Uploads that nobody confirmed; their objects and rows go with those of deleted documents."""
        total = 0
        while True:
            async with self.engine.begin() as conn:
                expired = await repository.expire_uploads(conn, self.retention.uploaded, limit=BATCH)
                # Left to the sweep of the outbox: nobody waits for what took a day to become true.
                await outbox.record(conn, *[_expired(row) for row in expired])
            total += len(expired)
            if len(expired) < BATCH:
                return total

    async def _forget(self) -> int:
        total = 0
        for statement, age in repository.forgettable(self.retention):
            total += await self._forget_all(partial(repository.forget, statement=statement, age=age))
        for kind, age in transient().items():
            total += await self._forget_all(partial(repository.forget_jobs, kind=kind, age=age))
        return total

    async def _forget_all(self, forget: Callable[..., Awaitable[int]]) -> int:
        total, forgotten = 0, FORGET_BATCH
        while forgotten == FORGET_BATCH:
            async with self.engine.begin() as conn:
                forgotten = await forget(conn, limit=FORGET_BATCH)
            total += forgotten
        return total

    async def _remove_tombstones(self) -> int:
        """Objects first: a row that outlives its objects is found again, an object without a row only by the sweep."""
        total, after = 0, ""
        failures: list[Exception] = []
        while True:
            async with self.engine.connect() as conn:
                found = await repository.tombstones(conn, self.retention.tombstone, after=after, limit=BATCH)
            prefixes = {id_: layout.document_prefix(owner, collection_id, id_) for id_, collection_id, owner in found}
            emptied = await self._emptied(prefixes, failures)
            async with self.engine.begin() as conn:
                await repository.remove_documents(conn, emptied)
            total += len(emptied)
            if len(found) < BATCH:
                break
            after = found[-1][0]
        _raise_first(failures)
        return total

    async def _sweep_orphans(self) -> int:
        removed = 0
        failures: list[Exception] = []
        for owner in await self.objects.prefixes():
            for collection in await self.objects.prefixes(owner):
                prefixes = await self.objects.prefixes(collection)
                removed += await self._remove_orphans(prefixes, failures)
        _raise_first(failures)
        return removed

    async def _remove_orphans(self, prefixes: list[str], failures: list[Exception]) -> int:
        """An upload's bytes come before its row, so only what is older than any request may be judged."""
        by_document = {prefix.rpartition("/")[2]: prefix for prefix in prefixes}
        async with self.engine.connect() as conn:
            living = await repository.living(conn, list(by_document))
        oldest = datetime.now(UTC) - self.retention.orphan_object
        orphans = {
            document_id: prefix
            for document_id, prefix in by_document.items()
            if document_id not in living and await self._untouched_since(prefix, oldest)
        }
        return len(await self._emptied(orphans, failures))

    async def _emptied(self, prefixes: Mapping[str, str], failures: list[Exception]) -> list[str]:
        """Documents whose objects are gone; where those of one cannot be removed, the others' are all the same."""
        emptied: list[str] = []
        for document_id, prefix in prefixes.items():
            try:
                await self.objects.delete_prefix(prefix)
            except (OSError, errors.ApeRAGError) as err:
                log.warning("objects.undeleted", prefix=prefix, error=repr(err))
                failures.append(err)
            else:
                emptied.append(document_id)
        return emptied

    async def _untouched_since(self, prefix: str, oldest: datetime) -> bool:
        changed = await self.objects.last_change(prefix)
        return changed is not None and changed <= oldest


def _expired(row: Row[Any]) -> facts.DocumentExpired:
    data = DocumentData(
        document_id=row.id,
        collection_id=row.collection_id,
        revision=row.revision,
        status=row.status,
        name=row.name,
    )
    return facts.DocumentExpired.of(data, source=SOURCE, subject=row.id, owner=row.owner)


def _raise_first(failures: list[Exception]) -> None:
    """At the end of a part, so that its timer tells of it."""
    if failures:
        raise failures[0]
