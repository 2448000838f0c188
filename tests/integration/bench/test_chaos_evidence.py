"""What is saved of a broken promise holds the rows of the documents that it is about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.chaos.evidence import TABLES, save

from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.factories import make_upload
from aperag_testing.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine


async def test_evidence_of_a_task_holds_the_rows_of_its_document_alone(engine: AsyncEngine, tmp_path: Path) -> None:
    (tmp_path / "home" / "log").mkdir(parents=True)
    async with engine.begin() as conn:
        meant, _other = await make_upload(conn), await make_upload(conn)
    broken = [Finding(Wrong.STUCK, "the task is RUNNING", meant.workflow_id)]
    await save(Stack(tmp_path / "home", {}), engine, broken, tmp_path / "kept")
    rows = json.loads((tmp_path / "kept" / "evidence.json").read_text(encoding="utf-8"))["rows"]
    assert {table: len(rows[table]) for table in TABLES} == {
        "document": 1,
        "job": 3,
        "document_index": 0,
        "chunk": 0,
        "workflow": 1,
        "dead_letter": 0,
        "outbox": 1,
    }
    assert {row["subject_id"] for row in rows["job"]} == {meant.document_id}
