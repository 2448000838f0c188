"""Claim, finish and fail of a document step, against the real database and the real bus."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settled
from aperag_common.db.models.base import Lane
from aperag_common.testing.factories import KINDS, PACE, make_collection, make_upload
from aperag_common.work import cancel, changes
from aperag_common.work.claims import Claims
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.policy import WorkPolicy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier

DUE = timedelta(seconds=60)


@pytest.fixture
def claims(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> Claims:
    return Claims(engine, courier, WorkPolicy(), metrics, "worker-1")


async def rows(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text(sql), parameters)).all())


async def command(engine: AsyncEngine, document_id: str, kind: str = "parse") -> Any:
    found = await rows(
        engine, f"SELECT {STEP_COLUMNS} FROM document_step WHERE document_id = :d AND kind = :k", d=document_id, k=kind
    )
    return step_dispatch(StepRow(**found[0]._mapping), source="tests").message


async def settlement(claims: Claims, message: Any, error: Exception | None = None) -> Any:
    """Claim and finish (or fail with ``error``); what the message would be told."""
    try:
        async with claims.claim(message) as step:
            if error is not None:
                raise error
            async with step.finish():
                pass
    except Settled as settled:
        return settled.settlement
    return Ack()


async def upload(engine: AsyncEngine, **options: Any) -> changes.Change:
    async with engine.begin() as conn:
        return await make_upload(conn, **options)


async def statuses(engine: AsyncEngine, document_id: str) -> dict[str, str]:
    found = await rows(engine, "SELECT kind, status FROM document_step WHERE document_id = :d", d=document_id)
    return {row.kind: row.status for row in found}


async def document(engine: AsyncEngine, document_id: str) -> Any:
    return (await rows(engine, "SELECT * FROM document WHERE id = :d", d=document_id))[0]


async def events(engine: AsyncEngine, type_: str) -> list[dict[str, Any]]:
    found = await rows(engine, "SELECT payload FROM outbox WHERE payload->>'type' = :t ORDER BY created", t=type_)
    return [row.payload for row in found]


async def complete(claims: Claims, document_id: str) -> None:
    for kind in ("parse", "vector", "fulltext"):
        assert await settlement(claims, await command(claims.engine, document_id, kind)) == Ack()


async def test_a_document_is_complete_when_its_last_index_is_active(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    assert (await document(engine, change.document_id)).status == "PENDING"
    await complete(claims, change.document_id)
    assert (await document(engine, change.document_id)).status == "COMPLETE"
    indexed = await events(engine, "document.indexed")
    assert [event["data"]["outcome"] for event in indexed] == ["SUCCESS"]
    assert indexed[0]["cause_id"] == change.workflow_id


async def test_the_first_claim_makes_the_document_running(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    async with claims.claim(await command(engine, change.document_id)) as step:
        assert (await document(engine, change.document_id)).status == "RUNNING"
        async with step.finish():
            pass


async def test_builds_become_due_only_when_their_parse_is_settled(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    due = "SELECT kind, due_at = 'infinity' AS waits, dispatch FROM document_step WHERE document_id = :d AND kind <> 'parse'"
    assert {(r.waits, r.dispatch) for r in await rows(engine, due, d=change.document_id)} == {(True, 0)}
    await settlement(claims, await command(engine, change.document_id))
    assert {(r.waits, r.dispatch) for r in await rows(engine, due, d=change.document_id)} == {(False, 1)}


async def test_a_second_delivery_of_settled_work_is_acked_and_changes_nothing(
    engine: AsyncEngine, claims: Claims
) -> None:
    change = await upload(engine)
    message = await command(engine, change.document_id)
    await settlement(claims, message)
    revision = (await document(engine, change.document_id)).revision
    assert await settlement(claims, message) == Ack(outcome="settled")
    assert (await document(engine, change.document_id)).revision == revision


async def test_a_live_lease_elsewhere_naks_for_what_is_left_of_it_and_counts_no_attempt(
    engine: AsyncEngine, claims: Claims, courier: Courier, metrics: Metrics
) -> None:
    change = await upload(engine)
    message = await command(engine, change.document_id)
    other = Claims(engine, courier, WorkPolicy(), metrics, "worker-2")
    async with claims.claim(message) as step:
        answer = await settlement(other, message)
        assert isinstance(answer, Nak)
        assert timedelta(seconds=25) < answer.delay <= timedelta(seconds=30)
        async with step.finish():
            pass
    attempts = await rows(
        engine, "SELECT attempt FROM document_step WHERE kind = 'parse' AND document_id = :d", d=change.document_id
    )
    assert attempts[0].attempt == 1


async def test_a_zombie_cannot_write_over_the_worker_that_took_over(
    engine: AsyncEngine, courier: Courier, metrics: Metrics
) -> None:
    zombie = Claims(engine, courier, WorkPolicy(lease=timedelta(0)), metrics, "zombie")
    healthy = Claims(engine, courier, WorkPolicy(), metrics, "healthy")
    change = await upload(engine)
    message = await command(engine, change.document_id)
    with pytest.raises(Settled) as late:
        async with zombie.claim(message) as step:  # its lease ends at once: the next claim takes over
            assert await settlement(healthy, message) == Ack()
            async with step.finish() as finishing:
                await finishing.conn.execute(text("UPDATE document SET name = 'zombie'"))
    assert late.value.settlement == Ack(outcome="superseded")
    assert (await document(engine, change.document_id)).name != "zombie"
    assert metrics.registry.get_sample_value("aperag_fence_rejects_total", {"kind": "parse"}) == 1


async def test_a_newer_generation_fences_off_work_on_the_older_one(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    await complete(claims, change.document_id)
    await rebuild(engine, change.document_id)
    await settlement(claims, await command(engine, change.document_id))
    message = await command(engine, change.document_id, "vector")
    with pytest.raises(Settled):
        async with claims.claim(message) as step:
            await rebuild(engine, change.document_id)
            async with step.finish():
                pass
    assert (await statuses(engine, change.document_id))["vector"] == "PENDING"


async def rebuild(engine: AsyncEngine, document_id: str) -> changes.Change:

    async with engine.begin() as conn:
        change = await changes.rebuild(conn, document_id, kinds=KINDS, pace=PACE)
    assert change is not None
    return change


async def test_a_superseded_workflow_is_closed_once_and_says_so(engine: AsyncEngine, claims: Claims) -> None:
    first = await upload(engine)
    second = await rebuild(engine, first.document_id)
    await complete(claims, first.document_id)
    outcomes = {event["cause_id"]: event["data"]["outcome"] for event in await events(engine, "document.indexed")}
    assert outcomes == {first.workflow_id: "SUPERSEDED", second.workflow_id: "SUCCESS"}


async def test_a_passing_failure_is_retried_and_its_reason_is_on_the_row(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    answer = await settlement(
        claims, await command(engine, change.document_id), errors.UpstreamUnavailable("the store is away")
    )
    assert isinstance(answer, Nak)
    assert timedelta(seconds=1) <= answer.delay <= timedelta(seconds=1.2)
    row = (
        await rows(
            engine, "SELECT * FROM document_step WHERE kind = 'parse' AND document_id = :d", d=change.document_id
        )
    )[0]
    assert (row.status, row.failures, row.error_code, row.lease_token) == ("PENDING", 1, "UPSTREAM_UNAVAILABLE", None)
    assert row.error_message == "the store is away"


async def test_a_long_retry_delay_is_left_to_the_redrive(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    error = errors.RateLimited("slow down", retry_after=timedelta(seconds=42))
    assert await settlement(claims, await command(engine, change.document_id), error) == Ack(outcome="retry_later")
    due = await rows(
        engine,
        "SELECT extract(epoch FROM due_at - clock_timestamp()) AS s FROM document_step WHERE kind = 'parse' AND document_id = :d",
        d=change.document_id,
    )
    assert 40 < due[0].s <= 42


async def test_the_fourth_failure_ends_the_step_with_a_dead_letter(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    message = await command(engine, change.document_id)
    for _ in range(3):
        assert isinstance(await settlement(claims, message, errors.Busy("no room")), Nak)
    assert await settlement(claims, message, errors.Busy("no room")) == Ack(outcome="failed")
    assert await statuses(engine, change.document_id) == {"parse": "FAILED", "vector": "FAILED", "fulltext": "FAILED"}
    assert (await document(engine, change.document_id)).status == "FAILED"
    letters = await rows(engine, "SELECT * FROM dead_letter")
    assert [(letter.document_id, letter.code, letter.attempt) for letter in letters] == [
        (change.document_id, "BUSY", 4)
    ]
    assert [event["data"]["outcome"] for event in await events(engine, "document.indexed")] == ["FAILED"]
    assert len(await events(engine, "step.dead_lettered")) == 1


async def test_a_terminal_failure_is_not_retried(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    await settlement(claims, await command(engine, change.document_id))
    error = errors.UnsupportedMedia("no reader")
    assert await settlement(claims, await command(engine, change.document_id, "vector"), error) == Ack(outcome="failed")
    assert await settlement(claims, await command(engine, change.document_id, "fulltext")) == Ack()
    indexed = await events(engine, "document.indexed")
    assert [event["data"]["outcome"] for event in indexed] == ["PARTIAL"]
    assert (await document(engine, change.document_id)).status == "FAILED"


async def test_an_unforeseen_exception_is_retried_and_its_text_stays_out_of_the_row(
    engine: AsyncEngine, claims: Claims
) -> None:
    change = await upload(engine)
    assert isinstance(await settlement(claims, await command(engine, change.document_id), ValueError("secret-42")), Nak)
    row = (await rows(engine, "SELECT error_code, error_message FROM document_step WHERE kind = 'parse'"))[0]
    assert row.error_code == "UNEXPECTED"
    assert "secret-42" not in row.error_message


async def test_a_step_that_ends_every_worker_is_given_up(
    engine: AsyncEngine, courier: Courier, metrics: Metrics
) -> None:
    crashing = Claims(engine, courier, WorkPolicy(lease=timedelta(0), max_attempts=3), metrics, "crashing")
    change = await upload(engine)
    message = await command(engine, change.document_id)
    for _ in range(3):
        await crashing.claim(message).__aenter__()  # the worker is gone without a word
    assert await settlement(crashing, message) == Ack(outcome="failed")
    row = (await rows(engine, "SELECT status, error_code FROM document_step WHERE kind = 'parse'"))[0]
    assert (row.status, row.error_code) == ("FAILED", "WORKER_LOST")


async def test_a_step_is_given_up_also_when_its_last_attempt_reported_an_error(
    engine: AsyncEngine, courier: Courier, metrics: Metrics
) -> None:
    """A reported error leaves no lease, so nothing but the count of attempts tells that it is over."""
    claims = Claims(engine, courier, WorkPolicy(lease=timedelta(0), max_attempts=2), metrics, "crashing")
    change = await upload(engine)
    message = await command(engine, change.document_id)
    await claims.claim(message).__aenter__()
    assert isinstance(await settlement(claims, message, errors.Busy("no room")), Nak)
    assert await settlement(claims, message) == Ack(outcome="failed")
    assert (await statuses(engine, change.document_id))["parse"] == "FAILED"


async def test_two_finishers_at_once_close_the_workflow_exactly_once(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    await settlement(claims, await command(engine, change.document_id))
    messages = [await command(engine, change.document_id, kind) for kind in ("vector", "fulltext")]
    assert await asyncio.gather(*(settlement(claims, message) for message in messages)) == [Ack(), Ack()]
    assert len(await events(engine, "document.indexed")) == 1
    assert (await document(engine, change.document_id)).status == "COMPLETE"


async def test_a_document_deleted_during_a_build_stays_deleted(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    with pytest.raises(Settled) as late:
        async with claims.claim(await command(engine, change.document_id)) as step:
            async with engine.begin() as conn:
                assert await changes.delete(conn, change.document_id, first_due=DUE) is not None
            async with step.finish():
                pass
    assert late.value.settlement == Ack(outcome="superseded")
    assert set((await statuses(engine, change.document_id)).values()) == {"DELETING"}
    assert (await document(engine, change.document_id)).status == "DELETED"


async def test_a_deleted_documents_steps_are_removed_and_its_workflow_ends(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    await complete(claims, change.document_id)
    async with engine.begin() as conn:
        deleted = await changes.delete(conn, change.document_id, first_due=DUE)
        assert await changes.delete(conn, change.document_id, first_due=DUE) is None
    assert deleted is not None
    assert len(deleted.commands) == 3
    for removal in deleted.commands:
        assert await settlement(claims, removal.message) == Ack()
    assert await statuses(engine, change.document_id) == {}
    workflow = await rows(engine, "SELECT status FROM workflow WHERE id = :w", w=deleted.workflow_id)
    assert workflow[0].status == "SUCCESS"


async def test_a_cancelled_task_fences_its_worker_and_frees_its_slot(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    owner = (await document(engine, change.document_id)).owner
    with pytest.raises(Settled):
        async with claims.claim(await command(engine, change.document_id)) as step:
            async with engine.begin() as conn:
                answer = await cancel.cancel(conn, change.workflow_id, owner=owner, first_due=DUE)
            assert isinstance(answer, changes.Change)
            async with step.finish():
                pass
    found = await rows(
        engine, "SELECT status, error_code FROM document_step WHERE document_id = :d", d=change.document_id
    )
    assert {(row.status, row.error_code) for row in found} == {("FAILED", "CANCELLED")}
    assert [event["data"]["outcome"] for event in await events(engine, "document.indexed")] == ["CANCELLED"]
    async with engine.begin() as conn:
        again = await cancel.cancel(conn, change.workflow_id, owner=owner, first_due=DUE)
    assert again == cancel.AlreadySettled("CANCELLED")


async def test_a_live_cancel_stops_the_work_at_once(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    message = await command(engine, change.document_id)
    started = asyncio.Event()

    async def work() -> None:
        async with claims.claim(message):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await started.wait()
    claims.cancel_task(change.workflow_id)
    with pytest.raises(Settled) as stopped:
        await asyncio.wait_for(task, 5)
    assert stopped.value.settlement == Ack(outcome="superseded")


async def test_a_cancelled_rebuild_serves_the_older_content_again(engine: AsyncEngine, claims: Claims) -> None:
    first = await upload(engine)
    await complete(claims, first.document_id)
    owner = (await document(engine, first.document_id)).owner
    second = await rebuild(engine, first.document_id)
    async with engine.begin() as conn:
        await cancel.cancel(conn, second.workflow_id, owner=owner, first_due=DUE)
    assert set((await statuses(engine, first.document_id)).values()) == {"ACTIVE"}
    assert (await document(engine, first.document_id)).status == "COMPLETE"


async def test_a_lost_lease_is_noticed_by_the_next_beat(engine: AsyncEngine, claims: Claims) -> None:
    change = await upload(engine)
    message = await command(engine, change.document_id)
    with pytest.raises(Settled):
        async with claims.claim(message) as step:
            await step.beat()
            assert not step.lost
            async with engine.begin() as conn:
                await conn.execute(text("UPDATE document_step SET lease_token = 'other'"))
            await step.beat()
            assert step.lost
            await asyncio.Event().wait()


async def test_at_shutdown_the_claim_is_given_back_without_counting_an_attempt(
    engine: AsyncEngine, claims: Claims
) -> None:
    change = await upload(engine)
    message = await command(engine, change.document_id)
    started = asyncio.Event()

    async def work() -> None:
        async with claims.claim(message):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    row = (await rows(engine, "SELECT * FROM document_step WHERE kind = 'parse'"))[0]
    assert (row.status, row.attempt, row.lease_token) == ("PENDING", 0, None)
    assert await settlement(claims, message) == Ack()


async def test_an_upload_into_a_collection_being_deleted_is_refused(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        owner = (await conn.execute(text("SELECT owner FROM collection"))).scalar_one()
    async with engine.begin() as deleting:
        await changes.purge_collection(deleting, collection_id, owner, first_due=DUE)
        uploading = asyncio.create_task(upload(engine, collection_id=collection_id))
        done, _ = await asyncio.wait([uploading], timeout=0.3)
        assert not done  # it waits for the collection's row instead of slipping in
    with pytest.raises(errors.CollectionNotFound):
        await uploading


async def test_documents_beyond_the_owners_slots_wait_undispatched(engine: AsyncEngine) -> None:
    pace = changes.Pace(Lane.INTERACTIVE, in_flight_per_owner=2, first_due=DUE)
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        made = [await make_upload(conn, collection_id=collection_id, pace=pace) for _ in range(3)]
    assert [len(change.commands) for change in made] == [1, 1, 0]
