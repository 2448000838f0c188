"""The life of a document, as its jobs and its tasks tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aperag_common import errors
from aperag_common.bus.delivery import Ack
from aperag_common.db.models.base import Lane
from aperag_common.db.models.workflow import WorkflowStatus
from aperag_common.jobs.steps import StepKind
from aperag_testing.factories import make_collection, make_upload
from aperag_testing.steps import DUE
from aperag_work import cancel
from aperag_work.aggregate import Served
from aperag_work.change import Change
from aperag_work.completion import Completion
from aperag_work.opening import Admission

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.steps import Steps
    from aperag_work.job import Job

ALL = ("parse", "vector", "fulltext")
BUILDS = "SELECT due_at = 'infinity' AS waits, dispatch FROM job WHERE subject_id = :d AND kind LIKE 'index.%'"


async def broken(_: Job) -> None:
    message = "no reader"
    raise errors.UnsupportedMedia(message)


async def test_a_document_runs_with_its_first_claim_and_is_complete_with_its_last_index(steps: Steps) -> None:
    upload = await steps.upload()
    assert await steps.document_status(upload.document_id) == "PENDING"

    async def running(_: Job) -> None:
        assert await steps.document_status(upload.document_id) == "RUNNING"

    assert await steps.work(upload.commands[0].message, during=running) == Ack()
    await steps.complete(upload.document_id, "vector")
    assert (await steps.document_status(upload.document_id), await steps.told()) == ("RUNNING", {})
    await steps.complete(upload.document_id, "fulltext")
    assert await steps.document_status(upload.document_id) == "COMPLETE"
    assert await steps.told() == {upload.workflow_id: ["SUCCESS"]}


async def test_builds_are_published_only_when_their_parse_is_settled(steps: Steps) -> None:
    upload = await steps.upload()
    assert {tuple(row) for row in await steps.rows(BUILDS, d=upload.document_id)} == {(True, 0)}
    await steps.complete(upload.document_id, "parse")
    assert {tuple(row) for row in await steps.rows(BUILDS, d=upload.document_id)} == {(False, 1)}


async def test_what_an_attempt_served_is_what_the_next_one_and_searches_see(steps: Steps) -> None:
    upload = await steps.upload()

    async def parse(job: Job) -> Completion:
        assert (job.subject.served_generation, job.subject.served) == (None, {})
        return Completion(served=Served(data={"chunks": 7}))

    await steps.work(upload.commands[0].message, during=parse)
    rebuilt = await steps.rebuild(upload.document_id)

    async def reuse(job: Job) -> Completion:
        assert (job.subject.served_generation, job.subject.served) == (1, {"chunks": 7})
        return Completion(served=Served(job.subject.served_generation, job.subject.served))

    assert await steps.work(rebuilt.commands[0].message, during=reuse) == Ack()
    served = "SELECT kind, served_generation, data FROM document_index WHERE document_id = :d"
    assert [tuple(row) for row in await steps.rows(served, d=upload.document_id)] == [("parse", 1, {"chunks": 7})]


async def test_a_second_delivery_of_settled_work_tells_of_no_change(steps: Steps) -> None:
    upload = await steps.upload()
    revision = "SELECT revision FROM document"
    await steps.work(upload.commands[0].message)
    before = await steps.column(revision)
    assert await steps.work(upload.commands[0].message) == Ack(outcome="settled")
    assert await steps.column(revision) == before


@pytest.mark.parametrize(
    ("parse", "vector", "fulltext", "told"),
    [
        ("done", "done", "done", "SUCCESS"),
        ("failed", "", "", "FAILED"),
        ("done", "failed", "failed", "FAILED"),
        ("done", "failed", "done", "PARTIAL"),
        ("done", "failed", "cancelled", "FAILED"),
        ("done", "failed", "superseded", "FAILED"),
        ("done", "cancelled", "cancelled", "CANCELLED"),
        ("done", "done", "cancelled", "CANCELLED"),
        ("done", "superseded", "cancelled", "CANCELLED"),
        ("done", "done", "superseded", "SUPERSEDED"),
        ("superseded", "superseded", "superseded", "SUPERSEDED"),
        ("cancelled", "cancelled", "cancelled", "CANCELLED"),
    ],
)
async def test_a_task_tells_the_worst_that_became_of_its_steps(
    steps: Steps, parse: str, vector: str, fulltext: str, told: str
) -> None:
    """A failure before a cancel, a cancel before a supersession; a success only where every step worked."""
    upload = await steps.upload()
    outcomes = dict(zip(ALL, (parse, vector, fulltext), strict=True))
    for kind in (kind for kind, outcome in outcomes.items() if outcome == "done"):
        await steps.complete(upload.document_id, kind)
    for kind in (kind for kind, outcome in outcomes.items() if outcome == "failed"):
        assert await steps.work(await steps.command(upload.document_id, kind), during=broken) == Ack(outcome="failed")
    superseded = [StepKind(kind) for kind, outcome in outcomes.items() if outcome == "superseded"]
    if superseded:
        newer = await steps.rebuild(upload.document_id, [kind for kind in superseded if kind.value != "parse"])
        assert newer.workflow_id != upload.workflow_id
    if "cancelled" in outcomes.values():
        await steps.cancel(upload.workflow_id)
    assert (await steps.told())[upload.workflow_id] == [told]


async def test_a_failed_parse_takes_its_builds_along_and_leaves_one_letter(steps: Steps) -> None:
    upload = await steps.upload()
    assert await steps.work(upload.commands[0].message, during=broken) == Ack(outcome="failed")
    assert await steps.statuses(upload.document_id) == dict.fromkeys(ALL, "FAILED")
    assert await steps.document_status(upload.document_id) == "FAILED"
    assert await steps.column("SELECT DISTINCT error_message FROM job") == ["no reader"]
    assert await steps.column("SELECT document_id FROM dead_letter") == [upload.document_id]


async def test_a_deleted_documents_indexes_are_removed_and_its_task_ends(steps: Steps) -> None:
    upload = await steps.upload()
    await steps.complete(upload.document_id)
    deleted = await steps.delete(upload.document_id)
    assert await steps.delete(upload.document_id) is None
    assert deleted is not None
    assert len(deleted.commands) == 3
    for removal in deleted.commands:
        assert await steps.work(removal.message) == Ack()
    assert await steps.statuses(upload.document_id) == dict.fromkeys(ALL, "DELETED")
    assert await steps.column("SELECT kind FROM document_index") == []
    assert await steps.column("SELECT status FROM workflow WHERE id = :w", w=deleted.workflow_id) == ["SUCCESS"]
    assert await steps.document_status(upload.document_id) == "DELETED"


async def test_a_cancelled_task_fences_its_worker_and_is_cancelled_once(steps: Steps) -> None:
    upload = await steps.upload()

    async def cancelling(_: Job) -> None:
        assert isinstance(await steps.cancel(upload.workflow_id), Change)

    assert await steps.work(upload.commands[0].message, during=cancelling) == Ack(outcome="superseded")
    found = await steps.rows("SELECT status, error_code, due_at = 'infinity' AS over FROM job")
    assert {tuple(row) for row in found} == {("FAILED", "CANCELLED", True)}
    assert await steps.told() == {upload.workflow_id: ["CANCELLED"]}
    assert await steps.cancel(upload.workflow_id) == cancel.AlreadySettled(WorkflowStatus.CANCELLED)


async def test_a_cancelled_rebuild_serves_the_older_content_again(steps: Steps) -> None:
    upload = await steps.upload()
    await steps.complete(upload.document_id)
    second = await steps.rebuild(upload.document_id)
    await steps.cancel(second.workflow_id)
    assert await steps.statuses(upload.document_id) == dict.fromkeys(ALL, "ACTIVE")
    assert await steps.document_status(upload.document_id) == "COMPLETE"
    assert await steps.column("SELECT DISTINCT served_generation FROM document_index") == [1]


async def test_documents_beyond_their_owners_slots_wait_unpublished(engine: AsyncEngine, steps: Steps) -> None:
    admission = Admission(Lane.INTERACTIVE, in_flight_per_owner=2, first_due=DUE)
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        made = [await make_upload(conn, collection_id=collection_id, admission=admission) for _ in range(3)]
    assert [len(change.commands) for change in made] == [1, 1, 0]
    assert sorted(await steps.column("SELECT dispatch FROM job WHERE kind = 'parse'")) == [0, 1, 1]
