"""Removals: what a deleted document leaves in the indexes, the tables and the object store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aperag_common.objects import ObjectStore, layout
from aperag_indexer.parsing import repository
from aperag_retrieval.ports import FulltextIndex, VectorIndex
from aperag_work.completion import Completed, Completion
from aperag_work.database import Connection
from aperag_work.job import Job


@dataclass(frozen=True, slots=True)
class RemoveDocument:
    """The document's objects and chunks; a tombstone that outlives a failure is cleared by the garbage collection."""

    objects: ObjectStore

    async def run(self, job: Job) -> Completion:
        await self.objects.delete_prefix(layout.prefix_of(job.subject.object_path))
        return Completion()

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        for it in completed:
            await repository.remove_chunks(conn, it.row.subject_id)


@dataclass(frozen=True, slots=True)
class RemoveIndex:
    """What one kind of index holds of a document."""

    index: VectorIndex | FulltextIndex

    async def run(self, _: Job) -> Completion:
        return Completion()

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        for it in completed:
            await self.index.remove(conn, it.row.subject_id)
