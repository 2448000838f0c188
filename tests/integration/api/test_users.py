"""Users over HTTP (contract 1.1): registering, what a newcomer has, passwords, lists, deleting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.identity.services import Identity
from aperag_testing.refusals import DETAIL, Attack, unrefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

Person = Any
Visitor = httpx.AsyncClient
MakeVisitor = "Callable[..., Awaitable[Visitor]]"

PASSWORD = "correct horse battery"


async def register(visitor: Visitor, username: str, **body: Any) -> dict[str, Any]:
    answer = await visitor.post("/register", json={"username": username, "password": PASSWORD, **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def login(visitor: Visitor, username: str, password: str = PASSWORD) -> httpx.Response:
    return await visitor.post("/login", json={"username": username, "password": password})


async def rows(engine: AsyncEngine, sql: str, **values: Any) -> list[Any]:
    async with engine.connect() as conn:
        return list((await conn.execute(text(sql), values)).all())


@pytest_asyncio.fixture
async def visitor(make_visitor: Callable[..., Awaitable[Visitor]]) -> Visitor:
    return await make_visitor()


@pytest_asyncio.fixture
async def admin(visitor: Visitor) -> dict[str, Any]:
    """The first user; the visitor is logged in as them."""
    user = await register(visitor, "root", email="root@example.org")
    assert (await login(visitor, "root")).status_code == 200
    return user


async def test_the_first_user_is_the_administrator_and_the_next_may_write(visitor: Visitor) -> None:
    assert (await visitor.get("/config")).json()["admin_user_exists"] is False
    first = await register(visitor, "first", email="first@example.org")
    second = await register(visitor, "second")
    assert (first["role"], second["role"]) == ("admin", "rw")
    assert first["username"] == "first"
    assert (first["email"], first["is_active"], first["registration_source"]) == ("first@example.org", True, "local")
    assert second["email"] is None
    assert (await visitor.get("/config")).json()["admin_user_exists"] is True


async def test_of_many_who_register_first_at_once_one_is_the_administrator(
    make_visitor: Callable[..., Awaitable[Visitor]],
) -> None:
    visitor = await make_visitor()
    users = await asyncio.gather(*(register(visitor, f"user{number}") for number in range(6)))
    assert sorted(user["role"] for user in users) == ["admin", *["rw"] * 5]


async def test_a_newcomer_has_a_key_that_works_quotas_a_bot_and_a_chat_collection(
    visitor: Visitor, engine: AsyncEngine
) -> None:
    user = await register(visitor, "newcomer")
    visitor.headers["authorization"] = f"Bearer {user['api_key']}"
    keys = (await visitor.get("/apikeys")).json()["items"]
    assert [key["description"] for key in keys] == ["default"]
    assert user["api_key"] not in str(keys)
    assert await rows(engine, "SELECT title, type FROM collection WHERE owner = :id", id=user["id"]) == [
        ("Chat Documents", "CHAT")
    ]
    assert (await visitor.get("/collections")).json()["items"] == [], "what holds files of chats is nobody's choice"
    assert await rows(engine, "SELECT title, type FROM bot WHERE owner = :id", id=user["id"]) == [
        ("Default Agent Bot", "agent")
    ]
    quotas = (await visitor.get("/quotas")).json()["quotas"]
    assert {it["current_usage"] for it in quotas} == {0}, "what came with them takes none of their quota"
    assert len(await rows(engine, "SELECT 1 FROM user_quota WHERE user_id = :id", id=user["id"])) == 4
    assert await rows(engine, "SELECT 1 FROM api_key WHERE is_system") == []


async def test_an_empty_invitation_is_none(visitor: Visitor) -> None:
    await register(visitor, "first")
    body = {"username": "second", "password": "correct horse", "token": "", "email": ""}
    answer = await visitor.post("/register", json=body)
    assert (answer.status_code, answer.json()["role"]) == (200, "rw")


async def test_a_user_that_cannot_be_made_whole_is_not_made_at_all(
    visitor: Visitor, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aperag_api.identity.accounts import admission

    async def fails(*_: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(admission, "issue", fails)
        answer = await visitor.post("/register", json={"username": "half", "password": PASSWORD})
    assert answer.status_code == 500
    for table in ("users", "bot", "collection", "user_quota", "api_key"):
        assert await rows(engine, f"SELECT 1 FROM {table}") == []
    assert (await register(visitor, "half"))["role"] == "admin"


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [
        ("alice", "alice"),
        ("alice", "ALICE"),
        ("Straße", "STRASSE"),
        ("ﬁona", "fiona"),  # a ligature
        ("Ａlice", " alice "),  # full width
        ("é", "e\u0301"),  # composed and not
    ],
)
async def test_two_spellings_of_one_name_are_one_user(visitor: Visitor, taken: str, wanted: str) -> None:
    await register(visitor, taken)
    answer = await visitor.post("/register", json={"username": wanted, "password": PASSWORD})
    assert (answer.status_code, answer.json()) == (400, {"detail": "Username already exists"})
    assert (await login(visitor, wanted)).status_code == 200


@pytest.mark.parametrize("lookalike", ["\u0440\u043e\u0440\u0435", "p\u00f3pe"])
async def test_a_name_that_looks_like_another_users_is_refused(visitor: Visitor, lookalike: str) -> None:
    await register(visitor, "pope")
    answer = await visitor.post("/register", json={"username": lookalike, "password": PASSWORD})
    assert (answer.status_code, answer.json()) == (400, {"detail": "Username already exists"})


async def test_an_address_belongs_to_one_user_and_an_empty_one_to_nobody(visitor: Visitor) -> None:
    assert (await register(visitor, "one", email="Some.One@Example.org"))["email"] == "some.one@example.org"
    answer = await visitor.post(
        "/register", json={"username": "two", "password": PASSWORD, "email": "some.one@example.ORG"}
    )
    assert (answer.status_code, answer.json()) == (400, {"detail": "Email already exists"})
    assert (await register(visitor, "three", email=""))["email"] is None
    assert (await register(visitor, "four", email="  "))["email"] is None


async def test_of_many_who_want_one_name_at_once_one_gets_it(visitor: Visitor, engine: AsyncEngine) -> None:
    await register(visitor, "root")
    body = {"username": "wanted", "password": PASSWORD}
    answers = await asyncio.gather(*(visitor.post("/register", json=body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 5]
    assert len(await rows(engine, "SELECT 1 FROM bot")) == 2


INVALID: dict[str, tuple[int, dict[str, Any]]] = {
    "no name": (400, {"password": PASSWORD}),
    "empty name": (400, {"username": " ", "password": PASSWORD}),
    "no password": (400, {"username": "somebody"}),
    "empty password": (400, {"username": "somebody", "password": ""}),
    "short password": (400, {"username": "somebody", "password": "1234567"}),
    "password of 257 characters": (400, {"username": "somebody", "password": "p" * 257}),
    "password of 1 MB": (422, {"username": "somebody", "password": "p" * 1_000_000}),
    "name of 129 characters": (422, {"username": "n" * 129, "password": PASSWORD}),
    "name with a line break": (422, {"username": "some\nbody", "password": PASSWORD}),
    "name with a right-to-left override": (422, {"username": "some\u202ebody", "password": PASSWORD}),
    "name with a zero-width space": (422, {"username": "some\u200bbody", "password": PASSWORD}),
    "no address": (422, {"username": "somebody", "password": PASSWORD, "email": "nowhere"}),
    "two addresses": (422, {"username": "somebody", "password": PASSWORD, "email": "a@b.org, c@d.org"}),
    "address with a line break": (422, {"username": "somebody", "password": PASSWORD, "email": "a@b.org\nBcc: c"}),
    "address of 300 characters": (422, {"username": "somebody", "password": PASSWORD, "email": "a" * 300 + "@b.org"}),
}


async def test_what_nobody_should_be_called_is_refused(visitor: Visitor, engine: AsyncEngine) -> None:
    attacks = [
        Attack(what, "POST", "/register", status, DETAIL, {"json": body}) for what, (status, body) in INVALID.items()
    ]
    assert await unrefused(visitor, attacks) == []
    assert await rows(engine, "SELECT 1 FROM users") == []


async def test_a_password_of_the_longest_length_in_any_script_works(visitor: Visitor) -> None:
    password = ("비밀번호는" * 52)[:256]
    await visitor.post("/register", json={"username": "somebody", "password": password})
    assert (await login(visitor, "somebody", password)).status_code == 200
    assert (await login(visitor, "somebody", password + "!")).status_code == 400
    assert (await login(visitor, "somebody", password[:-1])).status_code == 400


async def test_passwords_stand_nowhere_but_as_argon2id(visitor: Visitor, engine: AsyncEngine) -> None:
    await register(visitor, "one")
    await register(visitor, "two")
    hashes = [row.password_hash for row in await rows(engine, "SELECT password_hash FROM users")]
    assert all(it.startswith("$argon2id$v=19$") for it in hashes)
    assert len(set(hashes)) == 2


async def test_administrators_see_all_users_and_others_themselves(
    visitor: Visitor, admin: dict[str, Any], make_visitor: Callable[..., Awaitable[Visitor]]
) -> None:
    other = await make_visitor()
    user = await register(other, "other")
    await login(other, "other")
    assert {it["username"] for it in (await visitor.get("/users")).json()["items"]} == {"root", "other"}
    assert [it["id"] for it in (await other.get("/users")).json()["items"]] == [user["id"]]
    assert (await other.get("/user")).json() == {name: user[name] for name in user if name != "api_key"}
    assert len((await visitor.get("/users?page=2&page_size=1")).json()["items"]) == 1
    for answer in (await visitor.get("/users"), await other.get("/user")):
        assert "password" not in answer.text


async def test_a_changed_password_ends_other_sessions_and_keeps_this_one(
    visitor: Visitor, make_visitor: Callable[..., Awaitable[Visitor]], admin: dict[str, Any]
) -> None:
    elsewhere = await make_visitor()
    await login(elsewhere, "root")
    new = "a better password"
    body = {"username": "root", "old_password": PASSWORD, "new_password": new}
    answer = await visitor.post("/change-password", json=body)
    assert (answer.status_code, answer.json()["username"]) == (200, "root")
    assert (await visitor.get("/user")).status_code == 200
    assert (await elsewhere.get("/user")).status_code == 401
    assert (await login(elsewhere, "root")).status_code == 400
    assert (await login(elsewhere, "root", new)).status_code == 200


async def test_a_key_changes_its_own_users_password_too(
    visitor: Visitor, make_visitor: Callable[..., Awaitable[Visitor]], admin: dict[str, Any]
) -> None:
    program = await make_visitor()
    program.headers["authorization"] = f"Bearer {admin['api_key']}"
    body = {"username": "ROOT", "old_password": PASSWORD, "new_password": "a better password"}
    assert (await program.post("/change-password", json=body)).status_code == 200
    assert (await visitor.get("/user")).status_code == 401
    assert (await program.get("/user")).status_code == 200


async def test_a_password_is_changed_only_by_its_user_who_knows_it(
    visitor: Visitor, admin: dict[str, Any], make_visitor: Callable[..., Awaitable[Visitor]]
) -> None:
    stranger = await make_visitor()
    await register(stranger, "other")
    right = {"username": "root", "old_password": PASSWORD, "new_password": "a better password"}
    assert (await stranger.post("/change-password", json=right)).status_code == 401
    await login(stranger, "other")
    assert (await stranger.post("/change-password", json=right)).status_code == 403
    wrong = {**right, "old_password": "not this one"}
    assert (await visitor.post("/change-password", json=wrong)).status_code == 400
    assert (await visitor.post("/change-password", json={**right, "new_password": "short"})).status_code == 400
    assert (await login(await make_visitor(), "root")).status_code == 200


async def test_of_two_changes_of_a_password_at_once_one_counts(visitor: Visitor, admin: dict[str, Any]) -> None:
    changes = [
        visitor.post(
            "/change-password", json={"username": "root", "old_password": PASSWORD, "new_password": f"new phrase {it}"}
        )
        for it in range(4)
    ]
    answers = await asyncio.gather(*changes)
    won = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    assert len(won) == 1
    assert (await login(visitor, "root", f"new phrase {won[0]}")).status_code == 200


async def test_who_is_deleted_is_nobody_from_the_answer_on(
    visitor: Visitor, admin: dict[str, Any], make_visitor: Callable[..., Awaitable[Visitor]], engine: AsyncEngine
) -> None:
    doomed, program = await make_visitor(), await make_visitor()
    user = await register(doomed, "doomed", email="doomed@example.org")
    await login(doomed, "doomed")
    program.headers["authorization"] = f"Bearer {user['api_key']}"
    assert (await program.get("/user")).status_code == 200
    answer = await visitor.delete(f"/users/{user['id']}")
    assert answer.status_code == 200
    assert answer.json()["message"]
    assert [(await it.get("/user")).status_code for it in (doomed, program)] == [401, 401]
    assert (await login(doomed, "doomed")).json() == {"detail": "Invalid credentials"}
    assert [it["username"] for it in (await visitor.get("/users")).json()["items"]] == ["root"]
    assert (await visitor.delete(f"/users/{user['id']}")).status_code == 404
    query = "SELECT subject_id, owner, status, generation, dispatch FROM job WHERE kind = 'user.purge'"
    [purge] = await rows(engine, query)
    assert tuple(purge) == (user["id"], user["id"], "DELETING", 1, 1)
    [gone] = await rows(engine, "SELECT is_active, deleted_at FROM users WHERE id = :id", id=user["id"])
    assert gone.is_active is False
    assert gone.deleted_at is not None


async def test_nobody_deletes_themselves_or_without_being_an_administrator(
    visitor: Visitor, admin: dict[str, Any], make_visitor: Callable[..., Awaitable[Visitor]]
) -> None:
    other = await make_visitor()
    user = await register(other, "other")
    await login(other, "other")
    assert (await visitor.delete(f"/users/{admin['id']}")).status_code == 400
    assert (await other.delete(f"/users/{user['id']}")).status_code == 403
    assert (await other.delete(f"/users/{admin['id']}")).status_code == 403
    assert (await visitor.delete("/users/user0123456789abcdef")).status_code == 404
    assert len((await visitor.get("/users")).json()["items"]) == 2


async def test_administrators_who_delete_each_other_at_once_leave_one(
    visitor: Visitor,
    admin: dict[str, Any],
    make_visitor: Callable[..., Awaitable[Visitor]],
    engine: AsyncEngine,
) -> None:
    other = await make_visitor()
    second = await register(other, "second")
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET role = 'admin' WHERE id = :id"), {"id": second["id"]})
    await login(other, "second")
    answers = await asyncio.gather(visitor.delete(f"/users/{second['id']}"), other.delete(f"/users/{admin['id']}"))
    assert 200 in {answer.status_code for answer in answers}
    assert len(await rows(engine, "SELECT 1 FROM users WHERE is_active AND role = 'admin'")) == 1


async def test_the_last_administrator_stays(
    visitor: Visitor, admin: dict[str, Any], make_person: Callable[..., Awaitable[Person]], engine: AsyncEngine
) -> None:
    """An administrator whose role was taken away while their request was under way deletes nobody's last one."""
    from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role

    stale = await make_person("rw")
    caller = Caller(
        user_id=stale.id,
        username="stale",
        role=Role.ADMIN,
        credential=Credential(CredentialKind.API_KEY, "key1"),
    )
    app: FastAPI = visitor._transport.app  # type: ignore[attr-defined]  # httpx keeps it there
    from starlette.exceptions import HTTPException

    with pytest.raises(HTTPException, match="last administrator"):
        await app.state.services[Identity].users.delete(caller, admin["id"])
    assert len(await rows(engine, "SELECT 1 FROM job WHERE kind = 'user.purge'")) == 0


async def test_development_alone_makes_administrators_for_anybody(visitor: Visitor) -> None:
    body = {"username": "boss", "password": PASSWORD}
    assert (await visitor.post("/test/register_admin", json=body)).status_code == 404


@pytest.mark.parametrize("settings", [{"deployment_mode": "dev"}], indirect=True)
async def test_in_development_anybody_may_make_an_administrator_with_all_that_newcomers_have(
    visitor: Visitor, engine: AsyncEngine
) -> None:
    await register(visitor, "first")
    answer = await visitor.post("/test/register_admin", json={"username": "boss", "password": PASSWORD})
    assert (answer.status_code, answer.json()["role"]) == (200, "admin")
    assert len(await rows(engine, "SELECT 1 FROM bot")) == 2
    again = await visitor.post("/test/register_admin", json={"username": "Boss", "password": PASSWORD})
    assert (again.status_code, again.json()) == (400, {"detail": "Username already exists"})
