"""Data directories that earlier versions left, with open work in them: nothing is lost and everything open ends."""

from __future__ import annotations

import asyncio
import re
import subprocess
import uuid
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from tests.integration.db.conftest import connect
from tests.integration.db.recorded import REVISIONS, Recording

from aperag_common.db import migrate
from aperag_common.db.models.base import OPEN_SQL, is_open
from aperag_common.jobs.kind import kind_of, kinds
from aperag_common.services import Service, role
from aperag_standalone.home import Home
from aperag_standalone.postgres import PostgresServer, tree
from aperag_testing.client import Client
from aperag_testing.stack import Stack, running
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    Connection = asyncpg.Connection[asyncpg.Record]
    Rows = list[dict[str, Any]]

BEFORE = "0005"
DRIVEN = ("document_step", "collection_purge", "user_purge", "collection_summary", "turn")
STARTED = {"CREATING": "PENDING", "DELETION_IN_PROGRESS": "DELETING"}
KEPT = (
    *("owner", "lane", "generation", "observed_generation", "dispatch", "attempt", "failures", "worker"),
    *(
        "failed_attempts",
        "started_at",
        "settled_at",
        "error_code",
        "error_message",
        "traceparent",
        "created",
        "updated",
    ),
)
"""Columns that a job takes over as they are."""


@dataclass(slots=True)
class Upgraded:
    """``before`` are the rows that drove work, by table, as they were before the newest migration."""

    recording: Recording
    url: str
    before: dict[str, Rows]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        yield connection
    finally:
        await connection.close()


async def rows(url: str, sql: str, *arguments: Any) -> Rows:
    async with connected(url) as connection:
        return [dict(row) for row in await connection.fetch(sql, *arguments)]


async def driven(url: str) -> dict[str, Rows]:
    return {table: await rows(url, f"SELECT * FROM {table} ORDER BY id") for table in DRIVEN}


async def upgraded_in_steps(recording: Recording, url: str) -> Upgraded:
    await migrate.upgrade(url, BEFORE)
    before = await driven(url)
    await migrate.upgrade(url)
    return Upgraded(recording, url, before)


@pytest.fixture(scope="module", params=REVISIONS)
def upgraded(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Upgraded]:
    recording = Recording(request.param)
    name = f"recorded{uuid.uuid4().hex}"
    yield asyncio.run(upgraded_in_steps(recording, recording.restore_database(postgres, name)))
    postgres.drop_database(name)


def kind_before(table: str, row: dict[str, Any]) -> str:
    if table != "document_step":
        return {"collection_purge": "collection.purge", "user_purge": "user.purge"}.get(table, table.replace("_", "."))
    return str(row["kind"]) if row["kind"] == "parse" else f"index.{row['kind']}"


def test_every_revision_before_the_table_of_jobs_is_recorded() -> None:
    """Newer ones add tables and columns, and take the rows of these recordings along on their way to the newest."""
    scripts = migrate.config().get_main_option("script_location")
    assert scripts is not None
    from alembic.script import ScriptDirectory

    known = [it.revision for it in ScriptDirectory(scripts).walk_revisions()]
    assert [it for it in sorted(known) if it <= BEFORE] == REVISIONS


async def test_every_row_that_drove_work_is_a_job_and_nothing_else_is(upgraded: Upgraded) -> None:
    jobs = {(job["subject_id"], job["kind"]): job for job in await rows(upgraded.url, "SELECT * FROM job")}
    assert len(jobs) == sum(map(len, upgraded.before.values()))
    for table, found in upgraded.before.items():
        for row in found:
            job = jobs[row.get("document_id", row["id"]), kind_before(table, row)]
            assert {name: job[name] for name in KEPT} == {name: row[name] for name in KEPT}
            assert job["workflow_id"] == row.get("workflow_id")
            assert job["id"] == row["id"] or table == "collection_summary"
            assert job["status"] == STARTED.get(row["status"], row["status"])
            removes = row["status"].startswith("DELET") or job["kind"].endswith(".purge")
            assert job["wanted"] == ("absent" if removes else "present")
            assert kind_of(job["kind"]).work(job["wanted"])  # somebody does this


