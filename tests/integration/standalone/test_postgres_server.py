"""The PostgreSQL of one machine: committed rows survive, strays of killed parents do not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest

from aperag_standalone import postgres, unprivileged
from aperag_standalone.errors import CannotRunAsRoot, PortTaken
from aperag_standalone.postgres import PostgresServer, QueryFailed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as running:
        yield running


async def connect(server: PostgresServer, database: str) -> asyncpg.Connection[asyncpg.Record]:
    return await asyncpg.connect(server.url(database).replace("+asyncpg", ""))


async def test_committed_rows_survive_a_kill_and_the_port_stays(server: PostgresServer) -> None:
    server.create_database("killed")
    connection = await connect(server, "killed")
    await connection.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)")
    await connection.close()
    port = server.port
    server.kill()
    server.start()
    assert server.port == port
    connection = await connect(server, "killed")
    assert await connection.fetchval("SELECT count(*) FROM kept") == 1
    await connection.close()


async def test_services_log_in_without_superuser_and_find_the_vector_type(server: PostgresServer) -> None:
    server.create_database("plain")
    connection = await connect(server, "plain")
    assert await connection.fetchval("SELECT '[1,2]'::vector::text") == "[1,2]"
    assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    await connection.close()


async def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    server.create_database("guarded")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(host="127.0.0.1", port=server.port, user="aperag", password="x", database="guarded")


async def test_a_database_can_be_copied_from_a_template(server: PostgresServer) -> None:
    server.create_database("pattern")
    connection = await connect(server, "pattern")
    await connection.execute("CREATE TABLE copied (id int)")
    await connection.close()
    server.create_database("copy", template="pattern")
    connection = await connect(server, "copy")
    assert await connection.fetchval("SELECT to_regclass('copied') IS NOT NULL")
    await connection.close()
    server.drop_database("copy")
    assert server.create_database("pattern") == server.url("pattern")


def test_fsync_is_on_unless_asked_otherwise(server: PostgresServer) -> None:
    assert server.execute("SHOW fsync") == "on"
    assert server.execute("SHOW jit") == "off"


def test_a_refused_statement_is_told(server: PostgresServer) -> None:
    with pytest.raises(QueryFailed, match="no_such_table"):
        server.execute("SELECT * FROM no_such_table")


def test_a_postmaster_left_by_a_killed_parent_is_ended_at_the_next_start(tmp_path: Path) -> None:
    abandoned = PostgresServer(tmp_path, durable=False, trust=True)
    abandoned.start()
    stray = psutil.Process(abandoned.pid)
    with PostgresServer(tmp_path, port=abandoned.port, durable=False, trust=True) as successor:
        assert successor.pid != stray.pid
        assert successor.execute("SELECT 1") == "1"
        abandoned.stop()
        assert not stray.is_running()


def test_a_pid_file_whose_pid_went_to_another_program_does_not_stop_a_start(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False, trust=True)
    server.start()
    server.kill()
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text(encoding="utf-8").splitlines()
    pid_file.write_text("\n".join([str(psutil.Process().ppid()), *lines[1:]]), encoding="utf-8")
    server.start()
    assert server.execute("SELECT 1") == "1"
    server.stop()


def test_a_data_directory_half_made_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18", encoding="ascii")
    with PostgresServer(tmp_path, durable=False, trust=True) as server:
        assert server.execute("SELECT 1") == "1"


def test_a_taken_port_is_named_with_the_option_that_changes_it(server: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises(PortTaken, match=f"port {server.port}") as caught:
        PostgresServer(tmp_path, port=server.port, durable=False).start()
    assert "--postgres-port" in caught.value.hint


@pytest.fixture
def as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that allows root no user namespaces."""
    if unprivileged.way() is unprivileged.Way.DIRECT:
        pytest.skip("only root needs a way around root")
    monkeypatch.setattr(unprivileged, "way", lambda: unprivileged.Way.SETPRIV)


@pytest.mark.usefixtures("as_nobody")
def test_root_without_namespaces_runs_it_as_nobody() -> None:
    try:
        unprivileged.require_reachable(unprivileged.Way.SETPRIV, postgres.tree())
    except CannotRunAsRoot:
        pytest.skip("this checkout lies below a directory closed to others")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        with PostgresServer(Path(directory) / "postgres", durable=False) as server:
            assert psutil.Process(server.pid).uids().effective == unprivileged.NOBODY
            assert server.execute("SELECT 1") == "1"
            server.restart()


@pytest.mark.usefixtures("as_nobody")
def test_a_directory_nobody_cannot_pass_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(CannotRunAsRoot, match=f"{closed} is closed to others"):
        PostgresServer(closed / "postgres").start()
