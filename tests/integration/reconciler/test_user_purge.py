"""A deleted user's purge: waits for the purges of their collections, then leaves nothing, wherever it was interrupted."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_common.bus.declared import declared_for
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.bus.worker import Worker
from aperag_common.jobs.declared import COLLECTION_PURGE, USER_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_common.objects import LocalObjectStore, layout
from aperag_common.services import Service
from aperag_reconciler.gc import repository as gc
from aperag_reconciler.purge.purge import Purge
from aperag_reconciler.settings import RetentionSettings
from aperag_reconciler.users import purge as user_purge
from aperag_reconciler.users import repository as user_rows
from aperag_reconciler.users.purge import UserPurge
from aperag_testing.factories import make_collection, make_upload, make_user
from aperag_testing.steps import attempt
from aperag_testing.waiting import until
from aperag_work import changes
from aperag_work.claiming import Claims
from aperag_work.engine import Engine
from aperag_work.failures import record_poison
from aperag_work.rows import Dispatch, JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.redrive import Redrive

DUE = timedelta(seconds=60)
TABLES = text(
    """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name IN ('owner', 'user_id', 'created_by')
    """
)


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


@pytest.fixture
def worker(worker: Engine, objects: LocalObjectStore) -> Engine:
    """The reconciler's: it purges collections and users."""
    purge, users = Purge(objects), UserPurge(objects, DUE, "reconciler")
    worker.handle(COLLECTION_PURGE, purge.run, wanted=Wanted.ABSENT, write=purge.write)
    worker.handle(USER_PURGE, users.run, wanted=Wanted.ABSENT)
    return worker


async def found(engine: AsyncEngine, sql: str, **values: Any) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text(sql), values)).all())


async def execute(engine: AsyncEngine, sql: str, **values: Any) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql), values)


