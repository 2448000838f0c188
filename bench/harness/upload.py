"""Uploads as a client makes them, and what each of them took."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.harness.arrivals import arrivals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_testing.client import Client
    from bench.corpora.document import CorpusDocument


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Times are ``time.perf_counter``'s; ``indexed`` is when the event stream told of the task's end."""

    document_id: str
    outcome: str
    begun: float
    accepted: float
    indexed: float


async def upload_all(
    client: Client, collection: str, documents: Sequence[CorpusDocument], *, concurrency: int
) -> list[Uploaded]:
    """One request per document, ``concurrency`` of them at a time; returns when the last has ended, in the order given."""
    slots = asyncio.Semaphore(concurrency)

    async def send(document: CorpusDocument) -> tuple[str, str, float, float]:
        async with slots:
            begun = time.perf_counter()
            (accepted,) = await client.upload(collection, {document.name: document.body})
            return accepted["id"], accepted["task_id"], begun, time.perf_counter()

    async with arrivals(client) as told:
        sent = await asyncio.gather(*(send(document) for document in documents))
        await told.all_of([task for _, task, _, _ in sent])
    return [
        Uploaded(document_id, told.outcomes[task], begun, accepted, told.ended[task])
        for document_id, task, begun, accepted in sent
    ]
