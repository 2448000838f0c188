"""What is kept for a time only, and what is kept until somebody decides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.objects import LocalObjectStore
from aperag_reconciler.gc.collect import Collect
from aperag_reconciler.settings import RetentionSettings

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

_LETTER = text(
    """
    INSERT INTO dead_letter (id, consumer, subject, attempt, code, message, payload, headers, created, redriven_at)
    VALUES (gen_random_uuid(), 'indexer-parse', 's', 1, 'BUSY', :name, '{}', '{}',
        clock_timestamp() - CAST(:age AS interval), clock_timestamp() - CAST(:redriven AS interval))
    """
)


async def test_only_letters_that_were_redriven_long_ago_are_forgotten(engine: AsyncEngine, tmp_path: Path) -> None:
    year, month = timedelta(days=365), timedelta(days=30)
    letters = [("open", year, None), ("lately", year, month), ("long ago", year, year)]
    async with engine.begin() as conn:
        for name, age, redriven in letters:
            await conn.execute(_LETTER, {"name": name, "age": age, "redriven": redriven})
    collect = Collect(engine, LocalObjectStore(tmp_path), RetentionSettings())
    for _ in range(2):
        await collect.run()
    async with engine.connect() as conn:
        left = await conn.execute(text("SELECT message FROM dead_letter ORDER BY message"))
        assert list(left.scalars()) == ["lately", "open"]


async def test_the_audit_log_is_kept_for_its_time_and_no_longer(engine: AsyncEngine, tmp_path: Path) -> None:
    days = {"now": 0, "lately": 89, "long ago": 91}
    query = text(
        """
        INSERT INTO audit_log (id, api_name, http_method, path, start_time, request_id, created)
        SELECT :name || n, 'login', 'POST', '/api/v1/login', 0, '', clock_timestamp() - CAST(:age AS interval)
        FROM generate_series(1, 3) AS n
        """
    )
    async with engine.begin() as conn:
        for name, age in days.items():
            await conn.execute(query, {"name": name, "age": timedelta(days=age)})
    await Collect(engine, LocalObjectStore(tmp_path), RetentionSettings()).run()
    async with engine.connect() as conn:
        left = await conn.execute(text("SELECT DISTINCT rtrim(id, '123') FROM audit_log ORDER BY 1"))
        assert list(left.scalars()) == ["lately", "now"]
