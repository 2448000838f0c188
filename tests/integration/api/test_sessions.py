"""Logins over HTTP (contract 1.1): the cookie, what ends it, and what it must never be."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import text

from aperag_api.edge.settings import GatewayHttp
from aperag_api.identity.accounts.passwords import PasswordSettings
from aperag_api.identity.sessions.tokens import AUDIENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from http.cookies import Morsel

    from sqlalchemy.ext.asyncio import AsyncEngine

Visitor = httpx.AsyncClient
MakeVisitor = Any

PASSWORD = "correct horse battery"
LOGIN = {"username": "alice", "password": PASSWORD}


@pytest_asyncio.fixture
async def visitor(make_visitor: MakeVisitor) -> Visitor:
    """Of a user who has registered and not logged in."""
    visitor: Visitor = await make_visitor()
    assert (await visitor.post("/register", json=LOGIN)).status_code == 200
    return visitor


async def one(engine: AsyncEngine, sql: str) -> Any:
    async with engine.connect() as conn:
        return (await conn.execute(text(sql))).one()


async def execute(engine: AsyncEngine, sql: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql))


def cookie_of(answer: httpx.Response) -> Morsel[str]:
    return SimpleCookie(answer.headers["set-cookie"])["session"]


async def test_a_login_answers_the_user_and_sets_the_cookie(visitor: Visitor, engine: AsyncEngine) -> None:
    answer = await visitor.post("/login", json=LOGIN, headers={"user-agent": "tests"})
    assert (answer.status_code, answer.json()["username"]) == (200, "alice")
    assert "password" not in answer.text
    cookie = cookie_of(answer)
    assert (cookie["httponly"], cookie["samesite"].lower(), cookie["max-age"]) == (True, "lax", "86400")
    assert (cookie["path"], cookie["secure"]) == ("/", "")
    assert (await visitor.get("/user")).json()["username"] == "alice"
    stored = await one(engine, "SELECT *, extract(epoch FROM expires_at - created)::int AS seconds FROM session")
    assert (stored.ip_address, stored.user_agent, stored.seconds) == ("127.0.0.1", "tests", 86_400)
    assert stored.id not in answer.text


@pytest.mark.parametrize("settings", [{"jwt_secret": "7f3c91" * 6}], indirect=True)
async def test_with_a_secret_for_sessions_whoever_has_it_can_read_them(visitor: Visitor) -> None:
    token = cookie_of(await visitor.post("/login", json=LOGIN)).value
    claims = jwt.decode(token, OctKey.import_key("7f3c91" * 6), algorithms=["HS256"]).claims
    assert claims["aud"] == AUDIENCE
    assert (await visitor.get("/user")).json()["username"] == "alice"


async def test_a_token_names_its_session_and_signs_it(visitor: Visitor, engine: AsyncEngine) -> None:
    token = cookie_of(await visitor.post("/login", json=LOGIN)).value
    import base64
    import json

    head, body, _ = (
        json.loads(base64.urlsafe_b64decode(part + "==")) if part[:2] == "ey" else part for part in token.split(".")
    )
    assert head["alg"] == "HS256"
    assert body["jti"] == (await one(engine, "SELECT id FROM session")).id
    assert body["exp"] - body["iat"] == 86_400


@pytest.mark.parametrize(
    ("settings", "forwarded", "secure"),
    [
        ({}, {}, False),
        ({}, {"x-forwarded-proto": "https"}, True),  # a proxy on this machine is trusted by default
        ({}, {"x-forwarded-proto": "http"}, False),
        ({"http": GatewayHttp(trusted_proxies=())}, {"x-forwarded-proto": "https"}, False),
        ({"public_url": "https://rag.example.org"}, {}, True),
        ({"public_url": "http://rag.example.org"}, {}, False),
        ({"http": GatewayHttp(trusted_proxies=("10.0.0.0/8",))}, {"x-forwarded-proto": "https"}, False),
    ],
    indirect=["settings"],
)
async def test_the_cookie_is_for_tls_only_where_the_request_came_over_it(
    visitor: Visitor, forwarded: dict[str, str], *, secure: bool
) -> None:
    assert bool(cookie_of(await visitor.post("/login", json=LOGIN, headers=forwarded))["secure"]) is secure
    visitor.base_url = "https://gateway/api/v1"
    assert cookie_of(await visitor.post("/login", json=LOGIN))["secure"] is True


@pytest.mark.parametrize("settings", [{"http": GatewayHttp(trusted_proxies=("127.0.0.1",))}], indirect=True)
async def test_a_session_remembers_the_client_behind_a_trusted_proxy(visitor: Visitor, engine: AsyncEngine) -> None:
    await visitor.post("/login", json=LOGIN, headers={"x-forwarded-for": "198.51.100.7, 203.0.113.9"})
    assert (await one(engine, "SELECT ip_address FROM session")).ip_address == "203.0.113.9"


@pytest.mark.parametrize("username", ["alice", "nobody", "", "a\u0301\u202e", "x" * 1000])
async def test_whoever_fails_learns_nothing(visitor: Visitor, username: str) -> None:
    answer = await visitor.post("/login", json={"username": username, "password": "a wrong password"})
    assert (answer.status_code, answer.json()) == (400, {"detail": "Invalid credentials"})
    assert "set-cookie" not in answer.headers


async def test_an_unknown_name_costs_the_same_work_as_a_known_one(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    import argon2

    done: list[str] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: Any, encoded: str, password: str) -> Any:
        done.append(encoded.rpartition("$")[0].rpartition("$")[0])
        return verify(self, encoded, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    for username in ("alice", "nobody"):
        await visitor.post("/login", json={"username": username, "password": "a wrong password"})
    assert len(done) == 2
    assert done[0] == done[1]


async def test_a_user_who_is_not_active_cannot_log_in_and_their_session_ends(
    visitor: Visitor, engine: AsyncEngine
) -> None:
    await visitor.post("/login", json=LOGIN)
    await execute(engine, "UPDATE users SET is_active = false")
    assert (await visitor.get("/user")).status_code == 401
    assert (await visitor.post("/login", json=LOGIN)).json() == {"detail": "Invalid credentials"}


async def test_a_logout_revokes_the_token_and_takes_the_cookie(visitor: Visitor, make_visitor: MakeVisitor) -> None:
    token = cookie_of(await visitor.post("/login", json=LOGIN)).value
    stolen = await make_visitor()
    stolen.headers["cookie"] = f"session={token}"
    assert (await stolen.get("/user")).status_code == 200
    answer = await visitor.post("/logout")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert cookie_of(answer)["max-age"] == "0"
    assert "session" not in visitor.cookies
    assert (await stolen.get("/user")).status_code == 401
    assert (await stolen.post("/logout")).status_code == 200


async def test_a_logout_ends_one_session_only(visitor: Visitor, make_visitor: MakeVisitor) -> None:
    other = await make_visitor()
    await visitor.post("/login", json=LOGIN)
    await other.post("/login", json=LOGIN)
    await visitor.post("/logout")
    assert (await other.get("/user")).status_code == 200


async def test_a_logout_without_a_session_changes_nothing(visitor: Visitor, engine: AsyncEngine) -> None:
    for cookie in (None, "session=", "session=nonsense", "session=a.b.c", "session=" + "x" * 10_000):
        headers = {} if cookie is None else {"cookie": cookie}
        assert (await visitor.post("/logout", headers=headers)).json() == {"success": True}
    assert (await one(engine, "SELECT count(*) FROM session")).count == 0


async def test_a_session_ends_by_the_databases_clock(visitor: Visitor, engine: AsyncEngine) -> None:
    await visitor.post("/login", json=LOGIN)
    await execute(engine, "UPDATE session SET expires_at = clock_timestamp() + interval '1 minute'")
    assert (await visitor.get("/user")).status_code == 200
    await execute(engine, "UPDATE session SET expires_at = clock_timestamp()")
    assert (await visitor.get("/user")).status_code == 401


def forged(token: str, session: str, user: str) -> dict[str, str]:
    head, body, signature = token.split(".")
    claims = {"sub": user, "jti": session, "aud": AUDIENCE, "exp": 32_000_000_000}
    key = OctKey.import_key("another key of thirty-two bytes!")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    return {
        "another key": jwt.encode({"alg": "HS256"}, claims, key),
        "no algorithm": f"{none}.{body}.",
        "no algorithm, old signature": f"{none}.{body}.{signature}",
        "no signature": f"{head}.{body}.",
        "another signature": f"{head}.{body}.{signature[:-4]}AAAA",
        "another body": f"{head}.{jwt.encode({'alg': 'HS256'}, claims, key).split('.')[1]}.{signature}",
        "the id alone": session,
        "very long": token + "A" * 5000,
    }


async def test_what_was_not_signed_here_opens_nothing(
    visitor: Visitor, make_visitor: MakeVisitor, engine: AsyncEngine
) -> None:
    token = cookie_of(await visitor.post("/login", json=LOGIN)).value
    row = await one(engine, "SELECT id, user_id FROM session")
    attacker = await make_visitor()
    for what, attempt in forged(token, row.id, row.user_id).items():
        answer = await attacker.get("/user", headers={"cookie": f"session={attempt}"})
        assert answer.status_code == 401, what
    assert (await attacker.get("/user", headers={"cookie": f"session={token}"})).status_code == 200
    assert (await attacker.get("/user", headers={"authorization": f"Bearer {token}"})).status_code == 401


async def test_a_session_is_known_to_every_replica_at_once(
    visitor: Visitor, make_visitor: MakeVisitor, make_replica: Callable[[], Awaitable[Any]]
) -> None:
    token = cookie_of(await visitor.post("/login", json=LOGIN)).value
    elsewhere = await make_visitor(application=await make_replica())
    elsewhere.headers["cookie"] = f"session={token}"
    assert (await elsewhere.get("/user")).status_code == 200
    assert (await elsewhere.post("/logout")).status_code == 200
    assert (await visitor.get("/user")).status_code == 401


FOREIGN = [
    {"origin": "https://evil.example.org"},
    {"origin": "null"},
    {"origin": "http://gateway.evil.example.org"},
    {"origin": "http://gateway:81"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_another_sites_page_neither_logs_in_nor_out(
    visitor: Visitor, engine: AsyncEngine, headers: dict[str, str]
) -> None:
    assert (await visitor.post("/login", json=LOGIN, headers=headers)).status_code == 403
    assert "session" not in visitor.cookies
    await visitor.post("/login", json=LOGIN)
    assert (await visitor.post("/logout", headers=headers)).status_code == 403
    assert (await visitor.get("/user")).status_code == 200


async def test_another_sites_page_writes_nothing_with_a_persons_cookie(visitor: Visitor) -> None:
    await visitor.post("/login", json=LOGIN)
    before = (await visitor.get("/collections")).json()["items"]
    for headers in FOREIGN:
        answer = await visitor.post("/collections", json={"title": "planted"}, headers=headers)
        assert answer.status_code == 403, headers
    own = {"origin": "http://gateway", "sec-fetch-site": "same-origin"}
    assert (await visitor.post("/collections", json={"title": "mine"}, headers=own)).status_code == 200
    assert len((await visitor.get("/collections")).json()["items"]) == len(before) + 1


@pytest.mark.parametrize("settings", [{}], indirect=True)
async def test_a_hash_of_another_cost_is_replaced_at_the_next_login(
    visitor: Visitor, engine: AsyncEngine, make_visitor: MakeVisitor, make_replica: Callable[..., Awaitable[Any]]
) -> None:
    old = (await one(engine, "SELECT password_hash FROM users")).password_hash
    dearer = await make_replica(passwords=PasswordSettings(memory_kib=16, rounds=2, lanes=1))
    again = await make_visitor(application=dearer)
    assert (await again.post("/login", json=LOGIN)).status_code == 200
    new = (await one(engine, "SELECT password_hash FROM users")).password_hash
    assert ("m=8,t=1" in old, "m=16,t=2" in new) == (True, True)
    assert (await again.get("/user")).status_code == 200
    assert (await again.post("/login", json=LOGIN)).status_code == 200


async def test_a_login_that_meets_a_change_of_the_password_opens_nothing(
    visitor: Visitor, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password was right when it was looked at, and is no longer when the session is opened."""
    from aperag_api.identity.accounts.passwords import Passwords

    verify = Passwords.verify

    async def changed_meanwhile(self: Passwords, password: str, encoded: str | None) -> Any:
        verdict = await verify(self, password, encoded)
        await execute(engine, "UPDATE users SET password_hash = 'another'")
        return verdict

    monkeypatch.setattr(Passwords, "verify", changed_meanwhile)
    assert (await visitor.post("/login", json=LOGIN)).status_code == 400
    assert (await one(engine, "SELECT count(*) FROM session")).count == 0


async def test_many_logins_at_once_all_work(visitor: Visitor) -> None:
    answers = await asyncio.gather(*(visitor.post("/login", json=LOGIN) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
