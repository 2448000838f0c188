"""Parsing: from bytes to Markdown and chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from aperag_common import errors
from aperag_common.db.session import autocommit
from aperag_common.objects import ObjectMissing, ObjectStore, layout
from aperag_indexer.parsing import repository
from aperag_indexer.parsing.ports import Parser
from aperag_retrieval.chunking import CHUNKER_VERSION, ChunkDraft, ChunkPolicy, ParsedDocument
from aperag_work.aggregate import Served
from aperag_work.completion import Completed, Completion
from aperag_work.database import Connection
from aperag_work.documents import Subject
from aperag_work.job import Job

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parse:
    """``parser`` and ``chunk`` do their work in processes: a large document must not hold up this one's renewals.

    Owners share these processes.
    """

    engine: AsyncEngine
    objects: ObjectStore
    parser: Parser
    policy: ChunkPolicy
    chunk: Callable[[str, ParsedDocument, ChunkPolicy], Awaitable[list[ChunkDraft]]]

    async def run(self, job: Job) -> Completion:
        subject: Subject = job.subject
        artifact = self._artifact(subject)
        if await self._is_current(job.row.subject_id, subject, artifact):
            return Completion((), served=Served(subject.served_generation, subject.served))
        owner = job.row.owner
        parsed = await self.parser.parse(await self._source(subject), name=subject.name, owner=owner)
        drafts = await self.chunk(owner, parsed, self.policy)
        if not drafts:
            message = "The document holds no text to index."
            raise errors.EmptyDocument(message)
        path = layout.parsed(layout.prefix_of(subject.object_path), subject.sha256, self.parser.version)
        await self.objects.put(path, _bytes(parsed.markdown))
        data = {**artifact, "chunks": len(drafts), "markdown": path, "warnings": [asdict(it) for it in parsed.warnings]}
        after = partial(self._drop_replaced, subject.served.get("markdown"), path)
        return Completion(drafts, len(drafts), Served(data=data), after=after)

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        """No drafts: the chunks that are there go on being served."""
        parsed = [it for it in completed if it.result]
        await repository.add_chunks(conn, [(it.row, draft) for it in parsed for draft in it.result])
        await repository.remove_unused_chunks(conn, {it.row.subject_id: it.row.generation for it in parsed})

    async def _drop_replaced(self, before: str | None, now: str) -> None:
        """What stays because of a failure here goes with the document."""
        if before is None or before == now:
            return
        try:
            await self.objects.delete(before)
        except OSError as err:
            log.warning("artifact.undeleted", error=repr(err))

    def _artifact(self, subject: Subject) -> dict[str, Any]:
        """What the chunks were made from and by what: the same again would make the same chunks."""
        chunker = f"{CHUNKER_VERSION}:{self.policy.size}/{self.policy.overlap}"
        return {"sha256": subject.sha256, "parser": self.parser.version, "chunker": chunker}

    async def _is_current(self, document_id: str, subject: Subject, artifact: dict[str, Any]) -> bool:
        if subject.served_generation is None or any(subject.served.get(key) != it for key, it in artifact.items()):
            return False
        async with autocommit(self.engine) as conn:
            return await repository.has_chunks(conn, document_id, subject.served_generation)

    async def _source(self, subject: Subject) -> Path:
        path = self.objects.local_path(subject.object_path)
        if path is None or not await self.objects.exists(subject.object_path):
            message = "The document's bytes are missing from the object store."
            raise ObjectMissing(message)
        return path


async def _bytes(markdown: str) -> AsyncIterator[bytes]:
    yield markdown.encode("utf-8", errors="replace")
