"""Where the bytes of an event's document lie: brought with it, fetched for it, and at last the document's own."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_api.knowledge.ingest.intake import whole
from aperag_api.knowledge.uploads.names import suffix_of
from aperag_common.db.models import IngestOutcome
from aperag_common.objects import StoredObject, layout
from aperag_work.accepting import NewDocument

if TYPE_CHECKING:
    from aperag_api.knowledge.ingest.references import References
    from aperag_api.knowledge.ingest.repository import EventRow, Target
    from aperag_common.objects import ObjectStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """The document as the event wants it, its bytes in their place."""

    document: NewDocument

    def is_of(self, target: Target) -> bool:
        return (self.document.sha256, self.document.name) == (target.sha256, target.name)


@dataclass(frozen=True, slots=True)
class Contents:
    objects: ObjectStore
    references: References

    async def place(self, event: EventRow, target: Target | None) -> Placed:
        """Beside the bytes of ``target`` where there is one, under a path that no other event and no other bytes use.

        What is fetched may have changed since an earlier attempt, which may still be under way: neither overwrites the
        other's. What is not used goes with the document, or as garbage.
        """
        kept = event.data.get("content")
        brought = await self._fetched(event) if kept is None else StoredObject(**kept)
        name, document_id, path = event.data["name"], event.new_document_id or "", brought.path
        if target is not None:
            document_id, path = target.id, target.object_path
            suffix = suffix_of(name)
            if brought.sha256 != target.sha256 or not path.endswith(suffix):
                path = layout.replacement(layout.prefix_of(path), event.id, brought.sha256, suffix)
                await self.objects.put(path, self.objects.open(brought.path))
        return Placed(
            NewDocument(
                id=document_id,
                collection_id=event.collection_id,
                owner=event.owner,
                name=name,
                size=brought.size,
                sha256=brought.sha256,
                object_path=path,
            )
        )

    async def tidy(self, event: EventRow, placed: Placed, before: Target | None, outcome: IngestOutcome) -> None:
        """Once the change is committed; what a failure leaves here is removed later as garbage."""
        if outcome is IngestOutcome.CREATED:
            return
        try:
            await self.objects.delete_prefix(self._prefix(event))
            if before is not None and before.object_path != placed.document.object_path:
                replaced = outcome is IngestOutcome.REPLACED
                await self.objects.delete(before.object_path if replaced else placed.document.object_path)
        except OSError as err:
            log.warning("ingest.content_left", ingest_id=event.id, error=repr(err))

    async def _fetched(self, event: EventRow) -> StoredObject:
        content = await self.references.fetch(event.data["reference"])
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        path = layout.replacement(self._prefix(event), event.id, sha256, suffix_of(event.data["name"]))
        return await self.objects.put(path, whole(content))

    def _prefix(self, event: EventRow) -> str:
        return layout.document_prefix(event.owner, event.collection_id, event.new_document_id or "")
