"""Summarizing: a collection's documents become its summary, and its description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aperag_common.events import facts
from aperag_common.events.fact import SummarizedData
from aperag_indexer.summarizing import repository
from aperag_indexer.summarizing.ports import CollectionExcerpt, Summarizer
from aperag_indexer.summarizing.repository import Summary
from aperag_work.completion import Completed, Completion
from aperag_work.database import Connection
from aperag_work.job import Job
from aperag_work.rows import JobRow
from aperag_work.summaries import documents_hash

MOST_DOCUMENTS = 12
CHUNKS = 4
"""Of each document: what stands first tells what it is about."""


@dataclass(frozen=True, slots=True)
class Summarize:
    summarizer: Summarizer
    source: str

    async def run(self, job: Job) -> Completion:
        collection_id = job.row.subject_id
        async with job.transaction() as conn:
            title = await repository.begin(conn, collection_id)
            # Before the documents are read: one that changes meanwhile makes another summary due.
            documents, hash_ = await documents_hash(conn, collection_id)
            sample = await repository.excerpts(conn, collection_id, most=MOST_DOCUMENTS, chunks=CHUNKS)
        text = await self.summarizer.summarize(CollectionExcerpt(title, documents, sample))
        summary = Summary(collection_id, text, documents, hash_)
        return Completion(summary, events=[self._summarized(job.row, documents)])

    async def lock(self, conn: Connection, rows: Sequence[JobRow]) -> None:
        """The collection is locked before the summary's job, as by everybody else."""
        await repository.lock(conn, [row.subject_id for row in rows])

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        for it in completed:
            await repository.write(conn, it.result)

    def _summarized(self, row: JobRow, documents: int) -> facts.CollectionSummarized:
        data = SummarizedData(collection_id=row.subject_id, generation=row.generation, documents=documents)
        return facts.CollectionSummarized.of(data, source=self.source, subject=row.subject_id, owner=row.owner)
