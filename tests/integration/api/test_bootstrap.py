"""The first user of an installation: made once, with a password beside the key, and completed where it is older."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from aperag_api.bootstrap import UNLIMITED, bootstrap
from aperag_common.settings import PostgresSettings

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings

MakeVisitor = Any


@pytest.fixture
def own(settings: Settings, database: str) -> Settings:
    return settings.model_copy(update={"postgres": PostgresSettings(url=database)})


async def login(make_visitor: MakeVisitor, password: str) -> httpx.Response:
    visitor = await make_visitor()
    answer: httpx.Response = await visitor.post("/login", json={"username": "admin", "password": password})
    return answer


async def rows(engine: AsyncEngine, sql: str) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text(sql))).all())


async def test_the_administrator_logs_in_with_the_password_in_its_file(
    own: Settings, tmp_path: Path, make_visitor: MakeVisitor, engine: AsyncEngine
) -> None:
    key, password = tmp_path / "api_key", tmp_path / "admin_password"
    assert await bootstrap(own, "admin", key, password) is True
    before = (key.read_text(), password.read_text())
    assert await bootstrap(own, "admin", key, password) is False
    assert (key.read_text(), password.read_text()) == before
    assert [stat.S_IMODE(path.stat().st_mode) for path in (key, password)] == [0o600, 0o600]
    answer = await login(make_visitor, password.read_text().strip())
    assert (answer.status_code, answer.json()["role"]) == (200, "admin")
    assert len(password.read_text().strip()) >= 24
    for table in ("bot", "collection", "api_key"):
        assert len(await rows(engine, f"SELECT 1 FROM {table}")) == 1


async def test_an_administrator_of_an_earlier_release_gets_a_password_and_what_newcomers_have(
    own: Settings, tmp_path: Path, make_visitor: MakeVisitor, engine: AsyncEngine
) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            text(
                "INSERT INTO users (id, username, username_key, role, is_active)"
                " VALUES ('user1', 'admin', 'admin', 'admin', true)"
            )
        )
        await conn.execute(
            text(
                "INSERT INTO bot (id, owner, title, description, type, config) VALUES ('b', 'user1', 't', '', 'agent', '{}')"
            )
        )
    key, password = tmp_path / "api_key", tmp_path / "admin_password"
    assert await bootstrap(own, "admin", key) is True
    works = key.read_text()
    assert await bootstrap(own, "admin", key, password) is True
    assert key.read_text() == works
    assert (await login(make_visitor, password.read_text().strip())).status_code == 200
    assert await rows(engine, "SELECT id FROM users") == [("user1",)]
    assert await rows(engine, "SELECT type FROM collection") == [("CHAT",)]
    assert len(await rows(engine, "SELECT 1 FROM user_quota")) == 4
    assert len(await rows(engine, "SELECT 1 FROM bot")) == 1


async def test_without_its_file_the_administrator_gets_another_password_and_sessions_end(
    own: Settings, tmp_path: Path, make_visitor: MakeVisitor
) -> None:
    key, password = tmp_path / "api_key", tmp_path / "admin_password"
    await bootstrap(own, "admin", key, password)
    old = password.read_text().strip()
    visitor = await make_visitor()
    await visitor.post("/login", json={"username": "admin", "password": old})
    password.unlink()
    assert await bootstrap(own, "admin", key, password) is True
    assert (await visitor.get("/user")).status_code == 401
    assert (await login(make_visitor, old)).status_code == 400
    assert (await login(make_visitor, password.read_text().strip())).status_code == 200


async def test_a_password_that_its_user_changed_stays(own: Settings, tmp_path: Path, make_visitor: MakeVisitor) -> None:
    key, password = tmp_path / "api_key", tmp_path / "admin_password"
    await bootstrap(own, "admin", key, password)
    visitor = await make_visitor()
    old = password.read_text().strip()
    await visitor.post("/login", json={"username": "admin", "password": old})
    change = {"username": "admin", "old_password": old, "new_password": "correct horse battery"}
    assert (await visitor.post("/change-password", json=change)).status_code == 200
    assert await bootstrap(own, "admin", key, password) is False
    assert (await login(make_visitor, "correct horse battery")).status_code == 200


async def test_a_file_that_cannot_be_written_leaves_no_password_that_nobody_knows(
    own: Settings, tmp_path: Path, engine: AsyncEngine
) -> None:
    with pytest.raises(OSError, match="No such file"):
        await bootstrap(own, "admin", tmp_path / "api_key", tmp_path / "nowhere" / "admin_password")
    assert await rows(engine, "SELECT 1 FROM users") == []


@pytest.mark.parametrize("own_machine", [True, False])
async def test_on_their_own_machine_the_first_user_has_no_quotas(
    own: Settings, engine: AsyncEngine, tmp_path: Path, *, own_machine: bool
) -> None:
    await bootstrap(own, "admin", tmp_path / "api_key", own_machine=own_machine)
    limits = await rows(engine, "SELECT DISTINCT quota_limit FROM user_quota")
    assert limits == [(UNLIMITED if own_machine else None,)]