async def test_what_was_recorded_as_open_is_open_and_what_was_settled_stays_so(upgraded: Upgraded) -> None:
    """Told by the recording, which the migration does not know."""
    recorded = upgraded.recording.expected["at_recording"]["rows"]
    jobs = {(job["subject_id"], job["kind"]): job for job in await rows(upgraded.url, "SELECT * FROM job")}
    opened = Counter[str]()
    for table, found in recorded.items():
        for row in found:
            job = jobs[row.get("document_id", row["id"]), kind_before(table, row)]
            told = ("owner", "generation", "dispatch", "attempt", "failures")
            assert [job[name] for name in told] == [row[name] for name in told]
            assert job["workflow_id"] == row.get("workflow_id")
            assert is_open(job["status"]) is is_open(row["status"])
            if not is_open(job["status"]):
                assert (job["status"], job["due_at"].year) == (row["status"], 9999)
            opened[table] += is_open(job["status"])
    assert opened.keys() == recorded.keys()
    assert all(opened.values())


async def test_open_work_is_due_soon_and_nobody_holds_it(upgraded: Upgraded) -> None:
    """What waits at infinity waits for a parse of its document that is open itself."""
    held = "SELECT id FROM job WHERE coalesce(lease_token, lease_owner, lease_until::text) IS NOT NULL"
    assert await rows(upgraded.url, held) == []
    late = f"SELECT id FROM job WHERE status IN {OPEN_SQL} AND due_at > clock_timestamp() + interval '10 min'"
    waiting = await rows(upgraded.url, f"{late} AND due_at < 'infinity'")
    assert waiting == []
    forgotten = f"""
        {late} AND NOT EXISTS (SELECT FROM job p WHERE p.subject_id = job.subject_id AND p.kind = 'parse'
            AND p.status IN {OPEN_SQL} AND p.due_at < 'infinity')
    """
    assert await rows(upgraded.url, forgotten) == []
    published = f"SELECT id FROM job WHERE status IN {OPEN_SQL} AND dispatch > 0 AND failures = 0 AND due_at > now()"
    assert await rows(upgraded.url, published) == []


async def test_what_was_served_is_served_and_no_document_at_rest_lost_it(upgraded: Upgraded) -> None:
    served = await rows(upgraded.url, "SELECT * FROM document_index ORDER BY document_id, kind")
    steps = [row for row in upgraded.before["document_step"] if row["served_generation"] is not None]
    columns = ("document_id", "kind", "served_generation", "data")
    expected = [{name: row[name] for name in columns} for row in steps]
    assert served == sorted(expected, key=lambda row: (row["document_id"], row["kind"]))
    states = upgraded.recording.expected["at_recording"]["documents"]
    complete = {document for document, it in states.items() if it["status"] == "COMPLETE"}
    kinds_served = Counter(row["document_id"] for row in served)
    assert complete
    assert {document: kinds_served[document] for document in complete} == dict.fromkeys(complete, 3)


async def test_everything_else_is_as_it_was(upgraded: Upgraded) -> None:
    """Also of revisions whose own columns have changed on the way: documents, tasks, dead letters."""
    expected = upgraded.recording.expected
    recorded = expected["at_recording"]
    documents = await rows(upgraded.url, "SELECT id, name, status FROM document")
    assert {row.pop("id"): row for row in documents} == recorded["documents"]
    tasks = await rows(upgraded.url, "SELECT id, document_id, kind, status FROM workflow")
    assert {row.pop("id"): row for row in tasks} == recorded["tasks"]
    letters = await rows(upgraded.url, "SELECT id, row_id, kind FROM dead_letter")
    assert [str(row["id"]) for row in letters] == expected["dead_letters"]
    jobs = {row["id"] for row in await rows(upgraded.url, "SELECT id FROM job")}
    assert {row["row_id"] for row in letters} <= jobs
    assert {row["id"] for row in await rows(upgraded.url, "SELECT id FROM users")} == set(expected["users"])
    turns = await rows(upgraded.url, "SELECT id, credential FROM turn")
    assert all(re.fullmatch("[0-9a-f]{32}", row["credential"]) for row in turns)
    assert len({row["credential"] for row in turns}) == len(turns) == len(expected["turns"])


async def test_the_schema_is_that_of_a_new_installation(
    postgres: PostgresServer, upgraded: Upgraded, empty: str
) -> None:
    await migrate.upgrade(empty)
    assert schema(postgres, upgraded.url) == schema(postgres, empty)


