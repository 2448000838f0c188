"""The removal steps: what a deleted document leaves in the indexes, the tables and the object store."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from aperag_common.db.models.document_step import StepKind
from aperag_common.events.commands import RemoveDocument, RemoveIndex
from aperag_common.objects import ObjectStore, layout
from aperag_common.work.claims import Claims
from aperag_retrieval.ports import FulltextIndex, VectorIndex

_REMOVE_CHUNKS = text("DELETE FROM chunk WHERE document_id = :document")


@dataclass(frozen=True, slots=True)
class RemoveStep:
    """Every part may be repeated; a tombstone that outlives a failure is cleared by the garbage collection."""

    claims: Claims
    objects: ObjectStore
    vectors: VectorIndex
    fulltext: FulltextIndex

    async def handle(self, command: RemoveDocument | RemoveIndex) -> None:
        async with self.claims.claim(command) as step:
            document_id = step.row.document_id
            if step.row.kind == StepKind.PARSE:
                await self.objects.delete_prefix(layout.prefix_of(step.subject.object_path))
            async with step.finish() as finishing:
                match step.row.kind:
                    case StepKind.PARSE:
                        await finishing.conn.execute(_REMOVE_CHUNKS, {"document": document_id})
                    case StepKind.VECTOR:
                        await self.vectors.remove(finishing.conn, document_id)
                    case StepKind.FULLTEXT:
                        await self.fulltext.remove(finishing.conn, document_id)
