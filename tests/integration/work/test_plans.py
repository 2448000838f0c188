"""What a statement of the engine reads does not grow with the table, even before PostgreSQL has ever analyzed it."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from aperag_testing.factories import ADMISSION, KINDS, make_collection, new_document
from aperag_work import document_rows, effects, leases, transitions, waiting
from aperag_work.accepting import accept
from aperag_work.database import columns, driver
from aperag_work.documents import Documents
from aperag_work.policy import LEASE_SLACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_work.database import Connection, Database, Statement
    from aperag_work.rows import JobRow

DOCUMENTS = 400
ASKED = 8
A_FEW = 4 * ASKED
"""Rows that any one step of a plan may read: each document has three jobs."""


@pytest_asyncio.fixture
async def accepted(engine: AsyncEngine) -> list[JobRow]:
    """The parses of many waiting documents."""
    async with engine.begin() as conn:
        collection = await make_collection(conn)
        owner = (await conn.exec_driver_sql(f"SELECT owner FROM collection WHERE id = '{collection}'")).scalar_one()
        new = [new_document(collection, owner) for _ in range(DOCUMENTS)]
        changes = await accept(await driver(conn), new, KINDS, ADMISSION)
    return [command.row for change in changes for command in change.commands]


async def rows_read(conn: Connection, statement: Statement, *arguments: Any) -> dict[str, int]:
    """By scan, the rows that it looked at."""
    await conn.execute("BEGIN")
    [[plans]] = await conn.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", *arguments)
    await conn.execute("ROLLBACK")
    return dict(_scans(_loaded(plans)[0]["Plan"]))


def _loaded(plans: Any) -> Any:
    return json.loads(plans) if isinstance(plans, str) else plans


def _scans(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        looked_at = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield (
            f"{plan['Node Type']} {plan.get('Index Name', '')} {plan['Relation Name']}",
            looked_at * plan["Actual Loops"],
        )
    if plan["Node Type"] == "Bitmap Index Scan":
        yield f"{plan['Node Type']} {plan['Index Name']}", plan["Actual Rows"] * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from _scans(part)


async def test_a_claim_reads_what_it_asks_for(job_database: Database, accepted: list[JobRow]) -> None:
    asked = accepted[:ASKED]
    async with job_database.relaxed.acquire() as conn:
        read = await rows_read(
            conn,
            leases._claim(Documents()),
            [row.id for row in asked],
            [row.generation for row in asked],
            [secrets.token_hex(16) for _ in asked],
            5,
            "tests",
            timedelta(seconds=30),
            LEASE_SLACK,
        )
    assert read
    assert {scan: rows for scan, rows in read.items() if rows > A_FEW} == {}


def _of_documents(subjects: Sequence[str]) -> list[tuple[Statement, tuple[Any, ...]]]:
    followers = ["index.vector", "index.fulltext"]
    nothing: list[str] = []
    return [
        (effects._CLOSE_AND_READ, (nothing, nothing, nothing, subjects)),
        (waiting._RELEASE_WAITING, (subjects, timedelta(seconds=60), followers)),
        (waiting._FAIL_WAITING, (subjects, followers, "CODE", "why")),
        (document_rows._LOCK, (subjects,)),
    ]


async def test_what_ends_a_job_reads_the_jobs_of_its_document(job_database: Database, accepted: list[JobRow]) -> None:
    subjects = [row.subject_id for row in accepted[:ASKED]]
    async with job_database.durable.acquire() as conn:
        for statement, arguments in _of_documents(subjects):
            read = await rows_read(conn, statement, *arguments)
            assert {scan: rows for scan, rows in read.items() if rows > A_FEW} == {}, statement.name


async def test_ends_and_new_generations_read_the_jobs_that_they_are_about(
    job_database: Database, accepted: list[JobRow]
) -> None:
    asked = accepted[:ASKED]
    nothing = [None] * ASKED
    ids, generations = [row.id for row in asked], [row.generation for row in asked]
    ends = (ids, generations, ["token"] * ASKED, ["done"] * ASKED, *[nothing] * 6, False, timedelta(seconds=60), False)
    wishes = columns(asked, "id", "kind", "subject_id", "collection_id")
    rest = (*columns(asked, "owner", "workflow_id", "dispatch"), [False] * ASKED, list(transitions.ANY_STATUS), None)
    wants = ("present", "bulk", timedelta(seconds=60), None, *wishes, False, *rest, nothing)
    async with job_database.durable.acquire() as conn:
        for statement, arguments in ((transitions._END, ends), (transitions._WANT, wants)):
            read = await rows_read(conn, statement, *arguments)
            assert read
            assert {scan: rows for scan, rows in read.items() if rows > A_FEW} == {}, statement.name
