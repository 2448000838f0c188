"""A purge that cannot be done ends FAILED, and goes on with the rest when it is run again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.jobs.declared import COLLECTION_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_common.objects import LocalObjectStore
from aperag_reconciler.purge import purge as purge_module
from aperag_reconciler.purge import repository as purge_rows
from aperag_reconciler.purge.purge import Purge
from aperag_testing import steps
from aperag_testing.factories import ADMISSION, make_collection, make_upload
from aperag_work import changes, requeue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.delivery import Settlement
    from aperag_common.events.commands import JobCommand
    from aperag_common.objects.port import ObjectStore
    from aperag_work.engine import Engine

DUE = timedelta(seconds=60)


class Away(LocalObjectStore):
    """A store that does not answer."""

    async def delete_prefix(self, prefix: str) -> None:
        message = f"{prefix} cannot be reached"
        raise errors.UpstreamUnavailable(message)


@pytest.fixture
def attempt(worker: Engine) -> Callable[[ObjectStore, JobCommand], Awaitable[Settlement]]:
    """One attempt with this store, and what its message is told."""

    async def attempt(objects: ObjectStore, command: JobCommand) -> Settlement:
        purge = Purge(objects)
        worker.handle(COLLECTION_PURGE, purge.run, wanted=Wanted.ABSENT, write=purge.write)
        return await steps.attempt(worker, command)

    return attempt


async def found(engine: AsyncEngine, sql: str) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text(sql))).all())


async def doomed(engine: AsyncEngine, documents: int) -> JobCommand:
    """The command that purges a collection of so many documents."""
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        for _ in range(documents):
            await make_upload(conn, collection_id=collection_id)
        owner = (await conn.execute(text("SELECT owner FROM collection"))).scalar_one()
        change = await changes.purge_collection(conn, collection_id, owner, first_due=DUE)
    return change.commands[0].message


async def test_a_purge_that_cannot_be_done_ends_failed_with_a_letter_and_goes_on_when_it_is_requeued(
    engine: AsyncEngine, attempt: Any, tmp_path: Path
) -> None:
    command = await doomed(engine, documents=3)
    answers = [await attempt(Away(tmp_path), command) for _ in range(4)]
    assert [type(it) for it in answers] == [Nak, Nak, Nak, Ack]
    assert answers[-1] == Ack(outcome="failed")
    [letter] = await found(engine, "SELECT kind, code, failures FROM dead_letter")
    assert (letter.kind, letter.code, letter.failures) == ("collection.purge", "UPSTREAM_UNAVAILABLE", 4)
    assert await found(engine, "SELECT 1 FROM document") == []
    async with engine.begin() as conn:
        letters = list((await conn.execute(text("SELECT id FROM dead_letter"))).scalars())
        again = await requeue.requeue(conn, letters, ADMISSION)
    [dispatch] = again.changes[0].commands
    assert await attempt(LocalObjectStore(tmp_path), dispatch.message) == Ack(outcome="done")
    gone = "SELECT 1 FROM job WHERE kind = 'collection.purge' UNION ALL SELECT 1 FROM collection"
    assert await found(engine, gone) == []


async def test_a_purge_that_loses_its_lease_between_batches_removes_no_more(
    engine: AsyncEngine, attempt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_module, "BATCH", 1)
    command = await doomed(engine, documents=3)
    removed = 0
    remove = purge_rows.remove_documents

    async def taken_over(conn: Any, collection_id: str, *, limit: int) -> int:
        nonlocal removed
        if removed == 1:
            async with engine.begin() as other:
                await other.execute(text("UPDATE job SET lease_token = 'other' WHERE kind = 'collection.purge'"))
        removed += 1
        return await remove(conn, collection_id, limit=limit)

    monkeypatch.setattr(purge_rows, "remove_documents", taken_over)
    assert await attempt(LocalObjectStore(tmp_path), command) == Ack(outcome="superseded")
    assert len(await found(engine, "SELECT 1 FROM document")) == 2
    assert len(await found(engine, "SELECT 1 FROM collection")) == 1


async def test_a_purge_removes_large_documents_in_smaller_batches_and_tasks_in_batches_too(
    engine: AsyncEngine, attempt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_module, "BATCH", 4)
    monkeypatch.setattr(purge_module, "WORKFLOW_BATCH", 2)
    monkeypatch.setattr(purge_rows, "MOST_CHUNKS", 10)
    command = await doomed(engine, documents=6)
    async with engine.begin() as conn:
        ids = list((await conn.execute(text("SELECT id FROM document ORDER BY id"))).scalars())
        for document_id, chunks in zip(ids, (99, 6, 6, None, 1, 1), strict=True):
            await conn.execute(
                text("INSERT INTO document_index VALUES (:id, 'parse', 1, CAST(:d AS jsonb))"),
                {"id": document_id, "d": "{}" if chunks is None else f'{{"chunks": {chunks}}}'},
            )
    removed: dict[str, list[int]] = {"remove_documents": [], "remove_workflows": []}

    def noted(name: str) -> Any:
        remove = getattr(purge_rows, name)

        async def note(conn: Any, collection_id: str, *, limit: int) -> int:
            removed[name].append(await remove(conn, collection_id, limit=limit))
            return removed[name][-1]

        return note

    for name in removed:
        monkeypatch.setattr(purge_rows, name, noted(name))
    assert await attempt(LocalObjectStore(tmp_path), command) == Ack(outcome="done")
    assert removed == {"remove_documents": [1, 2, 3, 0], "remove_workflows": [2, 2, 2, 0]}
    for table in ("document", "document_index", "workflow", "workflow_step", "collection", "job"):
        assert await found(engine, f"SELECT 1 FROM {table}") == []
