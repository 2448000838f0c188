"""What a person needs who looks for the cause of a broken promise, saved before the stack is removed."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.chaos.finding import Finding
    from aperag_testing.stack import Stack

_DOCUMENTS = text(
    """
    SELECT DISTINCT document_id FROM (
        SELECT id AS document_id, id AS subject FROM document
        UNION ALL SELECT document_id, document_id FROM workflow UNION ALL SELECT document_id, id FROM workflow
        UNION ALL SELECT payload -> 'data' ->> 'document_id', id::text FROM outbox) AS known
    WHERE subject = ANY(:subjects)
    """
)
TABLES = {
    "document": "id",
    "job": "subject_id",
    "document_index": "document_id",
    "chunk": "document_id",
    "workflow": "document_id",
    "dead_letter": "document_id",
    "outbox": "payload -> 'data' ->> 'document_id'",
}


async def save(stack: Stack, engine: AsyncEngine, broken: Sequence[Finding], folder: Path) -> None:
    """Every process' log, and the rows of the documents that the findings name."""
    await asyncio.to_thread(shutil.copytree, stack.home / "log", folder / "log", dirs_exist_ok=True)
    rows: dict[str, list[object]] = {}
    async with engine.connect() as conn:
        subjects = {"subjects": [finding.subject for finding in broken]}
        documents = list((await conn.execute(_DOCUMENTS, subjects)).scalars())
        for table, column in TABLES.items():
            query = text(f"SELECT to_jsonb(t) FROM {table} t WHERE {column} = ANY(:documents)")
            rows[table] = list((await conn.execute(query, {"documents": documents})).scalars())
    told = [f"{finding.wrong} {finding.subject}: {finding.what}" for finding in broken]
    evidence = json.dumps({"findings": told, "rows": rows}, ensure_ascii=False, indent=1)
    await asyncio.to_thread((folder / "evidence.json").write_text, evidence, encoding="utf-8")