OWNED = (
    "INSERT INTO search_history (id, owner, collection_id, query, request, items) VALUES ('h' || :n, :user, :other, 'q', '{}', '{}')",
    "INSERT INTO session (id, user_id, expires_at) VALUES ('s' || :n, :user, now() + interval '1 day')",
    "INSERT INTO bot (id, owner, title, description, type, config) VALUES ('b' || :n, :user, 't', '', 'agent', '{}')",
    "INSERT INTO chat (id, owner, bot_id, title, peer_type) VALUES ('c' || :n, :user, 'b' || :n, 't', 'system')",
    """INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, credential)
       VALUES ('t' || :n, :user, 'c' || :n, 'b' || :n, 0, 'm', '{}', '{}', 'q', 'secret')""",
    """INSERT INTO job (id, kind, subject_id, owner, wanted, lane, status) VALUES ('j' || :n, 'turn', 't' || :n, :user, 'present',
       'interactive', 'ACTIVE')""",
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
    """INSERT INTO webhook_endpoint (id, owner, url, types, secret) VALUES ('wh' || :n, :user, 'https://a.example', '{}', 'v1.x')""",
    """INSERT INTO webhook_delivery (id, endpoint_id, owner, event_id, event_type, payload)
       VALUES ('whd' || :n, 'wh' || :n, :user, 'e', 'document.indexed', '{}')""",
    """INSERT INTO job (id, kind, subject_id, owner, wanted, lane, status) VALUES ('jw' || :n, 'webhook.deliver', 'whd' || :n, :user,
       'present', 'bulk', 'PENDING')""",
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
    async with engine.begin() as conn:
        change = await changes.purge_user(conn, user, first_due=DUE)
    return user, other, change.commands[0].message


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


async def purge_collections(engine: AsyncEngine, worker: Engine) -> int:
    waiting = await found(engine, f"SELECT {columns_of('job')} FROM job WHERE kind = 'collection.purge'")
    for row in waiting:
        assert await attempt(worker, Dispatch(JobRow(*row), "tests").message) == Ack(outcome="done")
    return len(waiting)


async def test_a_purge_waits_for_the_collections_and_then_leaves_nothing_of_the_user_and_all_of_others(
    engine: AsyncEngine, worker: Engine, objects: LocalObjectStore, doomed: Any
) -> None:
    user, other, command = doomed
    before = await left(engine, other)
    assert len(await left(engine, user)) > 15
    assert await attempt(worker, command) == Nak(user_purge.LOOKS_AGAIN, outcome="waiting")
    assert [row.status for row in await found(engine, "SELECT status FROM collection WHERE owner = :u", u=user)] == [
        "DELETED"
    ] * 2
    [waiting] = await found(engine, "SELECT status, attempt, failures, lease_token FROM job WHERE kind = 'user.purge'")
    assert tuple(waiting) == ("DELETING", 0, 0, None)
    assert await purge_collections(engine, worker) == 2
    assert await attempt(worker, command) == Ack(outcome="done")
    assert await left(engine, user) == {}
    assert await left(engine, other) == before
    assert await objects.prefixes() == [layout.owner_prefix(other)]
    assert await found(engine, "SELECT user_id FROM audit_log") == [(user,)]


async def test_waiting_is_no_failure_however_long_it_takes(engine: AsyncEngine, worker: Engine, doomed: Any) -> None:
    *_, command = doomed
    for _ in range(20):
        assert (await attempt(worker, command)).outcome == "waiting"
    [row] = await found(engine, "SELECT status, attempt, failures FROM job WHERE kind = 'user.purge'")
    assert tuple(row) == ("DELETING", 0, 0)
    assert await found(engine, "SELECT 1 FROM dead_letter WHERE kind = 'user.purge'") == []


async def test_a_purge_that_waits_is_found_by_the_redrive(
    engine: AsyncEngine, worker: Engine, redrive: Redrive, bus: Bus, doomed: Any
) -> None:
    user, _, command = doomed
    await attempt(worker, command)
    await execute(engine, "UPDATE job SET due_at = clock_timestamp() WHERE kind = 'user.purge'")
    assert await redrive.run() >= 1
    pull = await bus.js.pull_subscribe(
        "aperag.cmd.user.purge", durable="reconciler-user-purge", stream="APERAG_COMMANDS"
    )
    [message] = await pull.fetch(1, timeout=30)
    assert json.loads(message.data)["data"] == {"row_id": command.data.row_id, "generation": 1, "user_id": user}


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
    worker: Engine,
    objects: LocalObjectStore,
    doomed: Any,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user, _, command = doomed
    await attempt(worker, command)
    await purge_collections(engine, worker)
    at, _, table = place.partition(":")
    reached = asyncio.Event()

    async def dies(*given: Any, **named: Any) -> Any:
        if table and table not in given:
            return await original(*given, **named)
        reached.set()
        return await asyncio.Event().wait()

    target: Any = LocalObjectStore if at == "delete_prefix" else user_rows
    original = getattr(target, at)
    with monkeypatch.context() as patch:
        patch.setattr(target, at, dies)
        working = asyncio.create_task(attempt(worker, command))
        await asyncio.wait_for(reached.wait(), 30)
        # As if its process was gone: nobody gives the lease back.
        patch.setattr(Claims, "give_back", lambda *_: asyncio.sleep(0))
        working.cancel()
        await asyncio.wait([working])
    assert (await attempt(worker, command)).outcome == "leased"
    await execute(engine, "UPDATE job SET lease_until = clock_timestamp() WHERE kind = 'user.purge'")
    assert await attempt(worker, command) == Ack(outcome="done")
    assert await left(engine, user) == {}


async def test_a_collection_made_while_the_user_was_deleted_goes_too(
    engine: AsyncEngine, worker: Engine, doomed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request had found its caller before the delete, and inserts after the purge has looked."""
    user, _, command = doomed
    await attempt(worker, command)
    await purge_collections(engine, worker)
    remove_user = user_rows.remove_user

    async def late(conn: Any, user_id: str) -> bool:
        async with engine.begin() as other:
            await make_collection(other, owner=user)
        return await remove_user(conn, user_id)

    with monkeypatch.context() as patch:
        patch.setattr(user_rows, "remove_user", late)
        assert (await attempt(worker, command)).outcome == "waiting"
    assert len(await found(engine, "SELECT 1 FROM users WHERE id = :id", id=user)) == 1
    assert (await attempt(worker, command)).outcome == "waiting"
    await purge_collections(engine, worker)
    assert await attempt(worker, command) == Ack(outcome="done")
    assert await left(engine, user) == {}


async def test_many_rows_go_in_batches(
    engine: AsyncEngine, worker: Engine, doomed: Any, monkeypatch: pytest.MonkeyPatch
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
    await attempt(worker, command)
    assert await purge_collections(engine, worker) == 2
    assert await attempt(worker, command) == Ack(outcome="done")
    assert await left(engine, user) == {}


async def test_a_second_command_for_a_purged_user_is_settled(engine: AsyncEngine, worker: Engine, doomed: Any) -> None:
    *_, command = doomed
    await attempt(worker, command)
    await purge_collections(engine, worker)
    assert await attempt(worker, command) == Ack(outcome="done")
    assert await attempt(worker, command) == Ack(outcome="superseded")


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
    for statement, age in gc.forgettable(retention):
        async with engine.begin() as conn:
            await gc.forget(conn, statement, age, limit=100)
    for table in ("session", "login_throttle", "invitation"):
        assert await found(engine, f"SELECT id FROM {table}") == [("new",)]


async def test_the_reconcilers_own_consumers_purge_the_user_and_the_collections(
    engine: AsyncEngine, bus: Bus, dispatcher: Dispatcher, job_database: Database, worker: Engine, doomed: Any
) -> None:
    user, *_ = doomed
    poison = partial(record_poison, job_database, worker.metrics)
    consuming = Worker(bus, declared_for(Service.RECONCILER), worker.metrics, poison)
    worker.subscribe(consuming)
    await consuming.start()
    try:
        [row] = await found(engine, f"SELECT {columns_of('job')} FROM job WHERE kind = 'user.purge'")
        await dispatcher.send([Dispatch(JobRow(*row), "tests")])

        async def gone() -> bool:
            return await left(engine, user) == {}

        await until(gone)
    finally:
        await consuming.stop()
