"""A deleted user's purge: waits for the purges of their collections, then leaves nothing, wherever it was interrupted."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_common.bus.delivery import Ack, Nak, Settled
from aperag_common.objects import LocalObjectStore, layout
from aperag_common.testing.factories import make_collection, make_upload, make_user
from aperag_common.testing.waiting import until
from aperag_common.work.dispatch import user_purge_dispatch
from aperag_common.work.driven import DrivenRows
from aperag_common.work.policy import WorkPolicy
from aperag_reconciler.gc import repository as gc
from aperag_reconciler.purge.purge import Purge
from aperag_reconciler.redrive.redrive import Redrive
from aperag_reconciler.settings import RetentionSettings
from aperag_reconciler.users import purge as user_purge
from aperag_reconciler.users.purge import UserPurge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier

DUE = timedelta(seconds=60)
TABLES = text(
    """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name IN ('owner', 'user_id', 'created_by')
    """
)


@pytest.fixture
def rows(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> DrivenRows:
    return DrivenRows(engine, courier, WorkPolicy(), metrics, "tests", source="reconciler")


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


@pytest.fixture
def purge(rows: DrivenRows, objects: LocalObjectStore) -> UserPurge:
    return UserPurge(rows, objects, DUE)


@pytest.fixture
def collections(rows: DrivenRows, objects: LocalObjectStore) -> Purge:
    return Purge(rows, objects)


async def found(engine: AsyncEngine, sql: str, **values: Any) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text(sql), values)).all())


async def execute(engine: AsyncEngine, sql: str, **values: Any) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql), values)


async def told(worker: Any, command: Any) -> Ack | Nak:
    try:
        await worker.handle(command)
    except Settled as settled:
        return settled.settlement
    return Ack()


OWNED = (
    "INSERT INTO search_history (id, owner, collection_id, query, request, items) VALUES ('h' || :n, :user, :other, 'q', '{}', '{}')",
    "INSERT INTO session (id, user_id, expires_at) VALUES ('s' || :n, :user, now() + interval '1 day')",
    "INSERT INTO bot (id, owner, title, description, type, config) VALUES ('b' || :n, :user, 't', '', 'agent', '{}')",
    "INSERT INTO chat (id, owner, bot_id, title, peer_type) VALUES ('c' || :n, :user, 'b' || :n, 't', 'system')",
    """INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, status, generation,
       observed_generation, dispatch, attempt, failures, lane) VALUES ('t' || :n, :user, 'c' || :n, 'b' || :n, 0, 'm', '{}', '{}',
       'q', 'COMPLETE', 1, 1, 1, 1, 0, 'interactive')""",
    """INSERT INTO llm_provider (name, user_id, label, completion_dialect, embedding_dialect, rerank_dialect, allow_custom_base_url,
       base_url) VALUES ('provider' || :n, :user, 'l', 'openai', 'openai', 'jina_ai', false, 'https://a.example')""",
    "INSERT INTO api_key (id, owner, key_hash, key_mask, is_system) VALUES ('k' || :n, :user, 'hash' || :n, 'm', false)",
    "INSERT INTO user_quota (user_id, quota_type) VALUES (:user, 'type' || :n)",
    "INSERT INTO oauth_account (id, user_id, provider, subject) VALUES ('o' || :n, :user, 'acme', 's' || :n)",
    """INSERT INTO invitation (id, email, role, token, token_hash, created_by, expires_at)
       VALUES ('i' || :n, 'a@b.org', 'rw', 't', 'h' || :n, :user, now())""",
    """INSERT INTO idempotency_record (user_id, key, fingerprint) VALUES (:user, 'key' || :n, 'f')""",
    "INSERT INTO prompt_template (id, user_id, type, content) VALUES ('p' || :n, :user, 'type' || :n, 'c')",
    """INSERT INTO dead_letter (id, owner, consumer, subject, attempt, code, message, payload, headers)
       VALUES (gen_random_uuid(), :user, 'c', 's', 1, 'CODE', 'm', '{}', '{}')""",
    """INSERT INTO outbox (id, subject, payload) VALUES (gen_random_uuid(), 'aperag.evt.' || :user || '.document.uploaded', '{}')""",
    """INSERT INTO evaluation (id, owner, name, collection_id, question_set_id, agent_llm_config, judge_llm_config, status, total_questions,
       completed_questions) VALUES ('e' || :n, :user, 'n', :other, 'q', '{}', '{}', 'PENDING', 0, 0)""",
    "INSERT INTO collection_subscription (id, collection_id, user_id) VALUES ('u' || :n, :other, :user)",
)


async def make_everything(engine: AsyncEngine, user: str, other: str, n: str) -> None:
    """A row of everything that a user may own beside collections; ``other`` is another owner's published collection."""
    async with engine.begin() as conn:
        for statement in OWNED:
            values = {"user": user, "n": n, "other": other}
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            await conn.execute(
                text(statement.replace(":user", "CAST(:user AS text)").replace(":n", "CAST(:n AS text)")), named
            )


