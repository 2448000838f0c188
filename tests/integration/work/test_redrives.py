"""A redrive runs exactly what was given up, once, whatever else happens to the document meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack
from aperag_common.db.models.base import Lane
from aperag_common.testing.factories import PACE, make_collection
from aperag_common.testing.steps import DUE, Steps, until_blocked
from aperag_common.work import changes, redrives
from aperag_common.work.claims import Claims
from aperag_common.work.letters import Verdict
from aperag_common.work.policy import WorkPolicy

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_common.work.change import Change
    from aperag_common.work.courier import Courier

BULK = replace(PACE, lane=Lane.BULK)
ALL = ("parse", "vector", "fulltext")


@pytest.fixture
def steps(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> Steps:
    return Steps(engine, Claims(engine, courier, WorkPolicy(), metrics, "worker-1"))


async def broken(_: object) -> None:
    message = "it cannot be read"
    raise errors.CorruptDocument(message)


async def give_up(steps: Steps, document_id: str, kind: str) -> uuid.UUID:
    """The step ends FAILED with a dead letter."""
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


async def redrive(steps: Steps, *letters: uuid.UUID, pace: changes.Pace = PACE) -> redrives.Redriven:
    async with steps.engine.begin() as conn:
        return await redrives.redrive(conn, letters, pace)


def verdicts(told: redrives.Redriven) -> list[Verdict]:
    return [answer.verdict for answer in told.answers.values()]


async def tasks_of(steps: Steps, document_id: str) -> list[tuple[str, str]]:
    found = await steps.rows("SELECT kind, status FROM workflow WHERE document_id = :d ORDER BY created", d=document_id)
    return [(row.kind, row.status) for row in found]


async def test_a_build_that_was_given_up_is_built_again_and_nothing_else(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    told = await redrive(steps, letter)
    [change] = told.changes
    assert told.answers[letter] == redrives.Answer(Verdict.REDRIVEN, change.workflow_id)
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
    [change] = (await redrive(steps, letter)).changes
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
    told = await redrive(steps, *letters)
    [change] = told.changes
    assert list(told.answers.values()) == [redrives.Answer(Verdict.REDRIVEN, change.workflow_id)] * 2
    await steps.complete(document_id)
    assert await tasks_of(steps, document_id) == [("upload", "FAILED"), ("redrive", "SUCCESS")]


async def test_all_letters_of_what_is_run_again_are_marked(steps: Steps) -> None:
    """Also that of a parse which has to be run first, and a second one of the same step."""
    document_id, vector = await with_failed_build(steps)
    await steps.rebuild(document_id, [changes.StepKind.FULLTEXT])
    await give_up(steps, document_id, "parse")
    async with steps.engine.begin() as conn:
        await conn.execute(text(SECOND))
    [change] = (await redrive(steps, vector)).changes
    marked = await steps.column("SELECT DISTINCT redriven_workflow_id FROM dead_letter")
    assert marked == [change.workflow_id]
    assert await steps.statuses(document_id) == dict.fromkeys(ALL, "PENDING")


SECOND = """
    INSERT INTO dead_letter (id, consumer, subject, row_id, kind, generation, attempt, code, message, payload, headers)
    SELECT gen_random_uuid(), consumer, subject, row_id, kind, generation, 100, 'MAX_DELIVERIES', '', '{}', '{}'
    FROM dead_letter WHERE kind = 'vector'
