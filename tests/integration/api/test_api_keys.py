"""API keys over HTTP (contract 1.2), and the first one."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from aperag_api.bootstrap import bootstrap
from aperag_api.identity.apikeys import service
from aperag_common.settings import PostgresSettings

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings

Person = Any


async def test_a_key_is_whole_only_in_the_answer_that_makes_it(alice: Person, engine: AsyncEngine) -> None:
    made = (await alice.http.post("/apikeys", json={"description": "mine"})).json()
    assert made["key"].startswith("sk-")
    assert len(made["key"]) == 35
    listed = {item["id"]: item for item in (await alice.http.get("/apikeys")).json()["items"]}
    assert listed[made["id"]]["key"] == f"{made['key'][:7]}****{made['key'][-4:]}"
    assert listed[made["id"]]["description"] == "mine"
    async with engine.connect() as conn:
        stored = (await conn.execute(text("SELECT row_to_json(k)::text FROM api_key k"))).scalars().all()
    assert not any(made["key"] in row or made["key"][3:] in row for row in stored)


async def test_a_user_has_so_many_keys_at_a_time(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_KEYS", 3)
    made = [await alice.http.post("/apikeys", json={}) for _ in range(6)]
    allowed = [it for it in made if it.status_code == 200]
    assert {it.status_code for it in made} == {200, 400}
    assert len((await alice.http.get("/apikeys")).json()["items"]) == 3
    await alice.http.delete(f"/apikeys/{allowed[0].json()['id']}")
    assert (await alice.http.post("/apikeys", json={})).status_code == 200


async def test_the_very_first_request_sets_last_used_at(alice: Person, app: FastAPI) -> None:
    made = (await alice.http.post("/apikeys", json={})).json()
    assert made["last_used_at"] is None
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway/api/v1") as client:
        listed = (await client.get("/apikeys", headers=headers)).json()["items"]
    assert next(item for item in listed if item["id"] == made["id"])["last_used_at"] is not None


async def test_a_deleted_key_opens_nothing_at_once(alice: Person, app: FastAPI) -> None:
    made = (await alice.http.post("/apikeys", json={})).json()
    assert (await alice.http.delete(f"/apikeys/{made['id']}")).json() is True
    assert (await alice.http.delete(f"/apikeys/{made['id']}")).json() is None
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway/api/v1") as client:
        assert (await client.get("/apikeys", headers=headers)).status_code == 401


async def test_a_key_that_ends_makes_none_that_does_not(alice: Person, app: FastAPI) -> None:
    made = (await alice.http.post("/apikeys", json={"expires_at": "2100-01-01T00:00:00Z"})).json()
    headers = {"authorization": f"Bearer {made['key']}"}
    for method, path in (("POST", "/apikeys"), ("GET", "/apikeys"), ("DELETE", f"/apikeys/{made['id']}")):
        answer = await alice.http.request(method, path, headers=headers, json={} if method == "POST" else None)
        assert answer.status_code == 403, (method, path)
    assert (await alice.http.get("/collections", headers=headers)).status_code == 200


async def test_who_may_only_read_can_still_revoke_a_key_of_theirs(alice: Person, engine: AsyncEngine) -> None:
    lost = (await alice.http.post("/apikeys", json={})).json()
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET role = 'ro' WHERE id = :id"), {"id": alice.id})
    assert (await alice.http.delete(f"/apikeys/{lost['id']}")).json() is True
    headers = {"authorization": f"Bearer {lost['key']}"}
    assert (await alice.http.get("/collections", headers=headers)).status_code == 401


async def test_a_description_can_be_changed_by_its_owner_only(alice: Person, mallory: Person) -> None:
    made = (await alice.http.post("/apikeys", json={"description": "old"})).json()
    path = f"/apikeys/{made['id']}"
    assert (await alice.http.put(path, json={"description": "new"})).json()["description"] == "new"
    assert (await mallory.http.put(path, json={"description": "stolen"})).status_code == 404
    assert (await mallory.http.delete(path)).json() is None
    assert made["id"] not in (await mallory.http.get("/apikeys")).text
    assert (await alice.http.get("/apikeys")).json()["items"][-1]["description"] == "new"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer sk-" + "0" * 32, "Bearer ' OR 1=1", "Basic sk-" + "0" * 32]
)
async def test_without_a_key_that_works_there_is_only_401(
    alice: Person, app: FastAPI, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway/api/v1") as client:
        for method, path in (("GET", "/collections"), ("POST", "/collections"), ("GET", "/events")):
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized"})


async def test_an_inactive_user_has_no_key_that_works(alice: Person, engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET is_active = false WHERE id = :id"), {"id": alice.id})
    assert (await alice.http.get("/collections")).status_code == 401


async def test_bootstrap_makes_the_admin_and_one_key_however_often_it_runs(
    app: FastAPI, settings: Settings, database: str, tmp_path: Path, engine: AsyncEngine
) -> None:
    settings = settings.model_copy(update={"postgres": PostgresSettings(url=database)})
    key_file = tmp_path / "admin.key"
    assert await bootstrap(settings, "admin", key_file) is True
    assert await bootstrap(settings, "admin", key_file) is False
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    headers = {"Authorization": f"Bearer {key_file.read_text().strip()}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway/api/v1") as client:
        items = (await client.get("/apikeys", headers=headers)).json()["items"]
    assert [item["description"] for item in items] == ["default"]
    async with engine.connect() as conn:
        assert (await conn.execute(text("SELECT username, role FROM users"))).all() == [("admin", "admin")]


async def test_bootstrap_replaces_a_key_file_that_does_not_work(
    settings: Settings, database: str, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"postgres": PostgresSettings(url=database)})
    key_file = tmp_path / "admin.key"
    key_file.write_text("sk-" + "0" * 32)
    assert await bootstrap(settings, "admin", key_file) is True
    assert key_file.read_text().strip() != "sk-" + "0" * 32
    assert await bootstrap(settings, "admin", key_file) is False
