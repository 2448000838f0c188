"""A requeue runs exactly what was given up, once, whatever else happens to the document meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack
from aperag_common.db.models.base import Lane
from aperag_common.jobs.declared import COLLECTION_PURGE, COLLECTION_SUMMARY, TURN, USER_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_common.jobs.steps import StepKind
from aperag_testing.factories import ADMISSION, make_collection
from aperag_testing.jobs import order
from aperag_testing.steps import DUE, until_blocked
from aperag_work import changes, requeue
from aperag_work.opening import Admission
from aperag_work.requeue_rules import RequeueAnswer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.jobs.kind import JobKind
    from aperag_testing.steps import Steps
    from aperag_work.change import Change
    from aperag_work.rows import Dispatch

BULK = replace(ADMISSION, lane=Lane.BULK)
ALL = ("parse", "vector", "fulltext")
NO_DOCUMENT = [COLLECTION_PURGE, USER_PURGE, COLLECTION_SUMMARY, TURN]


async def broken(_: object) -> None:
    message = "it cannot be read"
    raise errors.CorruptDocument(message)


async def give_up(steps: Steps, document_id: str, kind: str) -> uuid.UUID:
    """The job ends FAILED with a dead letter."""
    assert await steps.work(await steps.command(document_id, kind), during=broken) == Ack(outcome="failed")
    found = await steps.column("SELECT id FROM dead_letter WHERE document_id = :d AND kind = :k ORDER BY created DESC",
                               d=document_id, k=kind)  # fmt: skip
    id_: uuid.UUID = found[0]
    return id_


async def uploaded(steps: Steps, **options: Any) -> str:
    return (await steps.upload(**options)).document_id


async def with_failed_build(steps: Steps) -> tuple[str, uuid.UUID]:
    """Searchable by words; its vector index was given up."""
    document_id = await uploaded(steps)
    await steps.complete(document_id, "parse", "fulltext")
    return document_id, await give_up(steps, document_id, "vector")


async def run_again(steps: Steps, *letters: uuid.UUID, admission: Admission = ADMISSION) -> requeue.Requeued:
    async with steps.engine.begin() as conn:
        return await requeue.requeue(conn, letters, admission)


def verdicts(told: requeue.Requeued) -> list[RequeueAnswer]:
    return [answer.verdict for answer in told.answers.values()]


async def tasks_of(steps: Steps, document_id: str) -> list[tuple[str, str]]:
    found = await steps.rows("SELECT kind, status FROM workflow WHERE document_id = :d ORDER BY created", d=document_id)
    return [(row.kind, row.status) for row in found]


async def test_a_build_that_was_given_up_is_built_again_and_nothing_else(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    told = await run_again(steps, letter)
    [change] = told.changes
    assert told.answers[letter] == requeue.Answer(RequeueAnswer.REDRIVEN, change.workflow_id)
    assert await steps.statuses(document_id) == {"parse": "PENDING", "vector": "PENDING", "fulltext": "ACTIVE"}
    assert await steps.document_status(document_id) == "PENDING"
    await steps.complete(document_id, "parse", "vector")
    assert await steps.document_status(document_id) == "COMPLETE"
    assert await tasks_of(steps, document_id) == [("upload", "PARTIAL"), ("redrive", "SUCCESS")]
    [kept] = await steps.rows("SELECT * FROM dead_letter")
    assert (kept.redriven_at is not None, kept.redriven_workflow_id) == (True, change.workflow_id)


async def test_a_parse_that_was_given_up_takes_along_the_builds_that_fell_with_it(steps: Steps) -> None:
    document_id = await uploaded(steps)
    letter = await give_up(steps, document_id, "parse")
    [change] = (await run_again(steps, letter)).changes
    assert [command.message.type for command in change.commands] == ["document.parse"]
    await steps.complete(document_id)
    assert await steps.told() == await ended(steps, document_id, "FAILED", "SUCCESS")


async def ended(steps: Steps, document_id: str, *statuses: str) -> dict[str, list[str]]:
    """What events should tell where each task of the document ended once."""
    ids = await steps.column("SELECT id FROM workflow WHERE document_id = :d ORDER BY created", d=document_id)
    return {id_: [status] for id_, status in zip(ids, statuses, strict=True)}


async def test_two_letters_of_one_document_are_one_task(steps: Steps) -> None:
    document_id = await uploaded(steps)
    await steps.complete(document_id, "parse")
    letters = [await give_up(steps, document_id, kind) for kind in ("vector", "fulltext")]
    told = await run_again(steps, *letters)
    [change] = told.changes
    assert list(told.answers.values()) == [requeue.Answer(RequeueAnswer.REDRIVEN, change.workflow_id)] * 2
    await steps.complete(document_id)
    assert await tasks_of(steps, document_id) == [("upload", "FAILED"), ("redrive", "SUCCESS")]


async def test_all_letters_of_what_is_run_again_are_marked(steps: Steps) -> None:
    """Also that of a parse which has to be run first, and a second one of the same step."""
    document_id, vector = await with_failed_build(steps)
    await steps.rebuild(document_id, [StepKind.FULLTEXT])
    await give_up(steps, document_id, "parse")
    async with steps.engine.begin() as conn:
        await conn.execute(text(SECOND))
    [change] = (await run_again(steps, vector)).changes
    marked = await steps.column("SELECT DISTINCT redriven_workflow_id FROM dead_letter")
    assert marked == [change.workflow_id]
    assert await steps.statuses(document_id) == dict.fromkeys(ALL, "PENDING")


SECOND = """
    INSERT INTO dead_letter (id, consumer, subject, row_id, kind, generation, attempt, code, message, payload, headers)
    SELECT gen_random_uuid(), consumer, subject, row_id, kind, generation, 100, 'MAX_DELIVERIES', '', '{}', '{}'
    FROM dead_letter WHERE kind = 'vector'
