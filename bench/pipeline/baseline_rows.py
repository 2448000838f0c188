"""The baseline's statements: the rows that our engine writes, with the status checks that the original makes around its tasks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

from aperag_common import ids
from aperag_common.db.models import Document
from aperag_common.db.models.base import JobStatus
from aperag_common.db.models.document import DocumentStatus
from aperag_common.jobs.declared import BUILT
from aperag_common.jobs.steps import StepKind
from aperag_work.rows import NAMES, JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.accepting import NewDocument

# The reconciler publishes jobs that are due, and builds that are PENDING although their parse is ACTIVE. The baseline's are
# neither: nobody but its own tasks may work on them.
_ADD_JOBS = text(
    """
    INSERT INTO job (id, kind, subject_id, collection_id, owner, lane, wanted, status, due_at)
    SELECT j.id, j.kind, :document, :collection, :owner, 'bulk', 'present', j.status, 'infinity'
    FROM unnest(CAST(:ids AS text[]), CAST(:kinds AS text[]), CAST(:statuses AS text[])) AS j(id, kind, status)
    """
)

_CLAIM = text(
    f"""
    UPDATE job j SET status = 'CREATING', attempt = j.attempt + 1, updated = clock_timestamp()
    FROM document d JOIN collection c ON c.id = d.collection_id
    WHERE j.subject_id = :document AND j.kind = :kind AND j.status IN ('PENDING', 'CREATING') AND d.id = :document
    RETURNING {columns_of("j")}, d.name, d.object_path, d.sha256, c.analyzer
    """
)

_SETTLE = text(
    """
    WITH settled AS (
        UPDATE job SET status = 'ACTIVE', observed_generation = generation, settled_at = clock_timestamp(),
            updated = clock_timestamp()
        WHERE id = :id AND generation = :generation AND status = 'CREATING'
        RETURNING subject_id, replace(kind, 'index.', '') AS step, generation
    )
    INSERT INTO document_index (document_id, kind, served_generation, data)
    SELECT subject_id, step, generation, CAST(:data AS jsonb) FROM settled
    ON CONFLICT (document_id, kind) DO UPDATE
        SET served_generation = excluded.served_generation, data = excluded.data
    """
)

_COMPLETE = text("UPDATE document SET status = 'COMPLETE', updated = clock_timestamp() WHERE id = :document")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this task works on, with what it needs to know of document and collection."""

    row: JobRow
    name: str
    object_path: str
    sha256: str
    analyzer: str


async def add(conn: AsyncConnection, document: NewDocument) -> None:
    await conn.execute(insert(Document), [{**asdict(document), "status": DocumentStatus.PENDING, "details": {}}])
    statuses = {StepKind.PARSE: JobStatus.PENDING, **dict.fromkeys(BUILT, JobStatus.CREATING)}
    jobs = {
        "document": document.id,
        "collection": document.collection_id,
        "owner": document.owner,
        "ids": [str(ids.new_job_id()) for _ in statuses],
        "kinds": [kind.job for kind in statuses],
        "statuses": [status.value for status in statuses.values()],
    }
    await conn.execute(_ADD_JOBS, jobs)


async def claim(conn: AsyncConnection, document_id: str, kind: StepKind) -> Claimed | None:
    """None where the job is settled already: this is a second delivery."""
    found = (await conn.execute(_CLAIM, {"document": document_id, "kind": kind.job})).one_or_none()
    return None if found is None else Claimed(JobRow(*found[: len(NAMES)]), *found[len(NAMES) :])


async def settle(conn: AsyncConnection, row: JobRow, data: Mapping[str, Any]) -> bool:
    """In the transaction that writes the job's rows; ``data`` is what those were made from and with."""
    values = {"id": row.id, "generation": row.generation, "data": json.dumps(data)}
    return bool((await conn.execute(_SETTLE, values)).rowcount)


async def complete(conn: AsyncConnection, document_id: str) -> None:
    await conn.execute(_COMPLETE, {"document": document_id})