@pytest_asyncio.fixture
async def doomed(engine: AsyncEngine, objects: LocalObjectStore) -> tuple[str, str, Any]:
    """A deleted user with two collections and a row of everything, another user, and the command."""
    async with engine.begin() as conn:
        user, other = await make_user(conn), await make_user(conn)
        theirs = [await make_collection(conn, owner=user, config={"enable_summary": True}) for _ in range(2)]
        for collection_id in theirs:
            for _ in range(3):
                await make_upload(conn, collection_id=collection_id)
        published = await make_collection(conn, owner=other)
        await make_upload(conn, collection_id=published)
        await conn.execute(text("INSERT INTO collection_sharing (collection_id) VALUES (:id)"), {"id": published})
        await conn.execute(
            text(
                "INSERT INTO audit_log (id, user_id, api_name, http_method, path, start_time, request_id) VALUES ('a', :u, 'n', 'POST', '/', 0, 'r')"
            ),
            {"u": user},
        )
    for owner, n in ((user, "1"), (other, "2")):
        await make_everything(engine, owner, published, n)
    for owner, collection_id in ((user, theirs[0]), (other, published)):
        await objects.put(f"{layout.collection_prefix(owner, collection_id)}/doc1/original.txt", _bytes())
    await execute(engine, "UPDATE users SET is_active = false, deleted_at = now() WHERE id = :id", id=user)
    await execute(
        engine,
        """
        INSERT INTO user_purge (id, owner, status, generation, observed_generation, dispatch, attempt, failures, lane)
        VALUES (:id, :id, 'DELETING', 1, 0, 1, 0, 0, 'bulk')
        """,
        id=user,
    )
    return user, other, user_purge_dispatch(user, user, 1, 1, None, source="api").message


async def _bytes() -> AsyncIterator[bytes]:
    yield b"x"


async def left(engine: AsyncEngine, user: str) -> dict[str, int]:
    """Rows that bear the user's name, by table; what is allowed to stay is not among them."""
    counts: dict[str, int] = {}
    async with engine.connect() as conn:
        for table, column in (await conn.execute(TABLES)).all():
            if table != "audit_log":
                query = text(f"SELECT count(*) FROM {table} WHERE {column} = :user")
                counts[table] = counts.get(table, 0) + (await conn.execute(query, {"user": user})).scalar_one()
        for table, where in (("users", "id = :user"), ("outbox", "subject LIKE '%' || CAST(:user AS text) || '%'")):
            query = text(f"SELECT count(*) FROM {table} WHERE {where}")
            counts[table] = (await conn.execute(query, {"user": user})).scalar_one()
    return {table: count for table, count in counts.items() if count}


async def purge_collections(engine: AsyncEngine, collections: Purge) -> int:
    from aperag_common.work.dispatch import purge_dispatch

    waiting = await found(engine, "SELECT id, owner, generation FROM collection_purge")
    for row in waiting:
        await collections.handle(purge_dispatch(row.id, row.owner, row.generation, 1, None, source="api").message)
    return len(waiting)