"""


async def test_a_requeued_letter_is_not_requeued_again_also_when_it_fails_again(steps: Steps) -> None:
    document_id = await uploaded(steps)
    first = await give_up(steps, document_id, "parse")
    await run_again(steps, first)
    second = await give_up(steps, document_id, "parse")
    assert verdicts(await run_again(steps, first, second)) == [RequeueAnswer.ALREADY_REDRIVEN, RequeueAnswer.REDRIVEN]
    await steps.complete(document_id)
    assert await steps.document_status(document_id) == "COMPLETE"


@pytest.mark.parametrize("change", ["rebuild", "cancel", "delete"])
async def test_a_letter_that_something_newer_has_overtaken_changes_nothing(steps: Steps, change: str) -> None:
    document_id, letter = await with_failed_build(steps)
    if change == "delete":
        await steps.delete(document_id)
    else:
        newer = await steps.rebuild(document_id, [StepKind.VECTOR])
        if change == "cancel":
            await steps.cancel(newer.workflow_id)
    before = await steps.rows("SELECT * FROM job ORDER BY id")
    told = await run_again(steps, letter)
    assert (verdicts(told), told.changes) == ([RequeueAnswer.SUPERSEDED], [])
    assert await steps.rows("SELECT * FROM job ORDER BY id") == before
    assert await steps.column("SELECT redriven_at FROM dead_letter") == [None]


async def test_a_letter_whose_document_is_gone_changes_nothing(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    async with steps.engine.begin() as conn:
        await conn.execute(text("DELETE FROM document WHERE id = :d"), {"d": document_id})
    assert verdicts(await run_again(steps, letter)) == [RequeueAnswer.GONE]


async def test_a_letter_of_a_deleted_collection_changes_nothing(steps: Steps) -> None:
    _, letter = await with_failed_build(steps)
    await delete_collection(steps)
    assert verdicts(await run_again(steps, letter)) == [RequeueAnswer.GONE]


async def delete_collection(steps: Steps) -> str:
    [row] = await steps.rows("SELECT id, owner FROM collection")
    async with steps.engine.begin() as conn:
        await changes.purge_collection(conn, row.id, row.owner, first_due=DUE)
    return str(row.id)


async def test_a_removal_that_was_given_up_is_removed_again(steps: Steps) -> None:
    document_id = await uploaded(steps)
    await steps.complete(document_id)
    await steps.delete(document_id)
    await steps.complete(document_id, "parse", "fulltext")
    letter = await give_up(steps, document_id, "vector")
    [change] = (await run_again(steps, letter)).changes
    assert [command.message.type for command in change.commands] == ["index.remove"]
    assert await steps.statuses(document_id) == {"parse": "DELETED", "vector": "DELETING", "fulltext": "DELETED"}
    await steps.complete(document_id, "vector")
    assert await steps.statuses(document_id) == dict.fromkeys(ALL, "DELETED")
    assert await tasks_of(steps, document_id) == [("upload", "SUCCESS"), ("delete", "PARTIAL"), ("delete", "SUCCESS")]
    with pytest.raises(errors.Conflict):  # like any other delete
        await steps.cancel(change.workflow_id)


@pytest.mark.parametrize("kind", NO_DOCUMENT, ids=lambda kind: kind.name)
async def test_a_job_of_no_document_that_was_given_up_is_wanted_again(steps: Steps, kind: JobKind) -> None:
    letter, ordered = await with_failed_job(steps, kind)
    told = await run_again(steps, letter, letter)
    assert told.answers == {letter: requeue.Answer(RequeueAnswer.REDRIVEN)}
    [[command]] = [change.commands for change in told.changes]
    assert (command.message.type, command.row.id) == (ordered.message.type, ordered.row.id)
    assert (command.row.generation, command.row.dispatch, command.row.status) == (2, 1, ordered.row.status)
    again: Any = await steps.job(ordered.row.id)
    assert (again.attempt, again.failures, again.error_code, again.failed_attempts) == (0, 0, None, [])
    assert 0 < again.due_in <= DUE.total_seconds()
    assert verdicts(await run_again(steps, letter)) == [RequeueAnswer.ALREADY_REDRIVEN]
    assert await steps.work(ordered.message) == Ack(outcome="superseded")
    assert await steps.work(command.message) == Ack()


async def test_a_letter_of_a_deleted_collections_summary_changes_nothing(steps: Steps) -> None:
    letter, _ = await with_failed_job(steps, COLLECTION_SUMMARY)
    await delete_collection(steps)
    assert verdicts(await run_again(steps, letter)) == [RequeueAnswer.GONE]


async def with_failed_job(steps: Steps, kind: JobKind) -> tuple[uuid.UUID, Dispatch]:
    """Its letter, and its first command."""
    async with steps.engine.begin() as conn:
        ordered = await order(conn, kind, Wanted.ABSENT if kind.present is None else Wanted.PRESENT)
    assert await steps.work(ordered.message, during=broken) == Ack(outcome="failed")
    [letter] = await steps.column("SELECT id FROM dead_letter")
    return letter, ordered


async def test_many_are_requeued_in_their_owners_turns(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        collection_id = await make_collection(conn)
    documents = [await uploaded(steps, collection_id=collection_id) for _ in range(5)]
    letters = [await give_up(steps, document_id, "parse") for document_id in documents]
    told = await run_again(steps, *letters, admission=replace(BULK, in_flight_per_owner=2))
    assert sorted(len(change.commands) for change in told.changes) == [0, 0, 0, 1, 1]
    assert len({answer.workflow_id for answer in told.answers.values()}) == 5
    waiting = "SELECT count(*) FROM job WHERE kind = 'parse' AND dispatch = 0 AND lane = 'bulk'"
    assert await steps.column(waiting) == [3]


async def test_a_preview_tells_what_a_requeue_would_do_and_does_nothing(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    unknown = (await steps.column("SELECT gen_random_uuid()"))[0]
    async with steps.engine.begin() as conn:
        seen = await requeue.preview(conn, [letter, unknown])
    assert seen == {letter: RequeueAnswer.REDRIVEN, unknown: RequeueAnswer.UNKNOWN}
    assert (await steps.statuses(document_id))["vector"] == "FAILED"
    assert verdicts(await run_again(steps, letter, unknown)) == list(seen.values())


async def meet(
    steps: Steps, first: Callable[[AsyncConnection], Awaitable[object]], letter: uuid.UUID
) -> requeue.Requeued:
    """A requeue that comes while the transaction of ``first`` is open."""
    async with steps.engine.begin() as conn:
        await first(conn)
        waiting = asyncio.create_task(run_again(steps, letter))
        await until_blocked(steps.engine)
    async with asyncio.timeout(30):
        return await waiting


async def test_of_two_requeues_at_once_one_has_an_effect(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    first: list[requeue.Requeued] = []

    async def requeueing(conn: AsyncConnection) -> None:
        first.append(await requeue.requeue(conn, [letter], ADMISSION))

    assert verdicts(await meet(steps, requeueing, letter)) == [RequeueAnswer.ALREADY_REDRIVEN]
    assert verdicts(first[0]) == [RequeueAnswer.REDRIVEN]
    await steps.complete(document_id, "parse", "vector")
    assert await tasks_of(steps, document_id) == [("upload", "PARTIAL"), ("redrive", "SUCCESS")]


@pytest.mark.parametrize("kind", NO_DOCUMENT, ids=lambda kind: kind.name)
async def test_of_two_requeues_of_a_job_at_once_one_has_an_effect(steps: Steps, kind: JobKind) -> None:
    letter, ordered = await with_failed_job(steps, kind)

    async def requeueing(conn: AsyncConnection) -> None:
        await requeue.requeue(conn, [letter], ADMISSION)

    assert verdicts(await meet(steps, requeueing, letter)) == [RequeueAnswer.ALREADY_REDRIVEN]
    assert await steps.column("SELECT generation FROM job WHERE id = :id", id=ordered.row.id) == [2]


async def test_a_requeue_that_waits_for_a_rebuild_leaves_it_alone(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)

    async def rebuilding(conn: AsyncConnection) -> None:
        await steps.rebuild_in(conn, document_id)

    assert verdicts(await meet(steps, rebuilding, letter)) == [RequeueAnswer.SUPERSEDED]
    await steps.complete(document_id)
    assert await tasks_of(steps, document_id) == [("upload", "PARTIAL"), ("rebuild", "SUCCESS")]


async def test_a_requeue_that_waits_for_a_delete_leaves_it_alone(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)

    async def deleting(conn: AsyncConnection) -> None:
        await changes.delete(conn, document_id, first_due=DUE)

    assert verdicts(await meet(steps, deleting, letter)) == [RequeueAnswer.SUPERSEDED]
    assert set((await steps.statuses(document_id)).values()) == {"DELETING"}


async def after_requeue(steps: Steps, letter: uuid.UUID, then: Callable[[], Awaitable[object]]) -> Change:
    """``then`` comes while the requeue's transaction is open, and waits for it."""
    async with steps.engine.begin() as conn:
        [change] = (await requeue.requeue(conn, [letter], ADMISSION)).changes
        waiting = asyncio.ensure_future(then())
        await until_blocked(steps.engine)
    async with asyncio.timeout(30):
        await waiting
    return change


