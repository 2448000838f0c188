"""The garbage collection: each part resumes where it was stopped, and none keeps another from its work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, text

from aperag_common.db.models import ServiceInstance, Timer
from aperag_common.objects import LocalObjectStore
from aperag_reconciler.gc import collect as collect_module
from aperag_reconciler.gc import repository
from aperag_reconciler.gc.collect import Collect
from aperag_reconciler.settings import RetentionSettings
from aperag_testing.factories import make_collection, make_upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


@pytest.fixture
def collect(engine: AsyncEngine, objects: LocalObjectStore, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """With batches so small that everything takes several."""
    monkeypatch.setattr(collect_module, "BATCH", 2)
    monkeypatch.setattr(collect_module, "FORGET_BATCH", 2)
    return Collect(engine, objects, RetentionSettings())


async def rows(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.begin() as conn:
        result = await conn.execute(text(sql), parameters)
        return list(result.all()) if result.returns_rows else []


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def staged(engine: AsyncEngine, objects: LocalObjectStore, count: int) -> None:
    """Uploads that were not confirmed for 25 hours, with their bytes."""
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        for _ in range(count):
            await make_upload(conn, collection_id=collection_id)
    await rows(engine, "DELETE FROM job")
    await rows(engine, "UPDATE document SET status = 'UPLOADED', created = created - interval '25 hours'")
    for row in await rows(engine, "SELECT object_path FROM document"):
        await objects.put(row.object_path, body(b"x"))


async def statuses(engine: AsyncEngine) -> list[str]:
    return [row.status for row in await rows(engine, "SELECT status FROM document")]


async def test_an_upload_nobody_confirmed_expires_and_then_goes_with_its_bytes(
    engine: AsyncEngine, objects: LocalObjectStore, collect: Collect
) -> None:
    await staged(engine, objects, 5)
    paths = [row.object_path for row in await rows(engine, "SELECT object_path FROM document")]
    await collect.run()
    assert await statuses(engine) == ["EXPIRED"] * 5
    await rows(engine, "UPDATE document SET updated = updated - interval '11 min'")
    await collect.run()
    assert await statuses(engine) == []
    assert not [path for path in paths if await objects.exists(path)]


async def test_an_upload_that_is_being_confirmed_does_not_expire(
    engine: AsyncEngine, objects: LocalObjectStore, collect: Collect
) -> None:
    await staged(engine, objects, 3)
    async with engine.begin() as confirming:
        await confirming.execute(text("SELECT 1 FROM document WHERE id = (SELECT min(id) FROM document) FOR UPDATE"))
        await collect.run()
        assert sorted(await statuses(engine)) == ["EXPIRED", "EXPIRED", "UPLOADED"]


async def test_several_at_once_collect_everything(
    engine: AsyncEngine, objects: LocalObjectStore, collect: Collect
) -> None:
    await staged(engine, objects, 7)
    await asyncio.gather(*(collect.run() for _ in range(3)))
    await collect.run()
    assert set(await statuses(engine)) == {"EXPIRED"}
    await rows(engine, "UPDATE document SET updated = updated - interval '11 min'")
    await asyncio.gather(*(collect.run() for _ in range(3)))
    assert await statuses(engine) == []


async def test_timers_and_processes_not_seen_for_a_day_are_forgotten(engine: AsyncEngine, collect: Collect) -> None:
    instance = {"service": "indexer", "version": "1", "consumers": []}
    async with engine.begin() as conn:
        for name in ("old-1", "old-2", "old-3", "new"):
            await conn.execute(insert(ServiceInstance), [{**instance, "instance": name}])
            await conn.execute(insert(Timer), [{"name": name, "period_seconds": 60}])
        await conn.execute(insert(Timer), [{"name": "weekly", "period_seconds": 7 * 86400}])
    await rows(engine, "UPDATE timer SET started_at = clock_timestamp(), finished_at = clock_timestamp()")
    long_ago = "clock_timestamp() - interval '25 hours'"
    await rows(engine, f"UPDATE timer SET started_at = {long_ago}, finished_at = {long_ago} WHERE name <> 'new'")
    await rows(engine, f"UPDATE service_instance SET seen = {long_ago} WHERE instance <> 'new'")
    await collect.run()
    assert [row.name for row in await rows(engine, "SELECT name FROM timer ORDER BY name")] == ["new", "weekly"]
    assert [row.instance for row in await rows(engine, "SELECT instance FROM service_instance")] == ["new"]


async def test_old_events_and_tasks_are_forgotten_in_batches(engine: AsyncEngine, collect: Collect) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        for _ in range(5):
            await make_upload(conn, collection_id=collection_id)
    await rows(
        engine,
        "UPDATE outbox SET created = created - interval '8 days', relayed = clock_timestamp() - interval '7 days 1 s'",
    )
    await rows(engine, "UPDATE workflow SET finished = clock_timestamp() - interval '31 days'")
    async with engine.begin() as conn:
        await make_upload(conn, collection_id=collection_id)
    await collect.run()
    assert len(await rows(engine, "SELECT 1 FROM outbox")) == 1
    assert len(await rows(engine, "SELECT 1 FROM workflow")) == 1


async def test_a_part_that_fails_keeps_no_other_from_its_work(
    engine: AsyncEngine, objects: LocalObjectStore, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    await staged(engine, objects, 1)
    await rows(
        engine,
        "UPDATE outbox SET created = created - interval '8 days', relayed = clock_timestamp() - interval '7 days 1 s'",
    )

    async def fail(*_: object, **__: object) -> int:
        message = "the database is away"
        raise OSError(message)

    monkeypatch.setattr(repository, "expire_uploads", fail)
    with pytest.raises(OSError, match="away"):
        await collect.run()
    assert await rows(engine, "SELECT 1 FROM outbox") == []


async def test_kept_answers_are_forgotten_after_a_day(engine: AsyncEngine, collect: Collect) -> None:
    await rows(engine, "INSERT INTO users (id, username, role, is_active) VALUES ('u', 'u', 'rw', true)")
    for key, ago in (("a", "25 hours"), ("b", "25 hours"), ("c", "25 hours"), ("new", "23 hours")):
        await rows(
            engine,
            f"""
            INSERT INTO idempotency_record (user_id, key, fingerprint, created)
            VALUES ('u', :key, 'f', now() - interval '{ago}')
            """,
            key=key,
        )
    await collect.run()
    assert await rows(engine, "SELECT key FROM idempotency_record") == [("new",)]


async def test_objects_that_cannot_be_removed_keep_no_others_from_it_and_are_told_of(
    engine: AsyncEngine, objects: LocalObjectStore, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    await staged(engine, objects, 7)
    await collect.run()
    await rows(engine, "UPDATE document SET updated = updated - interval '11 min'")
    ids = sorted(row.id for row in await rows(engine, "SELECT id FROM document"))
    stuck = ids[:3]  # more than a batch, and before all others
    remove = objects.delete_prefix

    async def refuse(prefix: str) -> None:
        if prefix.rpartition("/")[2] in stuck:
            raise PermissionError(prefix)
        await remove(prefix)

    monkeypatch.setattr(objects, "delete_prefix", refuse)
    with pytest.raises(PermissionError):
        await collect.run()
    assert sorted(row.id for row in await rows(engine, "SELECT id FROM document")) == stuck
    monkeypatch.undo()
    await collect.run()
    assert await statuses(engine) == []