async def test_a_purge_waits_for_the_collections_and_then_leaves_nothing_of_the_user_and_all_of_others(
    engine: AsyncEngine, purge: UserPurge, collections: Purge, objects: LocalObjectStore, doomed: Any
) -> None:
    user, other, command = doomed
    before = await left(engine, other)
    assert len(await left(engine, user)) > 15
    assert await told(purge, command) == Nak(user_purge.LOOKS_AGAIN, outcome="waiting")
    assert [row.status for row in await found(engine, "SELECT status FROM collection WHERE owner = :u", u=user)] == [
        "DELETED"
    ] * 2
    [waiting] = await found(engine, "SELECT status, attempt, failures, lease_token FROM user_purge")
    assert tuple(waiting) == ("DELETING", 0, 0, None)
    assert await purge_collections(engine, collections) == 2
    assert await told(purge, command) == Ack()
    assert await left(engine, user) == {}
    assert await left(engine, other) == before
    assert await objects.prefixes() == [layout.owner_prefix(other)]
    assert await found(engine, "SELECT user_id FROM audit_log") == [(user,)]


async def test_waiting_is_no_failure_however_long_it_takes(engine: AsyncEngine, purge: UserPurge, doomed: Any) -> None:
    *_, command = doomed
    for _ in range(20):
        assert (await told(purge, command)).outcome == "waiting"
    [row] = await found(engine, "SELECT status, attempt, failures FROM user_purge")
    assert tuple(row) == ("DELETING", 0, 0)
    assert await found(engine, "SELECT 1 FROM dead_letter WHERE kind = 'user_purge'") == []


async def test_a_purge_that_waits_is_found_by_the_redrive(
    engine: AsyncEngine, purge: UserPurge, courier: Courier, bus: Bus, doomed: Any
) -> None:
    user, _, command = doomed
    await told(purge, command)
    await execute(engine, "UPDATE user_purge SET due_at = clock_timestamp()")
    assert await Redrive(engine, courier, WorkPolicy()).run() >= 1
    pull = await bus.js.pull_subscribe(
        "aperag.cmd.user.purge", durable="reconciler-user-purge", stream="APERAG_COMMANDS"
    )
    [message] = await pull.fetch(1, timeout=30)
    assert json.loads(message.data)["data"] == {"row_id": user, "generation": 1, "user_id": user}


PLACES = (
    "remove_owned:search_history",
    "remove_owned:session",
    "remove_owned:outbox",
    "delete_prefix",
    "remove_user",
)


