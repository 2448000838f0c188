"""Accepting documents, as far as it is the same on both sides: their bytes go to the object store first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aperag_common import ids
from aperag_common.objects import LocalObjectStore, layout
from aperag_work.accepting import NewDocument

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from bench.corpora.document import CorpusDocument
    from bench.ingest.pure import Place

CALLERS = 8
"""Documents accepted at a time."""


class Side(Protocol):
    """One way from an accepted document to an indexed one."""

    async def accept(self, document: NewDocument) -> None:
        """Its rows are committed and its first task is sent."""
        ...


@dataclass(frozen=True, slots=True)
class Intake:
    """``objects`` is the directory that the workers read from, too."""

    side: Side
    place: Place
    objects: Path

    async def accept_all(self, documents: Sequence[CorpusDocument]) -> None:
        left = iter(documents)

        async def caller() -> None:
            for document in left:
                await self.side.accept(await self._store(document))

        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    async def _store(self, document: CorpusDocument) -> NewDocument:
        document_id = str(ids.new_document_id())
        prefix = layout.document_prefix(self.place.owner, self.place.collection, document_id)
        path = layout.original(prefix, document.suffix)
        stored = await LocalObjectStore(self.objects).put(path, once(document.body))
        return NewDocument(
            id=document_id,
            collection_id=self.place.collection,
            owner=self.place.owner,
            name=document.name,
            size=stored.size,
            sha256=stored.sha256,
            object_path=path,
        )


async def once(body: bytes) -> AsyncIterator[bytes]:
    yield body
