"""Row-level security under attack: as each service's role, against jobs and events that are not its own."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from aperag_common import subjects
from aperag_common.events import facts
from aperag_common.jobs.kind import JobKind, kinds
from aperag_common.services import Service, role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_standalone.postgres import PostgresServer

    Connection = asyncpg.Connection[asyncpg.Record]

REFUSED = asyncpg.InsufficientPrivilegeError
AGENT, API, INDEXER, RECONCILER = Service.AGENT, Service.API, Service.INDEXER, Service.RECONCILER
SEES_ALL = {API, RECONCILER}
ADDS_JOBS = {API, INDEXER, RECONCILER, Service.WEBHOOKS}
TYPES = tuple(fact.type_name for fact in facts.FACTS)

_INSERT_JOB = """
    INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status) VALUES ($1, $2, $3, 'user1', 'bulk', $4, 'PENDING')
    RETURNING id
"""
_INSERT_EVENT = "INSERT INTO outbox (id, subject, payload) VALUES ($1, $2, $3) RETURNING id"

SERVICE = pytest.mark.parametrize("service", Service)


def has(service: Service, kind: JobKind) -> bool:
    return service in SEES_ALL or service is kind.service


def makes(service: Service, type_name: str) -> bool:
    return type_name in {fact.type_name for fact in facts.made_by(service)}


async def add_event(connection: Connection, subject: str, *, type_name: str | None, owner: str | None = "user1") -> Any:
    told = {"type": type_name, "owner": owner}
    payload = json.dumps({name: value for name, value in told.items() if value is not None})
    return await connection.fetchval(_INSERT_EVENT, uuid.uuid4(), subject, payload)


def subject_of(type_name: str) -> str:
    return subjects.event("user1", *type_name.split("."))


@pytest_asyncio.fixture
async def owner(postgres: PostgresServer, granted: str) -> AsyncIterator[Connection]:
    """The owner of the tables, whom nothing binds; a job of each kind and an event of each type are there."""
    connection = await asyncpg.connect(make_url(granted).set(drivername="postgresql").render_as_string())
    for kind in kinds():
        wanted = "present" if kind.present else "absent"
        await connection.execute(_INSERT_JOB, f"job-{kind.name}", kind.name, "subject1", wanted)
    for type_name in TYPES:
        await add_event(connection, subject_of(type_name), type_name=type_name)
    yield connection
    await connection.execute("TRUNCATE job, outbox, users CASCADE")
    await connection.close()


async def changed(connection: Connection, statement: str, *arguments: Any) -> int:
    """How many rows the statement was about."""
    return len(await connection.fetch(f"{statement} RETURNING 1", *arguments))


@SERVICE
async def test_a_service_sees_and_changes_jobs_of_its_own_kinds_only(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    attacker = connections[service]
    for kind in kinds():
        rows = int(has(service, kind))
        for lock in ("", "FOR SHARE", "FOR UPDATE", "FOR UPDATE SKIP LOCKED"):
            found = await attacker.fetch(f"SELECT id FROM job WHERE kind = $1 {lock}", kind.name)
            assert len(found) == rows, kind.name
        assert await changed(attacker, "UPDATE job SET data = '{}' WHERE id = $1", f"job-{kind.name}") == rows, (
            kind.name
        )
        change = "UPDATE job SET status = 'ACTIVE', lease_token = 'stolen', lease_until = 'infinity' WHERE kind = $1"
        assert await changed(attacker, change, kind.name) == rows, kind.name
    stolen = {row["kind"] for row in await owner.fetch("SELECT kind FROM job WHERE lease_token = 'stolen'")}
    assert stolen == {kind.name for kind in kinds() if has(service, kind)}


async def test_an_agent_opens_no_turn_again_that_has_ended(
    owner: Connection, connections: dict[Service, Connection]
) -> None:
    """The attack: an open turn with a lease is a credential, which reads as its asker does."""
    await owner.execute("UPDATE job SET status = 'ACTIVE' WHERE kind = 'turn'")
    for change in (
        "status = 'CREATING', lease_token = 'mine', lease_until = 'infinity'",
        "generation = 2",
        "data = '{}'",
    ):
        assert await changed(connections[AGENT], f"UPDATE job SET {change} WHERE kind = 'turn'") == 0
    assert await connections[AGENT].fetchval("SELECT count(*) FROM job WHERE kind = 'turn'") == 1
    await owner.execute("UPDATE job SET status = 'CREATING' WHERE kind = 'turn'")
    with pytest.raises(REFUSED):
        await connections[AGENT].execute("UPDATE job SET owner = 'user2' WHERE kind = 'turn'")
    with pytest.raises(REFUSED):
        await connections[AGENT].execute("UPDATE turn SET owner = 'user2'")
    assert await changed(connections[AGENT], "UPDATE job SET status = 'ACTIVE' WHERE kind = 'turn'") == 1


@SERVICE
async def test_a_service_enters_no_database_but_its_own(postgres: PostgresServer, service: Service) -> None:
    for name in ("postgres", "template1"):
        address = make_url(postgres.url(name, role=role(service))).set(drivername="postgresql")
        with pytest.raises(REFUSED):
            await asyncpg.connect(address.render_as_string(hide_password=False))


@SERVICE
async def test_whoever_names_no_kind_gets_its_own_jobs_alone(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    own = {kind.name for kind in kinds() if has(service, kind)}
    assert {row["kind"] for row in await connections[service].fetch("SELECT kind FROM job")} == own
    assert await connections[service].fetchval("SELECT count(*) FROM job") == len(own)
    assert await changed(connections[service], "UPDATE job SET status = 'FAILED'") == len(own)
    failed = {row["kind"] for row in await owner.fetch("SELECT kind FROM job WHERE status = 'FAILED'")}
    assert failed == own


@SERVICE
async def test_a_service_adds_jobs_of_its_own_kinds_only(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    """Neither new ones nor by way of rows that are there."""
    upsert = _INSERT_JOB.replace(
        "RETURNING", "ON CONFLICT (subject_id, kind) DO UPDATE SET lease_token = 'mine' RETURNING"
    )
    for kind in kinds():
        new = (f"new-{kind.name}", kind.name, "subject2", "present")
        taken = (f"other-{kind.name}", kind.name, "subject1", "present")
        for statement, arguments, expected in (
            (_INSERT_JOB, new, f"new-{kind.name}"),
            (upsert, taken, f"job-{kind.name}"),
        ):
            if service in ADDS_JOBS and has(service, kind):
                assert await connections[service].fetchval(statement, *arguments) == expected
            else:
                with pytest.raises(REFUSED):
                    await connections[service].fetchval(statement, *arguments)
    written = await owner.fetch("SELECT kind FROM job WHERE lease_token = 'mine' OR subject_id = 'subject2'")
    own = [kind.name for kind in kinds() if service in ADDS_JOBS and has(service, kind)]
    assert sorted(row["kind"] for row in written) == sorted([*own, *own])


@SERVICE
async def test_only_the_reconciler_removes_jobs(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    if service is RECONCILER:
        assert await changed(connections[service], "DELETE FROM job") == len(kinds())
    else:
        with pytest.raises(REFUSED):
            await connections[service].execute("DELETE FROM job")
        assert await owner.fetchval("SELECT count(*) FROM job") == len(kinds())


@SERVICE
async def test_a_service_reads_and_marks_events_that_it_makes_or_must_relay(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    read, marked = set(), set()
    for type_name in TYPES:
        subject = subject_of(type_name)
        if await connections[service].fetch("SELECT id FROM outbox WHERE subject = $1", subject):
            read.add(type_name)
        if await changed(connections[service], "UPDATE outbox SET epoch = 7 WHERE subject = $1", subject):
            marked.add(type_name)
    made = {type_name for type_name in TYPES if makes(service, type_name)}
    assert read == (set(TYPES) if service in SEES_ALL else made)
    assert marked == (set(TYPES) if service is RECONCILER else made)
    assert await owner.fetchval("SELECT count(*) FROM outbox WHERE epoch = 7") == len(marked)


@SERVICE
async def test_a_service_writes_events_that_it_makes_only(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    for type_name in TYPES:
        if makes(service, type_name):
            assert await add_event(connections[service], subject_of(type_name), type_name=type_name)
        else:
            with pytest.raises(REFUSED):
                await add_event(connections[service], subject_of(type_name), type_name=type_name)
    written = await owner.fetchval("SELECT count(*) FROM outbox") - len(TYPES)
    assert written == len(facts.made_by(service)) > 0


OWN, OTHER = "step.dead_lettered", "document.unheard-of"  # every service makes the one, none the other
FORGED: list[tuple[str, str | None, str | None]] = [
    # subject, type and owner as the payload has them
    (subject_of(OWN), "document.deleted", "user1"),
    (subject_of(OWN), OTHER, "user1"),
    (subject_of(OWN), OWN, "user2"),
    (subject_of(OWN), None, "user1"),
    (subject_of(OWN), OWN, None),
    (f"aperag.evt.user1.{OTHER}", OTHER, "user1"),
    (f"aperag.evt.user1.{OTHER}", OWN, "user1"),
    (f"{subject_of(OWN)}.again", OWN, "user1"),
    (f"aperag.evt.user1.other.{OWN}", OWN, "user1"),
    (f"aperag.evt.user1.{OWN}.{OWN}", OWN, f"user1.{OWN}"),
    (f"aperag.cmd.user1.{OWN}", OWN, "user1"),
    (f"elsewhere.evt.user1.{OWN}", OWN, "user1"),
    (f"aperag.evt.*.{OWN}", OWN, "*"),
    (f"aperag.evt..{OWN}", OWN, ""),
    (f"aperag.evt.user 1.{OWN}", OWN, "user 1"),
    (f"{subject_of(OWN)}\n", OWN, "user1"),
    ("aperag.cmd.document.parse", "document.parse", "user1"),
    ("", OWN, "user1"),
]


@pytest.mark.parametrize(("subject", "type_name", "payload_owner"), FORGED, ids=repr)
async def test_an_event_whose_subject_and_payload_differ_or_are_none_is_refused(
    owner: Connection,
    connections: dict[Service, Connection],
    subject: str,
    type_name: str | None,
    payload_owner: str | None,
) -> None:
    for connection in connections.values():
        with pytest.raises(REFUSED, match="row-level security"):
            await add_event(connection, subject, type_name=type_name, owner=payload_owner)
    assert await owner.fetchval("SELECT count(*) FROM outbox") == len(TYPES)


@SERVICE
async def test_nobody_changes_what_an_event_says_and_only_the_reconciler_removes_it(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    for change in ("subject = subject", "payload = '{}'", "id = gen_random_uuid()", "created = now()"):
        with pytest.raises(REFUSED):
            await connections[service].execute(f"UPDATE outbox SET {change}")
    if service is RECONCILER:
        assert await changed(connections[service], "DELETE FROM outbox") == len(TYPES)
    else:
        with pytest.raises(REFUSED):
            await connections[service].execute("DELETE FROM outbox")


@pytest.mark.parametrize(
    "statement",
    [
        "SET row_security = off; SELECT 1 FROM job",
        "SET row_security = off; SELECT 1 FROM outbox",
        "ALTER TABLE job DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE outbox NO FORCE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON job USING (true)",
        "DROP POLICY job_update_aperag_agent ON job",
        "ALTER POLICY outbox_insert_aperag_agent ON outbox WITH CHECK (true)",
        "ALTER TABLE job DISABLE TRIGGER ALL",
        "TRUNCATE job",
        "CREATE TRIGGER mine AFTER UPDATE ON job EXECUTE FUNCTION remove_jobs('turn')",
        "CREATE OR REPLACE FUNCTION remove_jobs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "SET SESSION AUTHORIZATION aperag",
        "SET ROLE aperag",
    ],
)
async def test_nobody_gets_around_the_policies(
    owner: Connection, connections: dict[Service, Connection], statement: str
) -> None:
    for connection in connections.values():
        transaction = connection.transaction()
        await transaction.start()
        with pytest.raises(REFUSED):
            await connection.execute(statement)
        await transaction.rollback()


@SERVICE
async def test_nobody_becomes_somebody_else(connections: dict[Service, Connection], service: Service) -> None:
    for other in set(Service) - {service}:
        with pytest.raises(REFUSED):
            await connections[service].execute(f"SET ROLE {role(other)}")


@SERVICE
async def test_what_removes_jobs_with_their_subjects_cannot_be_called(
    owner: Connection, connections: dict[Service, Connection], service: Service
) -> None:
    with pytest.raises(asyncpg.PostgresError, match="can only be called as triggers"):
        await connections[service].execute("SELECT remove_jobs()")


SUBJECTS = """
    INSERT INTO users (id, username, role, is_active) VALUES ('user1', 'u', 'rw', true);
    INSERT INTO collection (id, owner, title, description, type, status, config, analyzer, active_model)
        VALUES ('subject1', 'user1', 't', '', 'document', 'ACTIVE', '{}', 'standard/1', 'local/m');
    INSERT INTO collection_summary (id, owner) VALUES ('subject1', 'user1');
    INSERT INTO document (id, collection_id, owner, name, status, revision, size, sha256, object_path, details)
        VALUES ('subject1', 'subject1', 'user1', 'n', 'PENDING', 1, 1, '0', 'p', '{}');
    INSERT INTO bot (id, owner, title, description, type, config)
        VALUES ('bot1', 'user1', 't', '', 'agent', '{}');
    INSERT INTO chat (id, owner, bot_id, title, peer_type) VALUES ('chat1', 'user1', 'bot1', 't', 'system');
    INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, credential)
        VALUES ('subject1', 'user1', 'chat1', 'bot1', 0, 'm', '{}', '{}', 'q', 'c');
"""


@pytest.mark.parametrize(
    ("service", "statement", "gone"),
    [
        (API, "DELETE FROM chat", "turn"),
        (API, "DELETE FROM collection_summary", "collection_summary"),
        (RECONCILER, "DELETE FROM turn", "turn"),
        (RECONCILER, "DELETE FROM document", "document"),
    ],
)
async def test_jobs_go_with_their_subjects_whoever_removes_those_and_no_others_do(
    owner: Connection, connections: dict[Service, Connection], service: Service, statement: str, gone: str
) -> None:
    """All are about a subject of one id here: only the kinds of the table go. The gateway may remove no job itself."""
    await owner.execute(SUBJECTS)
    await owner.execute(_INSERT_JOB.replace("RETURNING id", ""), "other", "turn", "subject2", "present")
    await connections[service].execute(statement)
    left = {row["id"] for row in await owner.fetch("SELECT id FROM job")}
    assert left == {"other"} | {f"job-{kind.name}" for kind in kinds() if kind.on_delete != gone}
