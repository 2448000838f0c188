"""The schema that knows which bots came with their owners, reached from the one before it with rows in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db import migrate
from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

BEFORE = "0009"
ROWS = (
    "INSERT INTO users (id, username, role, is_active) SELECT 'u' || n, 'u' || n, 'rw', true FROM generate_series(1, 3) n",
    """
    INSERT INTO bot (id, owner, title, description, type, config, created) VALUES
        ('b1', 'u1', 'Default Agent Bot', '', 'agent', '{}', '2026-01-01T00:00Z'),
        ('b2', 'u1', 'Default Agent Bot', '', 'agent', '{}', '2026-01-02T00:00Z'),
        ('b3', 'u1', 'Tea', '', 'agent', '{}', '2026-01-03T00:00Z'),
        ('b4', 'u2', 'Tea', '', 'agent', '{}', '2026-01-01T00:00Z'),
        ('b5', 'u2', 'Default Agent Bot', '', 'agent', '{}', '2026-01-02T00:00Z'),
        ('b6', 'u3', 'Default Agent Bot', '', 'knowledge', '{}', '2026-01-01T00:00Z')
    """,
    """
    INSERT INTO audit_log (id, api_name, http_method, path, start_time, request_id)
    SELECT name, name, 'POST', '/', 0, '' FROM unnest(ARRAY['create_api_key', 'update_llm_provider', 'login']) AS t(name)
    """,
)


async def test_bots_that_came_with_their_owners_are_told_from_others_and_operations_have_one_style(empty: str) -> None:
    await migrate.upgrade(empty, BEFORE)
    engine = make_engine(PostgresSettings(url=empty), name="tests")

    async def names(sql: str) -> Sequence[str]:
        async with engine.connect() as conn:
            return list((await conn.execute(text(sql))).scalars())

    async with engine.begin() as conn:
        for statement in ROWS:
            await conn.execute(text(statement))
    await migrate.upgrade(empty)
    provided = await names("SELECT id FROM bot WHERE provided")
    operations = await names("SELECT api_name FROM audit_log ORDER BY id")
    await engine.dispose()
    assert provided == ["b1"]
    assert operations == ["CreateApiKey", "Login", "UpdateLLMProvider"]