async def test_rows_are_guarded_and_jobs_go_with_their_subjects(postgres: PostgresServer, upgraded: Upgraded) -> None:
    counts = await rows(upgraded.url, "SELECT kind, count(*) AS jobs FROM job GROUP BY kind")
    for service in Service:
        own = {kind.name for kind in kinds() if service in {kind.service, Service.API, Service.RECONCILER}}
        seen = await connect(postgres, upgraded.url, role(service))
        found = await seen.fetch("SELECT kind, count(*) AS jobs FROM job GROUP BY kind")
        await seen.close()
        assert {row["kind"]: row["jobs"] for row in found} == {
            row["kind"]: row["jobs"] for row in counts if row["kind"] in own
        }
    async with connected(upgraded.url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("DELETE FROM document; DELETE FROM turn; DELETE FROM collection_summary")
        left = {row["kind"] for row in await connection.fetch("SELECT kind FROM job")}
        await transaction.rollback()
    assert left == {row["kind"] for row in counts} & {"collection.purge", "user.purge"}


async def test_migrating_again_changes_nothing(postgres: PostgresServer, upgraded: Upgraded) -> None:
    before = dump(postgres, upgraded.url)
    await migrate.upgrade(upgraded.url)
    assert dump(postgres, upgraded.url) == before


def dump(postgres: PostgresServer, url: str, *options: str) -> str:
    """The whole database as text, with privileges, policies and triggers."""
    address = ("-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "-d", str(make_url(url).database))
    command = [str(tree() / "bin" / "pg_dump"), "--restrict-key=tests", *options, *address]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout


def schema(postgres: PostgresServer, url: str) -> str:
    """As it is after a restore: conditions of indexes are written in other words then."""
    made = dump(postgres, url, "--schema-only")
    name = f"restored{uuid.uuid4().hex}"
    restored = postgres.create_database(name)
    postgres.execute(made.replace("CREATE SCHEMA public", "CREATE SCHEMA IF NOT EXISTS public"), database=name)
    made = dump(postgres, restored, "--schema-only")
    postgres.drop_database(name)
    return made


LEASED = (
    "lease_token = 'gone', lease_owner = 'worker', lease_until = clock_timestamp() + interval '30 s', attempt = 1,"
    " due_at = clock_timestamp() + interval '35 s', dispatch = 1"
)
AT_WORK = f"""
    UPDATE turn SET status = 'CREATING', {LEASED} WHERE status = 'PENDING';
    UPDATE collection_purge SET status = 'DELETION_IN_PROGRESS', {LEASED};
    UPDATE user_purge SET status = 'DELETION_IN_PROGRESS', {LEASED};
    UPDATE collection_summary SET status = 'CREATING', {LEASED} WHERE status = 'PENDING';
    UPDATE collection_summary SET status = 'FAILED', failures = 4, error_code = 'BUSY', due_at = 'infinity'
        WHERE status = 'ACTIVE';
    INSERT INTO dead_letter (id, owner, consumer, subject, row_id, generation, attempt, code, message, payload, headers,
        kind, failures)
    SELECT gen_random_uuid(), 'o', 'c', 's', id, 1, 1, 'BUSY', 'm', '{{}}', '{{}}', kind, 4 FROM (
        SELECT id, 'collection_summary' AS kind FROM collection_summary
        UNION ALL SELECT id, 'collection_purge' FROM collection_purge UNION ALL SELECT id, 'user_purge' FROM user_purge
        UNION ALL SELECT id, 'turn' FROM turn UNION ALL SELECT id, kind FROM document_step
    ) AS driven;
"""


async def test_who_was_at_work_is_gone_and_dead_letters_name_the_jobs(postgres: PostgresServer, empty: str) -> None:
    """Every kind of work at once, of which the recordings hold only some."""
    name = str(make_url(empty).database)
    recording = Recording(BEFORE)
    recording.restore_database(postgres, name)
    postgres.execute(f"DELETE FROM dead_letter; {AT_WORK}", database=name)
    after = await upgraded_in_steps(recording, empty)
    attempted = await rows(
        empty, "SELECT kind, status, lease_token, due_at < now() AS due FROM job WHERE lease_owner IS NULL"
    )
    begun = {row["kind"]: (row["status"], row["due"]) for row in attempted if row["kind"] not in ("parse", "turn")}
    assert begun["collection.purge"] == begun["user.purge"] == ("DELETING", True)
    turns = Counter((row["status"], row["due"]) for row in attempted if row["kind"] == "turn")
    summaries = Counter((row["status"], row["due"]) for row in attempted if row["kind"] == "collection.summary")
    assert turns == {("ACTIVE", False): 1, ("PENDING", True): 1}
    assert summaries == {("PENDING", True): 1, ("FAILED", False): 1}
    assert all(row["lease_token"] is None for row in attempted)
    jobs = await rows(empty, "SELECT id, kind FROM job")
    letters = await rows(empty, "SELECT row_id, kind FROM dead_letter")
    assert len(letters) == sum(map(len, after.before.values()))
    assert {(row["row_id"], row["kind"]) for row in letters} == {
        (row["id"], kind_of(row["kind"]).shown) for row in jobs
    }


async def test_a_directory_that_an_early_version_of_0003_migrated_gets_the_column_it_lacks(empty: str) -> None:
    await migrate.upgrade(empty, BEFORE)
    async with connected(empty) as connection:
        await connection.execute("ALTER TABLE users DROP COLUMN email_verified")
        await connection.execute("INSERT INTO users (id, username, role, is_active) VALUES ('user1', 'u', 'rw', true)")
    await migrate.upgrade(empty)
    assert await rows(empty, "SELECT email_verified FROM users") == [{"email_verified": False}]
    described = "SELECT data_type, is_nullable, column_default FROM information_schema.columns WHERE column_name = $1"
    [column] = await rows(empty, described, "email_verified")
    assert column == {"data_type": "boolean", "is_nullable": "NO", "column_default": "false"}


OPEN_WORK = f"SELECT kind, subject_id, status FROM job WHERE status IN {OPEN_SQL}"


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_stack_starts_on_what_an_earlier_version_left_and_ends_all_that_is_open(
    revision: str, tmp_path: Path
) -> None:
    recording, home = Recording(revision), Home(tmp_path / "home")
    recording.unpack(home)
    with PostgresServer(home.postgres) as server:
        recording.restore_database(server, "aperag")
    with running(home.directory) as stack:

        async def at_rest() -> bool:
            return await rows(stack.postgres_url, OPEN_WORK) == []

        try:
            await until(at_rest, within=200, every=0.5)
        except AssertionError:
            pytest.fail(f"still open: {await rows(stack.postgres_url, OPEN_WORK)}")
        assert await ends(stack.postgres_url, recording.expected) == {}
        await is_found(stack, recording.expected)


FOUND = {
    "seal returned": ({"returns.md", "held-1.md", "held-2.md", "leased.md"}, {"shipping.md"}),
    "보증 기간": ({"보증.md"}, {"설명서.md"}),
    "运费": ({"运费.md", "leased.md"}, {"说明.md"}),
}
"""Of documents that say the same, one is shown."""
UNSEARCHABLE = """
    SELECT d.id FROM document d CROSS JOIN (VALUES ('vector'), ('fulltext')) AS k(kind) WHERE d.status = 'COMPLETE'
        AND NOT EXISTS (
            SELECT FROM document_index i JOIN (
                SELECT 'vector' AS kind, document_id, generation FROM chunk_vector
                UNION ALL SELECT 'fulltext', document_id, generation FROM chunk_term
            ) AS made ON (made.kind, made.document_id, made.generation) = (i.kind, i.document_id, i.served_generation)
            WHERE i.document_id = d.id AND i.kind = k.kind
        )
"""


async def ends(url: str, expected: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Whatever became of something else than expected, by id: what was expected, and what it is."""
    wrong: dict[str, tuple[Any, Any]] = {}
    for what, sql in {
        "documents": "SELECT id, status AS is FROM document WHERE deleted_at IS NULL",
        "collections": "SELECT id, status AS is FROM collection WHERE deleted_at IS NULL",
        "users": "SELECT id, 'ACTIVE' AS is FROM users WHERE is_active",
        "tasks": "SELECT id, status AS is FROM workflow",
        "steps": "SELECT id, status AS is FROM job WHERE status <> 'DELETED'",
        "turns": "SELECT id, outcome AS is FROM turn",
        "summaries": "SELECT subject_id AS id, status AS is FROM job WHERE kind = 'collection.summary'",
    }.items():
        found = {row["id"]: row["is"] for row in await rows(url, sql)}
        wrong |= {id_: (end, found.get(id_)) for id_, end in expected[what].items() if found.get(id_) != end}
    letters = {str(row["id"]) for row in await rows(url, "SELECT id FROM dead_letter")}
    return wrong | dict.fromkeys(set(expected["dead_letters"]) ^ letters, ("kept", None))


async def is_found(stack: Stack, expected: dict[str, Any]) -> None:
    """In every language, by an index of before and by one that was made now."""
    assert await rows(stack.postgres_url, UNSEARCHABLE) == []
    handbooks = next(id_ for id_, what in expected["roles"].items() if what == "collection Handbooks")
    async with Client(stack.url, stack.api_key) as client:
        for query, wanted in FOUND.items():
            body = {"query": query, "fulltext_search": {}, "vector_search": {}}
            answer = await client.json("POST", f"/collections/{handbooks}/searches", json=body)
            found = {item["source"] for item in answer["items"]}
            assert all(names & found for names in wanted), found
