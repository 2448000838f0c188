"""Rows of documents: how they are locked, and which step of a workflow a job of theirs stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_work.database import Statement, driver
from aperag_work.rows import JobRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection


STEP_OF = "replace({kind}, 'index.', '')"
"""In SQL: the workflow's step that a job of this kind stands for."""


# In one order for everybody, so that two transactions never wait for each other.
_LOCKING = """
    SELECT id, collection_id, owner, name, status, revision, deleted_at IS NOT NULL AS deleted
    FROM document WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE
    """


_LOCK = Statement("lock documents", _LOCKING)


_LOCK_FREE = Statement("lock documents that are free", f"{_LOCKING} SKIP LOCKED")


@dataclass(frozen=True, slots=True)
class LockedDocument:
    """A document row held FOR UPDATE by the current transaction."""

    id: str
    collection_id: str
    owner: str
    name: str
    status: str
    revision: int
    deleted: bool


def step_of(row: JobRow) -> str:
    """The workflow's step that the job stands for; also what people and events call its kind."""
    return row.declared.shown


def details_of(row: JobRow) -> dict[str, Any]:
    """What an event about a job says of it."""
    return {"kind": step_of(row), "generation": row.generation, "workflow_id": row.workflow_id}


async def lock(conn: AsyncConnection | Connection, document_id: str) -> LockedDocument | None:
    return (await lock_all(conn, [document_id])).get(document_id)


async def lock_all(
    conn: AsyncConnection | Connection, document_ids: Iterable[str], *, wait: bool = True
) -> dict[str, LockedDocument]:
    """Those that exist, by id; unless ``wait``, only those of them that nobody else holds.

    A transaction over several documents takes all of them first, and with this: locked one after the other, between
    their jobs, they would deadlock with a worker that ends jobs of both.
    """
    rows = await (_LOCK if wait else _LOCK_FREE).fetch(await driver(conn), sorted(set(document_ids)))
    return {row[0]: LockedDocument(*row) for row in rows}
