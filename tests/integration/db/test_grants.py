"""Each service's role can run every statement of that service, and nothing that was not granted."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import asyncpg
import pytest
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import make_url
from tests.integration.db.conftest import connect

from aperag_common.db import migrate
from aperag_common.db.grants import GRANTS
from aperag_common.db.models import Base
from aperag_common.jobs.declared import TURN
from aperag_common.services import Service, role
from aperag_standalone.postgres import PostgresServer
from aperag_work import leases
from aperag_work.database import Statement
from aperag_work.documents import Documents
from aperag_work.independent import Independent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import ModuleType

    Connection = asyncpg.Connection[asyncpg.Record]

DIALECT = dialect()  # type: ignore[no-untyped-call]
REFUSED = asyncpg.InsufficientPrivilegeError
_WORK = "aperag_work"


def _of_work(*names: str) -> tuple[str, ...]:
    return tuple(f"{_WORK}.{name}" for name in names)


_ALL = _of_work("outbox", "heartbeat")
_WORKERS = (*_ALL, *_of_work("dead_letters", "failures", "leases", "transitions"))
PACKAGES = {
    Service.AGENT: ("aperag_agent", "aperag_models.repository", *_WORKERS),
    Service.API: (
        "aperag_api",
        "aperag_models.repository",
        "aperag_retrieval.statistics",
        *_ALL,
        *_of_work(
            "accepting", "backlog", "cancel", "changes", "deliveries", "documents", "opening", "requeue", "scheduler"
        ),
        *_of_work("transitions", "summaries", "switching"),
    ),
    Service.INDEXER: (
        "aperag_indexer",
        "aperag_models.repository",
        "aperag_retrieval.dense",
        "aperag_retrieval.lexical",
        *_WORKERS,
        *_of_work("documents"),
    ),
    Service.RECONCILER: (
        "aperag_reconciler",
        *_WORKERS,
        *_of_work("backlog", "changes", "documents", "opening", "redrive", "release", "summaries", "switching"),
    ),
    Service.WEBHOOKS: ("aperag_webhooks", *_WORKERS, *_of_work("deliveries")),
}
"""Where the statements stand that a service runs."""
UNUSED = {
    (Service.AGENT, "aperag_models.repository._LEARN"),
    (Service.INDEXER, "aperag_models.repository._DEFAULT"),
    (Service.AGENT, f"{_WORK}.transitions._WANT"),
    *((it, f"{_WORK}.transitions._REMOVE") for it in Service if it is not Service.RECONCILER),
    *((it, f"{_WORK}.documents._COMPLETE") for it in (Service.API, Service.RECONCILER)),
}
"""Agents embed nothing and want no jobs, and indexers take the model that a collection names. Only the reconciler works
on jobs that their completion removes, and only the indexer on documents.
"""
FEWEST = {Service.AGENT: 10, Service.API: 100, Service.INDEXER: 10, Service.RECONCILER: 30, Service.WEBHOOKS: 10}


async def permitted(connection: Connection, statement: str) -> bool:
    """Whether its role may run ``statement``, which is planned and rolled back, never run."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
    except REFUSED:
        return False
    finally:
        await transaction.rollback()
    return True


async def wrong_with(connection: Connection, statement: str) -> str | None:
    try:
        return None if await permitted(connection, statement) else "refused"
    except asyncpg.PostgresError as err:
        return f"no statement at all: {err}"


def allowed(table: str, service: Service, verb: str) -> set[str]:
    """The columns that ``verb`` was granted on; DELETE and INSERT know only all of them."""
    columns = set(Base.metadata.tables[table].columns.keys())
    granted = GRANTS[table].get(service, "")
    found = re.search(rf"\b{verb}\b(?: \(([^)]*)\))?", granted)
    if found is None:
        return set()
    return set(found[1].split(", ")) & columns if found[1] else columns


def attempts(table: str) -> Iterator[tuple[str, str, str]]:
    columns = [column.name for column in Base.metadata.tables[table].columns]
    for column in columns:
        yield "SELECT", column, f'SELECT "{column}" FROM {table}'
        yield "UPDATE", column, f'UPDATE {table} SET "{column}" = DEFAULT'
        yield "INSERT", column, f'INSERT INTO {table} ("{column}") VALUES (DEFAULT)'
    yield "DELETE", columns[0], f"DELETE FROM {table}"


