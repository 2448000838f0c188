"""The twin's statements: the same tables, with the status checks that the original makes around its tasks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, text

from aperag_common import ids
from aperag_common.bus.topology import BUILT_KINDS
from aperag_common.db.models import Document, DocumentStep
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow
from aperag_common.work.lease import Subject

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.changes import NewDocument

_CLAIM = text(
    f"""
    UPDATE document_step s SET status = 'CREATING', attempt = s.attempt + 1, updated = clock_timestamp()
    FROM document d JOIN collection c ON c.id = d.collection_id
    WHERE s.document_id = :document AND s.kind = :kind AND s.status IN ('PENDING', 'CREATING') AND d.id = :document
    RETURNING {", ".join(f"s.{c}" for c in STEP_COLUMNS.split(", "))},
        d.name, d.object_path, d.sha256, c.analyzer, c.active_model, c.wanted_model, c.config
    """
)

_SETTLE = text(
    """
    UPDATE document_step SET status = 'ACTIVE', observed_generation = generation, served_generation = generation,
        settled_at = clock_timestamp(), updated = clock_timestamp()
    WHERE id = :id AND generation = :generation AND status = 'CREATING'
    """
)

_COMPLETE = text("UPDATE document SET status = 'COMPLETE', updated = clock_timestamp() WHERE id = :document")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A step that this task works on."""

    row: StepRow
    subject: Subject


async def add(conn: AsyncConnection, document: NewDocument) -> None:
    """``due_at`` is never: the stack's reconciler has no business with these rows."""
    await conn.execute(insert(Document), [{**asdict(document), "status": DocumentStatus.PENDING, "details": {}}])
    common = {"document_id": document.id, "collection_id": document.collection_id, "owner": document.owner}
    infinity = text("'infinity'")
    for kind in (StepKind.PARSE, *BUILT_KINDS):
        step = {"id": str(ids.new_step_id()), "kind": kind, "workflow_id": "", **common}
        await conn.execute(insert(DocumentStep).values(due_at=infinity, **step))


async def claim(conn: AsyncConnection, document_id: str, kind: StepKind) -> Claimed | None:
    """None where it is settled already: this is a second delivery."""
    found = (await conn.execute(_CLAIM, {"document": document_id, "kind": kind.value})).mappings().one_or_none()
    if found is None:
        return None
    row = StepRow(**{name: found[name] for name in STEP_COLUMNS.split(", ")})
    return Claimed(row, Subject(**{name: found[name] for name in Subject.__dataclass_fields__}))


async def settle(conn: AsyncConnection, row: StepRow) -> bool:
    """In the transaction that writes the step's rows."""
    done = await conn.execute(_SETTLE, {"id": row.id, "generation": row.generation})
    return bool(done.rowcount)


async def complete(conn: AsyncConnection, document_id: str) -> None:
    await conn.execute(_COMPLETE, {"document": document_id})
