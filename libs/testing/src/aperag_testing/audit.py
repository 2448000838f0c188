"""What must hold for a collection once all its work is done, as queries that find whatever breaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_FACTS = {"document.uploaded": 1, "document.parsed": 1, "index.activated": 2, "document.indexed": 1}

BROKEN_BY = {
    "every document is complete": """
        SELECT id, status FROM document WHERE collection_id = :collection AND status <> 'COMPLETE'
    """,
    "no document is there twice": """
        SELECT name, count(*) FROM document WHERE collection_id = :collection GROUP BY name HAVING count(*) <> 1
    """,
    "every step is settled and unleased": """
        SELECT j.subject_id, j.kind, j.status, j.generation, i.served_generation, j.lease_owner FROM job j
        LEFT JOIN document_index i ON i.document_id = j.subject_id AND i.kind = replace(j.kind, 'index.', '')
        WHERE j.collection_id = :collection AND (j.status <> 'ACTIVE' OR j.observed_generation <> j.generation
            OR i.served_generation IS DISTINCT FROM j.generation OR j.lease_token IS NOT NULL
            OR j.lease_until IS NOT NULL)
    """,
    "every document has its three steps": """
        SELECT d.id, count(j.id) FROM document d LEFT JOIN job j ON j.subject_id = d.id
        WHERE d.collection_id = :collection GROUP BY d.id HAVING count(j.id) <> 3
    """,
    "every document has one whole set of chunks": """
        SELECT p.document_id, count(c.id) FROM document_index p
        JOIN document d ON d.id = p.document_id LEFT JOIN chunk c ON c.document_id = p.document_id
        WHERE d.collection_id = :collection AND p.kind = 'parse' GROUP BY p.document_id, p.served_generation, p.data
        HAVING count(c.id) <> (p.data ->> 'chunks')::int OR count(DISTINCT c.ordinal) <> count(c.id)
            OR max(c.ordinal) <> count(c.id) - 1 OR bool_or(c.generation <> p.served_generation)
    """,
    "every chunk has one vector of the served generation": """
        SELECT c.id, count(v.chunk_id) FROM chunk c
        JOIN document_index s ON s.document_id = c.document_id AND s.kind = 'vector'
        LEFT JOIN chunk_vector v ON v.chunk_id = c.id
        WHERE c.collection_id = :collection GROUP BY c.id, s.served_generation
        HAVING count(v.chunk_id) <> 1 OR bool_or(v.generation <> s.served_generation)
    """,
    "every chunk has one set of terms of the served generation": """
        SELECT c.id, count(t.chunk_id) FROM chunk c
        JOIN document_index s ON s.document_id = c.document_id AND s.kind = 'fulltext'
        LEFT JOIN chunk_term t ON t.chunk_id = c.id
        WHERE c.collection_id = :collection GROUP BY c.id, s.served_generation
        HAVING count(t.chunk_id) <> 1 OR bool_or(t.generation <> s.served_generation)
    """,
    "every document has one workflow, which succeeded": """
        SELECT d.id, count(w.id) FROM document d LEFT JOIN workflow w ON w.document_id = d.id
        WHERE d.collection_id = :collection GROUP BY d.id
        HAVING count(w.id) <> 1 OR bool_or(w.status <> 'SUCCESS' OR w.finished IS NULL)
    """,
    "every part of a workflow is done": """
        SELECT s.workflow_id, s.kind, s.outcome FROM workflow_step s JOIN workflow w ON w.id = s.workflow_id
        WHERE w.collection_id = :collection AND s.outcome <> 'done'
    """,
    "every workflow told its end once": """
        SELECT w.id, count(o.id) FROM workflow w LEFT JOIN outbox o
            ON o.payload ->> 'type' = 'document.indexed' AND o.payload -> 'data' ->> 'workflow_id' = w.id
        WHERE w.collection_id = :collection GROUP BY w.id HAVING count(o.id) <> 1
    """,
    "nothing was given up": """
        SELECT l.document_id, l.code, l.message FROM dead_letter l JOIN document d ON d.id = l.document_id
        WHERE d.collection_id = :collection
    """,
}

_TOLD = """
    SELECT d.id, o.payload ->> 'type' AS type, count(*) AS times FROM document d
    JOIN outbox o ON o.payload -> 'data' ->> 'document_id' = d.id
    WHERE d.collection_id = :collection GROUP BY d.id, o.payload ->> 'type'
"""


async def broken_promises(engine: AsyncEngine, collection: str) -> dict[str, list[str]]:
    """Empty where all holds; else the promise and the first rows that break it."""
    found: dict[str, list[str]] = {}
    async with engine.connect() as conn:
        for promise, query in BROKEN_BY.items():
            broken = (await conn.execute(text(query), {"collection": collection})).fetchmany(5)
            if broken:
                found[promise] = [str(row) for row in broken]
        told: dict[str, dict[str, int]] = {}
        for row in await conn.execute(text(_TOLD), {"collection": collection}):
            told.setdefault(row.id, {})[row.type] = row.times
    wrong = [f"{document}: {facts}" for document, facts in told.items() if facts != _FACTS]
    return found | ({"every document told each fact as often as it came true": wrong[:5]} if wrong else {})