"""


async def test_a_redriven_letter_is_not_redriven_again_also_when_it_fails_again(steps: Steps) -> None:
    document_id = await uploaded(steps)
    first = await give_up(steps, document_id, "parse")
    await redrive(steps, first)
    second = await give_up(steps, document_id, "parse")
    assert verdicts(await redrive(steps, first, second)) == [Verdict.ALREADY_REDRIVEN, Verdict.REDRIVEN]
    await steps.complete(document_id)
    assert await steps.document_status(document_id) == "COMPLETE"


@pytest.mark.parametrize("change", ["rebuild", "cancel", "delete"])
async def test_a_letter_that_something_newer_has_overtaken_changes_nothing(steps: Steps, change: str) -> None:
    document_id, letter = await with_failed_build(steps)
    if change == "delete":
        await steps.delete(document_id)
    else:
        newer = await steps.rebuild(document_id, [changes.StepKind.VECTOR])
        if change == "cancel":
            await steps.cancel(newer.workflow_id)
    before = await steps.rows("SELECT * FROM document_step ORDER BY id")
    told = await redrive(steps, letter)
    assert (verdicts(told), told.changes) == ([Verdict.SUPERSEDED], [])
    assert await steps.rows("SELECT * FROM document_step ORDER BY id") == before
    assert await steps.column("SELECT redriven_at FROM dead_letter") == [None]


async def test_a_letter_whose_document_is_gone_changes_nothing(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    async with steps.engine.begin() as conn:
        await conn.execute(text("DELETE FROM document WHERE id = :d"), {"d": document_id})
    assert verdicts(await redrive(steps, letter)) == [Verdict.GONE]


async def test_a_letter_of_a_deleted_collection_changes_nothing(steps: Steps) -> None:
    _, letter = await with_failed_build(steps)
    await delete_collection(steps)
    assert verdicts(await redrive(steps, letter)) == [Verdict.GONE]


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
    [change] = (await redrive(steps, letter)).changes
    assert [command.message.type for command in change.commands] == ["index.remove"]
    assert await steps.statuses(document_id) == {"vector": "DELETING"}
    await steps.complete(document_id, "vector")
    assert await steps.statuses(document_id) == {}
    assert await tasks_of(steps, document_id) == [("upload", "SUCCESS"), ("delete", "PARTIAL"), ("delete", "SUCCESS")]
    with pytest.raises(errors.Conflict):  # like any other delete
        await steps.cancel(change.workflow_id)


async def test_a_purge_that_was_given_up_is_wanted_again(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        await make_collection(conn)
    collection_id = await delete_collection(steps)
    letter = await give_up_row(steps, "collection_purge", collection_id)
    told = await redrive(steps, letter, letter)
    assert told.answers == {letter: redrives.Answer(Verdict.REDRIVEN)}
    [change] = told.changes
    assert [(c.message.type, c.generation, c.dispatch) for c in change.commands] == [("collection.purge", 2, 1)]
    [row] = await steps.rows("SELECT * FROM collection_purge")
    assert (row.status, row.generation, row.attempt, row.error_code) == ("DELETING", 2, 0, None)
    assert verdicts(await redrive(steps, letter)) == [Verdict.ALREADY_REDRIVEN]


async def test_a_summary_that_was_given_up_is_wanted_again_unless_its_collection_is_deleted(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        collection_id = await make_collection(conn)
        await conn.execute(
            text(
                """
                INSERT INTO collection_summary (id, owner, status, generation, observed_generation, dispatch, attempt,
                    failures, lane) VALUES (:id, 'someone', 'PENDING', 1, 0, 1, 0, 0, 'bulk')
                """
            ),
            {"id": collection_id},
        )
    letter = await give_up_row(steps, "collection_summary", collection_id)
    assert verdicts(await redrive(steps, letter)) == [Verdict.REDRIVEN]
    [row] = await steps.rows("SELECT status, generation, due_at <= clock_timestamp() + :due AS due"
                             " FROM collection_summary", due=DUE)  # fmt: skip
    assert (row.status, row.generation, row.due) == ("PENDING", 2, True)
    again = await give_up_row(steps, "collection_summary", collection_id)
    await delete_collection(steps)
    assert verdicts(await redrive(steps, again)) == [Verdict.GONE]


async def give_up_row(steps: Steps, table: str, row_id: str) -> uuid.UUID:
    """As the driver of such rows does."""
    async with steps.engine.begin() as conn:
        failed = text(
            f"UPDATE {table} SET status = 'FAILED', observed_generation = generation, attempt = 4, error_code = 'BUSY',"
            " due_at = 'infinity' WHERE id = :id RETURNING generation"
        )
        generation = (await conn.execute(failed, {"id": row_id})).scalar_one()
        letter = text(
            """
            INSERT INTO dead_letter (id, consumer, subject, row_id, collection_id, kind, generation, attempt, code,
                message, payload, headers)
            VALUES (gen_random_uuid(), 'c', 's', :id, :id, :kind, :generation, 4, 'BUSY', 'no room', '{}', '{}')
            RETURNING id
            """
        )
        made = await conn.execute(letter, {"id": row_id, "kind": table, "generation": generation})
        id_: uuid.UUID = made.scalar_one()
        return id_


async def test_many_are_redriven_in_their_owners_turns(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        collection_id = await make_collection(conn)
    documents = [await uploaded(steps, collection_id=collection_id) for _ in range(5)]
    letters = [await give_up(steps, document_id, "parse") for document_id in documents]
    told = await redrive(steps, *letters, pace=replace(BULK, in_flight_per_owner=2))
    assert sorted(len(change.commands) for change in told.changes) == [0, 0, 0, 1, 1]
    assert len({answer.workflow_id for answer in told.answers.values()}) == 5
    waiting = "SELECT count(*) FROM document_step WHERE kind = 'parse' AND dispatch = 0 AND lane = 'bulk'"
    assert await steps.column(waiting) == [3]


async def test_a_preview_tells_what_a_redrive_would_do_and_does_nothing(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    unknown = (await steps.column("SELECT gen_random_uuid()"))[0]
    async with steps.engine.begin() as conn:
        seen = await redrives.preview(conn, [letter, unknown])
    assert seen == {letter: Verdict.REDRIVEN, unknown: Verdict.UNKNOWN}
    assert (await steps.statuses(document_id))["vector"] == "FAILED"
    assert verdicts(await redrive(steps, letter, unknown)) == list(seen.values())


async def meet(
    steps: Steps, first: Callable[[AsyncConnection], Awaitable[object]], letter: uuid.UUID
) -> redrives.Redriven:
    """A redrive that comes while the transaction of ``first`` is open."""
    async with steps.engine.begin() as conn:
        await first(conn)
        waiting = asyncio.create_task(redrive(steps, letter))
        await until_blocked(steps.engine)
    async with asyncio.timeout(30):
        return await waiting


async def test_of_two_redrives_at_once_one_redrives(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    first: list[redrives.Redriven] = []

    async def redriving(conn: AsyncConnection) -> None:
        first.append(await redrives.redrive(conn, [letter], PACE))

    assert verdicts(await meet(steps, redriving, letter)) == [Verdict.ALREADY_REDRIVEN]
    assert verdicts(first[0]) == [Verdict.REDRIVEN]
    await steps.complete(document_id, "parse", "vector")
    assert await tasks_of(steps, document_id) == [("upload", "PARTIAL"), ("redrive", "SUCCESS")]


async def test_of_two_redrives_of_a_purge_at_once_one_redrives(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        await make_collection(conn)
    letter = await give_up_row(steps, "collection_purge", await delete_collection(steps))

    async def redriving(conn: AsyncConnection) -> None:
        await redrives.redrive(conn, [letter], PACE)

    assert verdicts(await meet(steps, redriving, letter)) == [Verdict.ALREADY_REDRIVEN]
    assert await steps.column("SELECT generation FROM collection_purge") == [2]


async def test_a_redrive_that_waits_for_a_rebuild_leaves_it_alone(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)

    async def rebuilding(conn: AsyncConnection) -> None:
        await steps.rebuild_in(conn, document_id)

    assert verdicts(await meet(steps, rebuilding, letter)) == [Verdict.SUPERSEDED]
    await steps.complete(document_id)
    assert await tasks_of(steps, document_id) == [("upload", "PARTIAL"), ("rebuild", "SUCCESS")]


async def test_a_redrive_that_waits_for_a_delete_leaves_it_alone(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)

    async def deleting(conn: AsyncConnection) -> None:
        await changes.delete(conn, document_id, first_due=DUE)

    assert verdicts(await meet(steps, deleting, letter)) == [Verdict.SUPERSEDED]
    assert set((await steps.statuses(document_id)).values()) == {"DELETING"}


async def after_redrive(steps: Steps, letter: uuid.UUID, then: Callable[[], Awaitable[object]]) -> Change:
    """``then`` comes while the redrive's transaction is open, and waits for it."""
    async with steps.engine.begin() as conn:
        [change] = (await redrives.redrive(conn, [letter], PACE)).changes
        waiting = asyncio.ensure_future(then())
        await until_blocked(steps.engine)
    async with asyncio.timeout(30):
        await waiting
    return change