@pytest.mark.parametrize("place", PLACES)
async def test_a_purge_that_dies_anywhere_is_finished_by_the_next_worker(
    engine: AsyncEngine,
    purge: UserPurge,
    collections: Purge,
    objects: LocalObjectStore,
    doomed: Any,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user, _, command = doomed
    await told(purge, command)
    await purge_collections(engine, collections)
    at, _, table = place.partition(":")
    reached = asyncio.Event()

    async def dies(*given: Any, **named: Any) -> Any:
        if table and table not in given:
            return await original(*given, **named)
        reached.set()
        return await asyncio.Event().wait()

    target: Any = LocalObjectStore if at == "delete_prefix" else user_purge.repository
    original = getattr(target, at)
    with monkeypatch.context() as patch:
        patch.setattr(target, at, dies)
        worker = asyncio.create_task(told(purge, command))
        await asyncio.wait_for(reached.wait(), 30)
        # As if its process was gone: nobody gives the lease back.
        patch.setattr(DrivenRows, "_give_back", lambda *_: asyncio.sleep(0))
        worker.cancel()
        await asyncio.wait([worker])
    assert (await told(purge, command)).outcome == "leased"
    await execute(engine, "UPDATE user_purge SET lease_until = clock_timestamp()")
    assert await told(purge, command) == Ack()
    assert await left(engine, user) == {}


async def test_a_collection_made_while_the_user_was_deleted_goes_too(
    engine: AsyncEngine, purge: UserPurge, collections: Purge, doomed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request had found its caller before the delete, and inserts after the purge has looked."""
    user, _, command = doomed
    await told(purge, command)
    await purge_collections(engine, collections)
    remove_user = user_purge.repository.remove_user

    async def late(conn: Any, user_id: str) -> bool:
        async with engine.begin() as other:
            await make_collection(other, owner=user)
        return await remove_user(conn, user_id)

    with monkeypatch.context() as patch:
        patch.setattr(user_purge.repository, "remove_user", late)
        assert (await told(purge, command)).outcome == "waiting"
    assert len(await found(engine, "SELECT 1 FROM users WHERE id = :id", id=user)) == 1
    assert (await told(purge, command)).outcome == "waiting"
    await purge_collections(engine, collections)
    assert await told(purge, command) == Ack()
    assert await left(engine, user) == {}


async def test_many_rows_go_in_batches(
    engine: AsyncEngine, purge: UserPurge, collections: Purge, doomed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, _, command = doomed
    monkeypatch.setattr(user_purge, "BATCH", 10)
    monkeypatch.setattr(user_purge, "COLLECTIONS", 1)
    await execute(
        engine,
        """
        INSERT INTO outbox (id, subject, payload)
        SELECT gen_random_uuid(), 'aperag.evt.' || CAST(:user AS text) || '.document.parsed', '{}' FROM generate_series(1, 25)
        """,
        user=user,
    )
    await told(purge, command)
    assert await purge_collections(engine, collections) == 2
    assert await told(purge, command) == Ack()
    assert await left(engine, user) == {}


async def test_a_second_command_for_a_purged_user_is_settled(
    engine: AsyncEngine, purge: UserPurge, collections: Purge, doomed: Any
) -> None:
    *_, command = doomed
    await told(purge, command)
    await purge_collections(engine, collections)
    assert await told(purge, command) == Ack()
    assert await told(purge, command) == Ack(outcome="superseded")


async def test_ended_sessions_old_failures_and_old_invitations_are_forgotten(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        user = await make_user(conn)
    for id_, ends in (("old", "- interval '1 second'"), ("new", "+ interval '1 hour'")):
        await execute(
            engine, f"INSERT INTO session (id, user_id, expires_at) VALUES ('{id_}', :u, now() {ends})", u=user
        )
    for id_, ago in (("old", "25 hours"), ("new", "23 hours")):
        await execute(
            engine,
            f"INSERT INTO login_throttle (id, failures, failed_at) VALUES ('{id_}', 1, now() - interval '{ago}')",
        )
    for id_, ago in (("old", "31 days"), ("new", "29 days")):
        await execute(
            engine,
            f"""INSERT INTO invitation (id, email, role, token, token_hash, created_by, expires_at)
                VALUES ('{id_}', 'a@b.org', 'rw', 't', '{id_}', :u, now() - interval '{ago}')""",
            u=user,
        )
    retention = RetentionSettings()
    for kind, age in gc.forgettable(retention).items():
        async with engine.begin() as conn:
            await gc.forget(conn, kind, age, limit=100)
    for table in ("session", "login_throttle", "invitation"):
        assert await found(engine, f"SELECT id FROM {table}") == [("new",)]


async def test_the_whole_way_from_the_row_to_nothing_by_the_reconcilers_own_consumers(
    engine: AsyncEngine, bus: Bus, courier: Courier, doomed: Any, rows: DrivenRows, objects: LocalObjectStore
) -> None:
    from functools import partial

    from aperag_common.bus.worker import Worker, make_broker
    from aperag_common.events.commands import PurgeCollection, PurgeUser
    from aperag_common.work.failures import record_poison

    user, *_ = doomed

    async def purge_user(command: PurgeUser) -> None:
        await UserPurge(rows, objects, DUE).handle(command)

    async def purge_collection(command: PurgeCollection) -> None:
        await Purge(rows, objects).handle(command)

    poison = partial(record_poison, engine, rows.metrics)
    worker = Worker(make_broker(bus.nc.connected_url.geturl()), bus, rows.metrics, poison)
    worker.subscribe("reconciler-purge", purge_collection, slots=2)
    worker.subscribe("reconciler-user-purge", purge_user, slots=1)
    await worker.start()
    try:
        await courier.send([user_purge_dispatch(user, user, 1, 1, None, source="api")])

        async def gone() -> bool:
            return await left(engine, user) == {}

        await until(gone)
    finally:
        await worker.stop()