async def test_every_column_takes_what_was_granted_and_refuses_the_rest(
    connections: dict[Service, Connection],
) -> None:
    wrong = []
    for table, service in itertools.product(Base.metadata.tables, Service):
        for verb, column, statement in attempts(table):
            expected = column in allowed(table, service, verb)
            if await permitted(connections[service], statement) is not expected:
                wrong.append(f"{service}: {statement} should be {'allowed' if expected else 'refused'}")
    assert wrong == []


def modules(name: str) -> Iterable[ModuleType]:
    module = importlib.import_module(name)
    yield module
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def sql_in(value: object) -> Iterator[str]:
    if isinstance(value, TextClause):
        yield str(value.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))
    elif isinstance(value, Statement):
        yield value.sql
    elif isinstance(value, Mapping):
        yield from itertools.chain.from_iterable(map(sql_in, value.values()))
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(sql_in, value))


def statements(names: Iterable[str]) -> dict[str, str]:
    """What the modules keep as constants, and where each stands."""
    found: dict[str, str] = {}
    for module in itertools.chain.from_iterable(map(modules, names)):
        for name, value in vars(module).items():
            for sql in sql_in(value):
                found.setdefault(sql, f"{module.__name__}.{name}")
    return {where: statement for statement, where in found.items()}


@pytest.mark.parametrize("service", Service)
async def test_every_statement_of_a_service_runs_as_its_role(
    connections: dict[Service, Connection], service: Service
) -> None:
    known = {where: it for where, it in statements(PACKAGES[service]).items() if (service, where) not in UNUSED}
    refused = [f"{where}: {why}" for where, it in known.items() if (why := await wrong_with(connections[service], it))]
    assert refused == []
    assert len(known) >= FEWEST[service]


@pytest.mark.parametrize(
    ("service", "aggregate"),
    [(Service.INDEXER, Documents()), *((it, Independent(TURN)) for it in Service if it != Service.API)],
)
async def test_who_works_on_jobs_can_claim_them(
    connections: dict[Service, Connection], service: Service, aggregate: Documents | Independent
) -> None:
    assert await wrong_with(connections[service], leases._claim(aggregate).sql) is None


IDENTITY = ("id", "kind", "subject_id", "collection_id", "owner", "created")
"""Of a job: nobody can make it another one's."""
SECRETS = [
    (Service.AGENT, "SELECT 1 FROM document"),
    (Service.AGENT, "SELECT 1 FROM chunk"),
    (Service.AGENT, "SELECT 1 FROM users"),
    (Service.AGENT, "SELECT 1 FROM api_key"),
    (Service.AGENT, "SELECT 1 FROM session"),
    (Service.AGENT, "SELECT 1 FROM setting"),
    (Service.AGENT, "DELETE FROM turn"),
    (Service.AGENT, "UPDATE llm_provider SET api_key = NULL"),
    (Service.AGENT, "UPDATE turn SET owner = 'me'"),
    (Service.AGENT, "SELECT 1 FROM document_index"),
    (Service.AGENT, "DELETE FROM job"),
    (Service.INDEXER, "SELECT question FROM turn"),
    (Service.INDEXER, "SELECT credential FROM turn"),
    (Service.INDEXER, "DELETE FROM job"),
    (Service.API, "DELETE FROM job"),
    *((service, f"UPDATE job SET {column} = {column}") for service in Service for column in IDENTITY),
    (Service.RECONCILER, "SELECT api_key FROM llm_provider"),
    (Service.INDEXER, "SELECT password_hash FROM users"),
    (Service.INDEXER, "SELECT key_hash FROM api_key"),
    (Service.INDEXER, "SELECT 1 FROM session"),
    (Service.INDEXER, "SELECT 1 FROM audit_log"),
    (Service.INDEXER, "SELECT value FROM setting"),
    (Service.INDEXER, "SELECT token FROM invitation"),
    (Service.INDEXER, "UPDATE collection SET owner = 'me'"),
    (Service.INDEXER, "DELETE FROM collection"),
    (Service.INDEXER, "DELETE FROM document"),
    (Service.RECONCILER, "SELECT password_hash FROM users"),
    (Service.RECONCILER, "UPDATE users SET role = 'admin'"),
    (Service.RECONCILER, "SELECT key_hash FROM api_key"),
    (Service.RECONCILER, "UPDATE session SET revoked_at = NULL"),
    (Service.RECONCILER, "UPDATE session SET expires_at = 'infinity'"),
    (Service.RECONCILER, "SELECT query FROM search_history"),
    (Service.RECONCILER, "SELECT text FROM chunk"),
    (Service.RECONCILER, "UPDATE collection SET owner = 'me'"),
    (Service.API, "DELETE FROM audit_log"),
    (Service.API, "DELETE FROM users"),
    (Service.API, "DELETE FROM document"),
    (Service.API, "UPDATE chunk SET text = ''"),
    *((service, "SELECT version_num FROM alembic_version") for service in Service),
    *((service, "SELECT rolpassword FROM pg_authid") for service in Service),
]


