"""Truth: a row of an index counts once its generation is served and its document and collection live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Row,
    Select,
    Subquery,
    and_,
    bindparam,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_common.db.models import Chunk, Collection, CollectionStatus, Document, DocumentIndex
from aperag_common.jobs.steps import StepKind
from aperag_retrieval.ports import Candidate, IndexTarget
from aperag_work.database import Statement

# Rows that no longer count are removed by the transaction that replaces them, so few stand between the best ones.
SURPLUS = 32


def served(found: Subquery, kind: StepKind) -> Select[tuple[str, str, str, float, bool]]:
    """Every found row, and whether it counts; ``found`` has chunk_id, document_id, collection_id, generation, score.

    The parameter ``chat_id`` says whose files count: one chat's, or with None those of no chat.
    """
    counts = and_(DocumentIndex.document_id.is_not(None), Document.id.is_not(None), Collection.id.is_not(None))
    return (
        select(
            found.c.chunk_id,
            found.c.document_id,
            Chunk.text_hash,
            type_coerce(found.c.score, Float).label("score"),
            counts.label("counts"),
        )
        .join(Chunk, Chunk.id == found.c.chunk_id)
        .outerjoin(DocumentIndex, _serves(found, kind))
        .outerjoin(
            Document,
            and_(
                Document.id == found.c.document_id,
                Document.deleted_at.is_(None),
                Document.chat_id.is_not_distinct_from(bindparam("chat_id", type_=Document.chat_id.type)),
            ),
        )
        .outerjoin(
            Collection, and_(Collection.id == found.c.collection_id, Collection.status == CollectionStatus.ACTIVE)
        )
        .order_by(found.c.score.desc(), found.c.chunk_id)
    )


async def candidates(
    conn: AsyncConnection, statement: Select[tuple[str, str, str, float, bool]], parameters: dict[str, Any]
) -> tuple[list[Candidate], int]:
    """Those that count, best first, and how many rows the index gave in all."""
    rows: Sequence[Row[tuple[str, str, str, float, bool]]] = (await conn.execute(statement, parameters)).all()
    return [Candidate(row[0], row[1], row[2], row[3]) for row in rows if row[4]], len(rows)


def removal_of_other_generations(table: str) -> Statement:
    """Of documents ($1), keeping of each the one of the generations ($2) at its place."""
    return Statement(
        f"remove stale rows of {table}",
        f"""
        DELETE FROM {table} r USING unnest($1::text[], $2::int[]) AS kept(document_id, generation)
        WHERE r.document_id = kept.document_id AND r.generation <> kept.generation RETURNING 1
        """,
    )


def kept(targets: Sequence[IndexTarget]) -> tuple[list[str], list[int]]:
    """The arguments of such a removal."""
    return [t.document_id for t in targets], [t.generation for t in targets]


def _serves(found: Subquery, kind: StepKind) -> ColumnElement[bool]:
    return and_(
        DocumentIndex.document_id == found.c.document_id,
        DocumentIndex.kind == kind.value,
        DocumentIndex.served_generation == found.c.generation,
    )
