"""Two transactions that meet at one document: the order is forced with locks, and each order has one right end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.db.models.workflow import WorkflowStatus
from aperag_testing.factories import make_collection, new_document
from aperag_testing.steps import DUE, Gate, until_blocked
from aperag_work import cancel, changes
from aperag_work.change import Change
from aperag_work.policy import WorkPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.events.commands import JobCommand
    from aperag_common.metrics import Metrics
    from aperag_testing.steps import MakeWorker, Steps
    from aperag_work.database import Connection
    from aperag_work.engine import Engine

SUPERSEDED = Ack(outcome="superseded")


@pytest.fixture
def zombie(make_worker: MakeWorker) -> Engine:
    """Its leases end as they begin, so that anyone may take over while it goes on working."""
    return make_worker("zombie", WorkPolicy(lease=timedelta(0)))


async def change_first(
    steps: Steps, change: Callable[[AsyncConnection], Awaitable[object]], then: Awaitable[object]
) -> object:
    """``then`` comes while the transaction of ``change`` is open, waits for it, and sees what it did."""
    async with steps.engine.begin() as conn:
        await change(conn)
        waiting = asyncio.ensure_future(then)
        await until_blocked(steps.engine)
    async with asyncio.timeout(30):
        return await waiting


async def complete_first(steps: Steps, message: JobCommand, then: Awaitable[object]) -> object:
    """``then`` comes while the completion of ``message`` is open, and waits for it."""
    gate = Gate()
    completing = asyncio.create_task(steps.work(message, ending=gate))
    await gate.until_reached()
    waiting = asyncio.ensure_future(then)
    await until_blocked(steps.engine)
    gate.open()
    assert await completing == Ack()
    async with asyncio.timeout(30):
        return await waiting


async def parsed(steps: Steps) -> Change:
    change = await steps.upload()
    await steps.complete(change.document_id, "parse")
    return change


async def almost_complete(steps: Steps) -> Change:
    """Only the full-text index is missing."""
    change = await steps.upload()
    await steps.complete(change.document_id, "parse", "vector")
    return change


async def test_of_two_completions_that_meet_the_second_closes_the_task(steps: Steps) -> None:
    change = await parsed(steps)
    vector, fulltext = [await steps.command(change.document_id, kind) for kind in ("vector", "fulltext")]
    assert await complete_first(steps, vector, steps.work(fulltext)) == Ack()
    assert await steps.told() == {change.workflow_id: ["SUCCESS"]}
    assert await steps.document_status(change.document_id) == "COMPLETE"


async def test_a_success_committed_first_refuses_the_cancel(steps: Steps) -> None:
    change = await almost_complete(steps)
    last = await steps.command(change.document_id, "fulltext")
    answer = await complete_first(steps, last, steps.cancel(change.workflow_id))
    assert answer == cancel.AlreadySettled(WorkflowStatus.SUCCESS)
    assert await steps.told() == {change.workflow_id: ["SUCCESS"]}
    assert set((await steps.statuses(change.document_id)).values()) == {"ACTIVE"}


async def test_a_cancel_committed_first_leaves_nothing_of_the_success(steps: Steps, metrics: Metrics) -> None:
    change = await almost_complete(steps)
    gate = Gate()
    late = asyncio.create_task(
        steps.work(await steps.command(change.document_id, "fulltext"), during=gate, ending=rename)
    )
    await gate.until_reached()

    async def cancelling(conn: AsyncConnection) -> None:
        await steps.cancel_in(conn, change.workflow_id)
        gate.open()

    assert await change_first(steps, cancelling, late) == SUPERSEDED
    assert await steps.told() == {change.workflow_id: ["CANCELLED"]}
    assert await steps.statuses(change.document_id) == {"parse": "ACTIVE", "vector": "ACTIVE", "fulltext": "FAILED"}
    assert await steps.column("SELECT name FROM document WHERE name = 'late'") == []
    assert metrics.registry.get_sample_value("aperag_fence_rejects_total", {"kind": "index.fulltext"}) == 1


async def rename(conn: Connection) -> None:
    """A write of the late worker that nobody may ever see."""
    await conn.execute("UPDATE document SET name = 'late'")


async def test_a_cancelled_parse_takes_its_waiting_builds_with_it_also_when_it_was_about_to_end(steps: Steps) -> None:
    change = await steps.upload()
    gate = Gate()
    late = asyncio.create_task(steps.work(await steps.command(change.document_id), during=gate))
    await gate.until_reached()

    async def cancelling(conn: AsyncConnection) -> None:
        await steps.cancel_in(conn, change.workflow_id)
        gate.open()

    assert await change_first(steps, cancelling, late) == SUPERSEDED
    assert set((await steps.statuses(change.document_id)).values()) == {"FAILED"}
    assert await steps.column("SELECT 1 FROM job WHERE due_at < 'infinity'") == []


async def test_a_delete_that_comes_during_a_completion_wins_after_it(steps: Steps) -> None:
    change = await parsed(steps)
    message = await steps.command(change.document_id, "vector")
    deleted = await complete_first(steps, message, steps.delete(change.document_id))
    assert isinstance(deleted, Change)
    assert await steps.told() == {change.workflow_id: ["SUPERSEDED"]}  # one index was built, the other superseded
    assert set((await steps.statuses(change.document_id)).values()) == {"DELETING"}
    for removal in deleted.commands:
        assert await steps.work(removal.message) == Ack()
    assert await steps.statuses(change.document_id) == dict.fromkeys(("parse", "vector", "fulltext"), "DELETED")
    assert await steps.document_status(change.document_id) == "DELETED"


async def test_a_build_that_ends_during_a_delete_writes_nothing(steps: Steps) -> None:
    change = await parsed(steps)
    gate = Gate()
    late = asyncio.create_task(steps.work(await steps.command(change.document_id, "vector"), during=gate))
    await gate.until_reached()

    async def deleting(conn: AsyncConnection) -> None:
        await changes.delete(conn, change.document_id, first_due=DUE)
        gate.open()

    assert await change_first(steps, deleting, late) == SUPERSEDED
    assert await steps.document_status(change.document_id) == "DELETED"
    assert await steps.told() == {change.workflow_id: ["SUPERSEDED"]}


async def test_a_rebuild_supersedes_a_completion_that_waits_for_the_document(steps: Steps) -> None:
    first = await almost_complete(steps)
    gate = Gate()
    late = asyncio.create_task(steps.work(await steps.command(first.document_id, "fulltext"), during=gate))
    await gate.until_reached()
    raised: list[Change] = []

    async def rebuilding(conn: AsyncConnection) -> None:
        raised.append(await steps.rebuild_in(conn, first.document_id))
        gate.open()

    assert await change_first(steps, rebuilding, late) == SUPERSEDED
    await steps.complete(first.document_id)
    assert await steps.told() == {first.workflow_id: ["SUPERSEDED"], raised[0].workflow_id: ["SUCCESS"]}
    served = "SELECT DISTINCT served_generation FROM document_index WHERE document_id = :d"
    assert await steps.column(served, d=first.document_id) == [2]


async def test_a_rebuild_that_waits_for_the_last_completion_leaves_its_task_a_success(steps: Steps) -> None:
    first = await almost_complete(steps)
    last = await steps.command(first.document_id, "fulltext")
    second = await complete_first(steps, last, steps.rebuild(first.document_id))
    assert isinstance(second, Change)
    assert await steps.told() == {first.workflow_id: ["SUCCESS"]}
    await steps.complete(first.document_id)
    assert await steps.told() == {first.workflow_id: ["SUCCESS"], second.workflow_id: ["SUCCESS"]}


async def test_of_two_rebuilds_at_once_the_later_one_is_built(steps: Steps) -> None:
    upload = await steps.upload()
    await steps.complete(upload.document_id)
    raised: list[Change] = []

    async def rebuilding(conn: AsyncConnection) -> None:
        raised.append(await steps.rebuild_in(conn, upload.document_id))

    second = await change_first(steps, rebuilding, steps.rebuild(upload.document_id))
    assert isinstance(second, Change)
    await steps.complete(upload.document_id)
    told = await steps.told()
    assert (told[raised[0].workflow_id], told[second.workflow_id]) == (["SUPERSEDED"], ["SUCCESS"])
    assert await steps.column("SELECT DISTINCT generation FROM job") == [3]


@pytest.mark.parametrize("change", ["delete", "cancel", "rebuild"])
async def test_a_claim_that_comes_during_a_change_takes_nothing_of_the_older_generation(
    steps: Steps, change: str
) -> None:
    """It waits for no lock: it comes back, and then finds what it wanted superseded."""
    upload = await steps.upload()
    message = await steps.command(upload.document_id)
    async with steps.engine.begin() as conn:
        if change == "delete":
            await changes.delete(conn, upload.document_id, first_due=DUE)
        elif change == "cancel":
            await steps.cancel_in(conn, upload.workflow_id)
        else:
            await steps.rebuild_in(conn, upload.document_id)
        async with asyncio.timeout(30):
            assert isinstance(await steps.work(message), Nak)
    assert await steps.work(message) == SUPERSEDED
    taken = "SELECT kind FROM job WHERE attempt > 0 OR lease_token IS NOT NULL"
    assert await steps.column(taken) == []


async def test_a_change_that_comes_between_a_claim_and_its_end_takes_the_lease_away(steps: Steps) -> None:
    upload = await steps.upload()
    gate = Gate()
    late = asyncio.create_task(steps.work(await steps.command(upload.document_id), during=gate))
    await gate.until_reached()
    await steps.delete(upload.document_id)
    assert await steps.column("SELECT lease_token FROM job WHERE lease_token IS NOT NULL") == []
    gate.open()
    assert await late == SUPERSEDED


async def test_a_failure_that_waits_for_a_cancel_leaves_no_dead_letter(steps: Steps) -> None:
    change = await steps.upload()
    gate = Gate()

    async def broken(_: object) -> None:
        await gate()
        message = "it cannot be read"
        raise errors.UnsupportedMedia(message)

    late = asyncio.create_task(steps.work(await steps.command(change.document_id), during=broken))
    await gate.until_reached()

    async def cancelling(conn: AsyncConnection) -> None:
        await steps.cancel_in(conn, change.workflow_id)
        gate.open()

    assert await change_first(steps, cancelling, late) == SUPERSEDED
    assert await steps.column("SELECT code FROM dead_letter") == []
    assert await steps.column("SELECT DISTINCT error_code FROM job") == ["CANCELLED"]
    assert await steps.told() == {change.workflow_id: ["CANCELLED"]}


async def test_a_zombie_that_meets_its_successor_at_the_document_changes_nothing(
    steps: Steps, zombie: Engine, metrics: Metrics
) -> None:
    change = await almost_complete(steps)
    message = await steps.command(change.document_id, "fulltext")
    waking = Gate()
    late = asyncio.create_task(steps.work(message, by=zombie, during=waking, ending=rename))
    await waking.until_reached()

    async def wake() -> object:
        waking.open()
        return await late

    assert await complete_first(steps, message, wake()) == SUPERSEDED
    assert await steps.told() == {change.workflow_id: ["SUCCESS"]}
    assert await steps.column("SELECT name FROM document WHERE name = 'late'") == []
    assert metrics.registry.get_sample_value("aperag_fence_rejects_total", {"kind": "index.fulltext"}) == 1


async def test_a_zombie_cannot_take_back_what_its_successor_gave_up(steps: Steps, zombie: Engine) -> None:
    change = await almost_complete(steps)
    message = await steps.command(change.document_id, "fulltext")
    waking = Gate()
    late = asyncio.create_task(steps.work(message, by=zombie, during=waking))
    await waking.until_reached()

    async def broken(_: object) -> None:
        error = "it cannot be read"
        raise errors.UnsupportedMedia(error)

    assert await steps.work(message, during=broken) == Ack(outcome="failed")
    waking.open()
    assert await late == SUPERSEDED
    assert await steps.told() == {change.workflow_id: ["PARTIAL"]}
    assert (await steps.statuses(change.document_id))["fulltext"] == "FAILED"
    assert await steps.column("SELECT code FROM dead_letter") == ["UNSUPPORTED_MEDIA"]


async def test_a_zombie_cannot_fail_what_its_successor_completed(steps: Steps, zombie: Engine) -> None:
    change = await almost_complete(steps)
    message = await steps.command(change.document_id, "fulltext")
    waking = Gate()

    async def breaks_late(_: object) -> None:
        await waking()
        error = "it cannot be read"
        raise errors.UnsupportedMedia(error)

    late = asyncio.create_task(steps.work(message, by=zombie, during=breaks_late))
    await waking.until_reached()
    assert await steps.work(message) == Ack()
    waking.open()
    assert await late == SUPERSEDED
    assert await steps.document_status(change.document_id) == "COMPLETE"
    assert await steps.column("SELECT code FROM dead_letter") == []


async def owner_of(steps: Steps, collection_id: str) -> str:
    [owner] = await steps.column("SELECT owner FROM collection WHERE id = :c", c=collection_id)
    return str(owner)


async def test_an_upload_that_waits_for_its_collections_delete_is_refused(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        collection_id = await make_collection(conn)
    owner = await owner_of(steps, collection_id)

    async def deleting(conn: AsyncConnection) -> None:
        await changes.purge_collection(conn, collection_id, owner, first_due=DUE)

    with pytest.raises(errors.CollectionNotFound):
        await change_first(steps, deleting, steps.upload(collection_id=collection_id))
    assert await steps.column("SELECT id FROM document") == []


async def test_a_collections_delete_waits_for_an_upload_and_its_purge_finds_the_document(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        collection_id = await make_collection(conn)
    owner = await owner_of(steps, collection_id)
    document = new_document(collection_id, owner)

    async def uploading(conn: AsyncConnection) -> None:
        await changes.share_collection(conn, collection_id, owner)
        await changes.stage(conn, document)

    async def delete() -> list[str]:
        async with steps.engine.begin() as conn:
            await changes.purge_collection(conn, collection_id, owner, first_due=DUE)
            found = await conn.execute(text("SELECT id FROM document WHERE collection_id = :c"), {"c": collection_id})
            return list(found.scalars())

    assert await change_first(steps, uploading, delete()) == [document.id]