@pytest.mark.parametrize(("service", "statement"), SECRETS, ids=str)
async def test_what_is_not_a_services_business_is_refused(
    connections: dict[Service, Connection], service: Service, statement: str
) -> None:
    with pytest.raises(REFUSED):
        await connections[service].execute(statement)


OUT_OF_THE_WAY = [
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "ALTER TABLE document DISABLE TRIGGER ALL",
    "TRUNCATE document",
    "DROP TABLE document",
    "GRANT SELECT ON document TO PUBLIC",
    "SET ROLE aperag",
    "SET ROLE postgres",
    "SET session_replication_role = replica",
    "COPY document TO PROGRAM 'true'",
    "SELECT pg_read_file('/etc/hostname')",
]


@pytest.mark.parametrize("statement", OUT_OF_THE_WAY)
@pytest.mark.parametrize("service", Service)
async def test_no_service_gets_beyond_its_rows(
    connections: dict[Service, Connection], service: Service, statement: str
) -> None:
    # Some are refused with a warning and no effect (GRANT without the right to), the others with an error.
    connection = connections[service]
    warnings: list[str] = []
    connection.add_log_listener(lambda _, message: warnings.append(str(message)))
    try:
        await connection.execute(statement)
    except (REFUSED, asyncpg.FeatureNotSupportedError):
        return
    assert any("no privileges were granted" in warning for warning in warnings)


@pytest.mark.parametrize("service", Service)
async def test_settings_of_a_transaction_and_locks_work(
    connections: dict[Service, Connection], service: Service
) -> None:
    connection = connections[service]
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = off")
        await connection.execute("SELECT pg_advisory_xact_lock(1)")
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
        assert await connection.fetchval("SELECT '[1,2]'::halfvec <-> '[1,3]'::halfvec") == 1.0


async def test_what_is_no_longer_granted_is_revoked_by_the_next_migration(
    postgres: PostgresServer, granted: str, connections: dict[Service, Connection]
) -> None:
    name = str(make_url(granted).database)
    postgres.execute("GRANT SELECT ON api_key, users TO aperag_indexer; GRANT ALL ON document TO PUBLIC", database=name)
    assert await permitted(connections[Service.INDEXER], "SELECT key_hash FROM api_key")
    await migrate.upgrade(granted)
    for statement in ("SELECT key_hash FROM api_key", "SELECT id FROM users", "DELETE FROM document"):
        assert not await permitted(connections[Service.INDEXER], statement)
    assert await permitted(connections[Service.INDEXER], "SELECT id FROM document")


async def test_a_role_that_nothing_was_granted_to_cannot_even_connect(postgres: PostgresServer, granted: str) -> None:
    stranger = f"stranger_{make_url(granted).database}"
    postgres.execute(f"CREATE ROLE {stranger} LOGIN")
    try:
        with pytest.raises(REFUSED):
            await connect(postgres, granted, stranger)
    finally:
        postgres.execute(f"DROP ROLE {stranger}")


async def test_a_data_directory_of_before_gets_its_roles_at_the_next_start(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        url = server.create_database("old")
        await migrate.upgrade(url)
        for service in Service:
            server.execute(f"DROP OWNED BY {role(service)}", database="old")
            server.execute(f"DROP ROLE {role(service)}")
            (server.directory / f"{role(service)}.password").unlink()
        await migrate.upgrade(url)  # whoever made no roles keeps a database that works for its owner
        server.restart()
        await migrate.upgrade(url)
        for service in Service:
            login = make_url(server.url("old", role=role(service))).set(drivername="postgresql")
            connection = await asyncpg.connect(login.render_as_string(hide_password=False))
            assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
            await connection.close()
