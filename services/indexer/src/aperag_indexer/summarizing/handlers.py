"""The summarize step: a collection's documents become its summary, and its description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.events import facts
from aperag_common.telemetry import propagate
from aperag_common.work import outbox
from aperag_common.work.driven import DrivenRows
from aperag_common.work.driven_tables import SUMMARY
from aperag_common.work.summaries import documents_hash
from aperag_indexer.summarizing import repository
from aperag_indexer.summarizing.ports import CollectionExcerpt, Summarizer

if TYPE_CHECKING:
    from aperag_common.events.commands import SummarizeCollection
    from aperag_common.work.driven import DrivenClaim
    from aperag_common.work.outbox import Fact

MOST_DOCUMENTS = 12
CHUNKS = 4
"""Of each document: what stands first tells what it is about."""


@dataclass(frozen=True, slots=True)
class SummarizeStep:
    rows: DrivenRows
    summarizer: Summarizer

    async def handle(self, command: SummarizeCollection) -> None:
        collection_id = command.data.collection_id
        async with self.rows.claim(SUMMARY, command) as held:
            async with self.rows.engine.begin() as conn:
                title = await repository.begin(conn, held.fence)
                if title is None:
                    raise held.superseded()
                # Before the documents are read: one that changes meanwhile makes another summary due.
                documents, hash_ = await documents_hash(conn, collection_id)
                sample = await repository.excerpts(conn, collection_id, most=MOST_DOCUMENTS, chunks=CHUNKS)
            summary = await self.summarizer.summarize(CollectionExcerpt(title, documents, sample))
            async with held.finish() as ending:
                await repository.write(ending.conn, collection_id, summary, documents, hash_)
                ending.facts.append(_summarized(held, documents))


def _summarized(held: DrivenClaim, documents: int) -> Fact:
    row = held.row
    message = facts.CollectionSummarized(
        source=held.rows.source,
        type=facts.CollectionSummarized.type_name,
        subject=row.id,
        owner=row.owner,
        data=facts.SummaryData(collection_id=row.id, generation=row.generation, documents=documents),
    )
    return outbox.fact(message, propagate.current_traceparent())