async def test_a_rebuild_that_waits_for_a_redrive_supersedes_it(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    await after_redrive(steps, letter, lambda: steps.rebuild(document_id))
    await steps.complete(document_id)
    assert await tasks_of(steps, document_id) == [
        ("upload", "PARTIAL"), ("redrive", "SUPERSEDED"), ("rebuild", "SUCCESS")]  # fmt: skip


async def test_a_delete_that_waits_for_a_redrive_supersedes_it(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    await after_redrive(steps, letter, lambda: steps.delete(document_id))
    assert await tasks_of(steps, document_id) == [
        ("upload", "PARTIAL"), ("redrive", "SUPERSEDED"), ("delete", "RUNNING")]  # fmt: skip
    assert set((await steps.statuses(document_id)).values()) == {"DELETING"}


async def test_a_redrive_can_be_cancelled_and_is_not_open_to_another_redrive(steps: Steps) -> None:
    document_id, letter = await with_failed_build(steps)
    [change] = (await redrive(steps, letter)).changes
    await steps.cancel(change.workflow_id)
    assert await steps.statuses(document_id) == {"parse": "ACTIVE", "vector": "FAILED", "fulltext": "ACTIVE"}
    assert verdicts(await redrive(steps, letter)) == [Verdict.ALREADY_REDRIVEN]
    assert await tasks_of(steps, document_id) == [("upload", "PARTIAL"), ("redrive", "CANCELLED")]
