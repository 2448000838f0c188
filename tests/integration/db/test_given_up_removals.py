"""Removals that were given up before there was one table of jobs are removals still, and can be requeued as such."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from aperag_common.db import migrate
from aperag_common.db.session import make_engine
from aperag_common.jobs.kind import kind_of
from aperag_common.settings import PostgresSettings

BEFORE = "0005"
STEP = "generation, observed_generation, dispatch, attempt, failures, due_at, lane"
VALUES = "2, 2, 1, 4, 4, 'infinity', 'bulk'"
ROWS = (
    "INSERT INTO users (id, username, role, is_active) VALUES ('user1', 'u', 'rw', true)",
    """
    INSERT INTO collection (id, owner, title, description, type, status, config, analyzer, active_model)
    VALUES ('col1', 'user1', 't', '', 'document', 'ACTIVE', '{}', 'standard/1', 'local/use-multilingual-v3')
    """,
    """
    INSERT INTO document (id, collection_id, owner, name, status, revision, size, sha256, object_path, details, deleted_at)
    VALUES ('gone', 'col1', 'user1', 'g', 'DELETED', 1, 1, '0', 'p', '{}', now()),
        ('there', 'col1', 'user1', 't', 'FAILED', 1, 1, '0', 'p', '{}', NULL)
    """,
    *(
        f"INSERT INTO document_step (id, document_id, collection_id, owner, kind, status, workflow_id, data, {STEP})"
        f" VALUES ('step-{document}', '{document}', 'col1', 'user1', 'vector', 'FAILED', 'w', '{{}}', {VALUES})"
        for document in ("gone", "there")
    ),
    f"INSERT INTO collection_purge (id, owner, status, {STEP}) VALUES ('col1', 'user1', 'FAILED', {VALUES})",
    f"INSERT INTO user_purge (id, owner, status, {STEP}) VALUES ('user1', 'user1', 'FAILED', {VALUES})",
)


@pytest.mark.parametrize(
    ("subject", "kind", "wanted"),
    [
        ("col1", "collection.purge", "absent"),
        ("user1", "user.purge", "absent"),
        ("gone", "index.vector", "absent"),
        ("there", "index.vector", "present"),
    ],
)
async def test_a_removal_that_was_given_up_stays_one(empty: str, subject: str, kind: str, wanted: str) -> None:
    await migrate.upgrade(empty, BEFORE)
    engine = make_engine(PostgresSettings(url=empty), name="tests")
    async with engine.begin() as conn:
        for statement in ROWS:
            await conn.execute(text(statement))
    await migrate.upgrade(empty)
    async with engine.connect() as conn:
        query = text("SELECT wanted, status FROM job WHERE subject_id = :subject AND kind = :kind")
        job = (await conn.execute(query, {"subject": subject, "kind": kind})).one()
    await engine.dispose()
    assert (job.wanted, job.status) == (wanted, "FAILED")
    assert kind_of(kind).work(job.wanted), "somebody does this when it is requeued"