async def test_a_rebuild_that_waits_for_a_requeue_supersedes_it(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    await after_requeue(steps, letter, lambda: steps.rebuild(document_id))
    await steps.complete(document_id)
    assert await tasks_of(steps, document_id) == [
        ("upload", "PARTIAL"), ("redrive", "SUPERSEDED"), ("rebuild", "SUCCESS")]  # fmt: skip


async def test_a_delete_that_waits_for_a_requeue_supersedes_it(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    await after_requeue(steps, letter, lambda: steps.delete(document_id))
    assert await tasks_of(steps, document_id) == [
        ("upload", "PARTIAL"), ("redrive", "SUPERSEDED"), ("delete", "RUNNING")]  # fmt: skip
    assert set((await steps.statuses(document_id)).values()) == {"DELETING"}


async def test_a_requeue_can_be_cancelled_and_is_not_open_to_another_requeue(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    [change] = (await run_again(steps, letter)).changes
    await steps.cancel(change.workflow_id)
    assert await steps.statuses(document_id) == {"parse": "ACTIVE", "vector": "FAILED", "fulltext": "ACTIVE"}
    assert verdicts(await run_again(steps, letter)) == [RequeueAnswer.ALREADY_REDRIVEN]
    assert await tasks_of(steps, document_id) == [("upload", "PARTIAL"), ("redrive", "CANCELLED")]
