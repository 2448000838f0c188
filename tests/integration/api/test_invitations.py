"""Invitations over HTTP (contract 1.1): who makes them, what they give, and that each is used once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.identity.settings import RegisterMode
from aperag_testing.refusals import DETAIL, Attack, unrefused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Visitor = httpx.AsyncClient
MakeVisitor = Any

PASSWORD = "correct horse battery"
BY_INVITATION = pytest.mark.parametrize("settings", [{"register_mode": RegisterMode.INVITATION}], indirect=True)


@pytest_asyncio.fixture
async def visitor(make_visitor: MakeVisitor) -> Visitor:
    visitor: Visitor = await make_visitor()
    return visitor


@pytest_asyncio.fixture
async def admin(make_visitor: MakeVisitor) -> Visitor:
    """The first user, who needs no invitation in any mode."""
    admin: Visitor = await make_visitor()
    made = await admin.post("/register", json={"username": "root", "password": PASSWORD, "email": "root@example.org"})
    assert made.json()["role"] == "admin"
    await admin.post("/login", json={"username": "root", "password": PASSWORD})
    return admin


async def invite(admin: Visitor, email: str = "new@example.org", role: str = "ro", **body: Any) -> dict[str, Any]:
    answer = await admin.post("/invite", json={"email": email, "role": role, **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def register(visitor: Visitor, **body: Any) -> httpx.Response:
    return await visitor.post("/register", json={"username": "new", "password": PASSWORD, **body})


async def execute(engine: AsyncEngine, sql: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql))


@BY_INVITATION
async def test_an_invitation_gives_its_role_once(admin: Visitor, visitor: Visitor) -> None:
    made = await invite(admin, "New@Example.org")
    assert (made["email"], made["role"], made["is_valid"], made["used_at"]) == ("new@example.org", "ro", True, None)
    assert len(made["token"]) == 43
    answer = await register(visitor, token=made["token"], email="new@EXAMPLE.org")
    assert (answer.status_code, answer.json()["role"]) == (200, "ro")
    again = await visitor.post(
        "/register", json={"username": "x", "password": PASSWORD, "token": made["token"], "email": "new@example.org"}
    )
    assert (again.status_code, again.json()) == (400, {"detail": "Invalid or expired invitation"})
    [listed] = (await admin.get("/invitations")).json()["items"]
    assert listed["is_valid"] is False
    assert listed["used_at"] is not None


@BY_INVITATION
async def test_without_an_invitation_of_their_own_nobody_registers(admin: Visitor, visitor: Visitor) -> None:
    made = await invite(admin)
    body = {"username": "new", "password": PASSWORD}
    attacks = [
        Attack("no token", "POST", "/register", 400, DETAIL, {"json": {**body, "email": "new@example.org"}}),
        Attack("empty token", "POST", "/register", 400, DETAIL, {"json": {**body, "token": ""}}),
        Attack("no address", "POST", "/register", 400, DETAIL, {"json": {**body, "token": made["token"]}}),
        Attack(
            "another address",
            "POST",
            "/register",
            400,
            DETAIL,
            {"json": {**body, "token": made["token"], "email": "other@example.org"}},
        ),
        Attack(
            "another token",
            "POST",
            "/register",
            400,
            DETAIL,
            {"json": {**body, "token": made["token"][:-1], "email": "new@example.org"}},
        ),
    ]
    assert await unrefused(visitor, attacks) == []
    assert [it["username"] for it in (await admin.get("/users")).json()["items"]] == ["root"]
    assert (await admin.get("/invitations")).json()["items"][0]["is_valid"] is True


@BY_INVITATION
async def test_an_invitation_ends_after_a_week(admin: Visitor, visitor: Visitor, engine: AsyncEngine) -> None:
    made = await invite(admin)
    async with engine.connect() as conn:
        lasts = await conn.execute(text("SELECT extract(epoch FROM expires_at - created)::int FROM invitation"))
        assert abs(lasts.scalar_one() - 7 * 86_400) < 60
    await execute(engine, "UPDATE invitation SET expires_at = clock_timestamp()")
    assert (await register(visitor, token=made["token"], email="new@example.org")).status_code == 400
    assert (await admin.get("/invitations")).json()["items"][0]["is_valid"] is False


@BY_INVITATION
async def test_of_many_who_use_one_invitation_at_once_one_registers(admin: Visitor, visitor: Visitor) -> None:
    made = await invite(admin)
    bodies = [
        {"username": f"new{number}", "password": PASSWORD, "token": made["token"], "email": "new@example.org"}
        for number in range(5)
    ]
    answers = await asyncio.gather(*(visitor.post("/register", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 4]


@BY_INVITATION
async def test_an_invitation_is_not_used_up_by_a_name_that_is_taken(admin: Visitor, visitor: Visitor) -> None:
    made = await invite(admin)
    taken = {"username": "ROOT", "password": PASSWORD, "token": made["token"], "email": "new@example.org"}
    assert (await visitor.post("/register", json=taken)).json() == {"detail": "Username already exists"}
    assert (await register(visitor, token=made["token"], email="new@example.org")).status_code == 200


async def test_where_everybody_may_register_an_invitation_still_gives_its_role(
    admin: Visitor, visitor: Visitor
) -> None:
    made = await invite(admin, role="admin", username="chosen")
    body = {"password": PASSWORD, "token": made["token"], "email": "new@example.org"}
    answer = (await visitor.post("/register", json=body)).json()
    assert (answer["username"], answer["role"]) == ("chosen", "admin")
    assert (await register(visitor)).json()["role"] == "rw"


async def test_only_administrators_invite_and_see_invitations(admin: Visitor, visitor: Visitor) -> None:
    await invite(admin)
    await register(visitor)
    await visitor.post("/login", json={"username": "new", "password": PASSWORD})
    assert (await visitor.post("/invite", json={"email": "a@example.org", "role": "admin"})).status_code == 403
    assert (await visitor.get("/invitations")).json() == {"items": []}
    assert len((await admin.get("/invitations")).json()["items"]) == 1


async def test_nobody_is_invited_who_is_there_already(admin: Visitor) -> None:
    attacks = [
        Attack("address", "POST", "/invite", 400, DETAIL, {"json": {"email": "ROOT@example.org", "role": "rw"}}),
        Attack(
            "name",
            "POST",
            "/invite",
            400,
            DETAIL,
            {"json": {"email": "new@example.org", "username": "Root", "role": "rw"}},
        ),
        Attack("role", "POST", "/invite", 422, DETAIL, {"json": {"email": "new@example.org", "role": "owner"}}),
        Attack("no address", "POST", "/invite", 422, DETAIL, {"json": {"role": "rw"}}),
    ]
    assert await unrefused(admin, attacks) == []


async def test_a_token_stands_nowhere_in_clear(admin: Visitor, engine: AsyncEngine) -> None:
    token = (await invite(admin))["token"]
    async with engine.connect() as conn:
        stored = str((await conn.execute(text("SELECT row_to_json(i)::text FROM invitation i"))).scalar_one())
    assert token not in stored
    assert token == (await admin.get("/invitations")).json()["items"][0]["token"]


async def test_an_invitation_ends_with_the_login_of_who_made_it(
    admin: Visitor, visitor: Visitor, engine: AsyncEngine
) -> None:
    made = await invite(admin)
    await execute(engine, "UPDATE users SET is_active = false, deleted_at = now()")
    late = {"username": "late", "password": PASSWORD, "token": made["token"], "email": "new@example.org"}
    assert (await visitor.post("/register", json=late)).status_code == 400


async def test_an_invitation_goes_with_the_administrator_who_made_it(
    admin: Visitor, visitor: Visitor, engine: AsyncEngine
) -> None:
    made = await invite(admin)
    await execute(engine, "DELETE FROM collection WHERE owner IN (SELECT id FROM users)")
    await execute(engine, "DELETE FROM users")
    await register(visitor)
    late = {"username": "late", "password": PASSWORD, "token": made["token"], "email": "new@example.org"}
    assert (await visitor.post("/register", json=late)).status_code == 400
