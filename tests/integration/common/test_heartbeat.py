"""Each process says that it is there, and takes its word back when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from structlog.testing import capture_logs

from aperag_common.bus.worker import ConsumerLoad
from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings
from aperag_testing.waiting import until
from aperag_work.heartbeat import Heartbeat, present

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


async def rows(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text("SELECT * FROM service_instance ORDER BY service, instance"))).all())


async def test_a_process_is_there_while_it_takes_work_and_gone_after(engine: AsyncEngine) -> None:
    loads = [ConsumerLoad("indexer-parse", 8, 2)]
    async with present(engine, "indexer", "indexer-1", lambda: loads):
        [row] = await until(lambda: rows(engine))
    assert (row.service, row.instance, row.started <= row.seen) == ("indexer", "indexer-1", True)
    assert row.consumers == [{"name": "indexer-parse", "slots": 8, "busy": 2}]
    assert row.version
    assert await rows(engine) == []


async def test_a_beat_moves_only_what_was_seen(engine: AsyncEngine) -> None:
    heartbeat = Heartbeat(engine, "indexer", "indexer-1", list)
    await heartbeat.beat()
    [before] = await rows(engine)
    await heartbeat.beat()
    [after] = await rows(engine)
    assert after.started == before.started
    assert after.seen > before.seen


async def test_a_process_that_was_killed_and_comes_back_starts_anew(engine: AsyncEngine) -> None:
    await Heartbeat(engine, "indexer", "indexer-1", list).beat()
    [killed] = await rows(engine)
    await Heartbeat(engine, "indexer", "indexer-1", list).beat()
    [back] = await rows(engine)
    assert back.started > killed.started


async def test_a_process_does_not_take_the_row_of_its_successor_along(engine: AsyncEngine) -> None:
    old, new = Heartbeat(engine, "indexer", "indexer-1", list), Heartbeat(engine, "indexer", "indexer-1", list)
    await old.beat()
    await new.beat()
    await old.leave()
    assert len(await rows(engine)) == 1


async def test_replicas_and_services_of_one_name_are_told_apart(engine: AsyncEngine) -> None:
    for service, instance in (("indexer", "1"), ("indexer", "2"), ("reconciler", "1")):
        await Heartbeat(engine, service, instance, list).beat()
    assert [(row.service, row.instance) for row in await rows(engine)] == [
        ("indexer", "1"),
        ("indexer", "2"),
        ("reconciler", "1"),
    ]


async def test_a_row_that_was_forgotten_comes_back_with_the_next_beat(engine: AsyncEngine) -> None:
    heartbeat = Heartbeat(engine, "indexer", "indexer-1", list)
    await heartbeat.beat()
    [before] = await rows(engine)
    async with engine.begin() as conn:
        await conn.execute(text("DELETE FROM service_instance"))
    await heartbeat.beat()
    assert (await rows(engine))[0].started == before.started


async def test_a_database_that_is_away_harms_nobody() -> None:
    away = make_engine(PostgresSettings(url="postgresql+asyncpg://aperag@127.0.0.1:1/aperag"), name="tests")
    with capture_logs() as lines:
        async with present(away, "indexer", "indexer-1"):

            async def tried() -> bool:
                return any(line["event"] == "instance.heartbeat_failed" for line in lines)

            await until(tried)
    await away.dispose()
