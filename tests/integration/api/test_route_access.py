"""Every route of the OpenAPI document, asked by every kind of caller: none opens to whom it should not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from tests.integration.api.access_table import CALLERS, ROUTES, TABLE, expected
from tests.integration.api.test_bad_ids import VALID, own_ids

from aperag_api.identity.accounts import repository as users
from aperag_api.identity.sessions.service import Visitor
from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway

Person = Any
Victim = Any

V1 = "/api/v1"
ID = re.compile(r"{(\w+)}")

pytestmark = [
    # The route that exists only there is in the document too.
    pytest.mark.parametrize("settings", [{"deployment_mode": "dev"}], indirect=True),
    pytest.mark.timeout(300),
]


@dataclass(slots=True)
class Asker:
    """What a caller shows, and which ids and names stand in their requests."""

    ids: dict[str, str]
    me: str = "nobody"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Scene:
    """Alice's collection with all that is in it, and who comes to it."""

    engine: AsyncEngine
    gateway: Gateway
    alice: Person
    mallory: Person
    admin: Person
    ids: dict[str, str]

    async def asker(self, caller: str) -> Asker:
        prepare = getattr(self, f"_{caller}", None)
        if prepare is not None:
            return await prepare()
        people = {"other": self.mallory, "passer_by": self.mallory, "subscriber": self.mallory, "admin": self.admin}
        if caller in {"visitor", "passer_by", "subscriber"}:
            await self._asked(self.alice, "POST", f"/collections/{self.ids['collection_id']}/sharing")
        if caller == "subscriber":
            await self._asked(self.mallory, "POST", f"/marketplace/collections/{self.ids['collection_id']}/subscribe")
        if caller in {"stranger", "visitor"}:
            return Asker(self.ids)
        return self._with_key(people.get(caller, self.alice))

    def _with_key(self, person: Person, key: str | None = None) -> Asker:
        return Asker(self.ids, person.id, {"authorization": f"Bearer {key or person.key}"})

    async def _ro(self) -> Asker:
        await self._execute("UPDATE users SET role = 'ro' WHERE id = :id", id=self.alice.id)
        return self._with_key(self.alice)

    async def _read_key(self) -> Asker:
        return self._with_key(self.alice, (await self._key(scope="read"))["key"])

    async def _elsewhere(self) -> Asker:
        return self._with_key(self.alice, (await self._key(collection_ids=[await self.alice.collection()]))["key"])

    async def _within(self) -> Asker:
        return self._with_key(self.alice, (await self._key(collection_ids=[self.ids["collection_id"]]))["key"])

    async def _expired_key(self) -> Asker:
        made = await self._key(expires_at="2100-01-01T00:00:00Z")
        await self._execute("UPDATE api_key SET expires_at = clock_timestamp() WHERE id = :id", id=made["id"])
        return self._with_key(self.alice, made["key"])

    async def _revoked_key(self) -> Asker:
        made = await self._key()
        assert await self._asked(self.alice, "DELETE", f"/apikeys/{made['id']}") is True
        return self._with_key(self.alice, made["key"])

    async def _session(self) -> Asker:
        return Asker(self.ids, self.alice.id, {"cookie": f"session={await self._login()}"})

    async def _revoked_session(self) -> Asker:
        token = await self._login()
        await self.gateway.identity.sessions.revoke(token)
        return Asker(self.ids, self.alice.id, {"cookie": f"session={token}"})

    async def _foreign_page(self) -> Asker:
        headers = {"cookie": f"session={await self._login()}", "origin": "https://elsewhere.example"}
        return Asker(self.ids, self.alice.id, headers)

    async def _login(self) -> str:
        async with self.engine.begin() as conn:
            user = await users.by_id(conn, self.alice.id)
            assert user is not None
            token = await self.gateway.identity.sessions.open(conn, user, Visitor("127.0.0.1", "tests"))
        assert token is not None
        return token

    async def _key(self, **limits: Any) -> dict[str, Any]:
        return dict(await self._asked(self.alice, "POST", "/apikeys", json=limits))

    async def _asked(self, person: Person, method: str, path: str, **request: Any) -> Any:
        answer = await person.http.request(method, path, **request)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def _execute(self, query: str, **values: str) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(text(query), values)


@pytest_asyncio.fixture
async def scene(
    alice: Person,
    mallory: Person,
    make_person: Callable[..., Awaitable[Person]],
    victim: Victim,
    engine: AsyncEngine,
    gateway: Gateway,
) -> Scene:
    async with engine.connect() as conn:
        entry = await conn.execute(text("SELECT min(id) FROM audit_log WHERE user_id = :id"), {"id": alice.id})
        ids = {"entry_id": str(entry.scalar_one())}
    ids = own_ids(victim) | ids | {"user_id": alice.id, "provider": "nobody"}
    return Scene(engine, gateway, alice, mallory, await make_person("admin"), ids)


@pytest_asyncio.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A real server: only there can an endless answer be looked at and left."""
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30, trust_env=False) as client:
        yield client
    await server.stop()


def documented(app: FastAPI) -> dict[str, tuple[str, str]]:
    """Method and path of every route, by its name in the table."""
    return {
        f"{method.upper()} {path.removeprefix(V1)}": (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }


def in_order(route: str) -> tuple[bool, bool, bool, int, int]:
    """What changes least comes first: deletes are last, the innermost first, and a logout ends it."""
    method, _, path = route.partition(" ")
    return path == "/logout", method == "DELETE", method != "GET", -len(ID.findall(path)), -len(path)


def filled(request: Any, me: str) -> Any:
    """With the caller's own name where the request names it."""
    if isinstance(request, dict):
        return {name: filled(value, me) for name, value in request.items()}
    return me if request == "{me}" else request


async def status(http: httpx.AsyncClient, method: str, path: str, asker: Asker, request: dict[str, Any]) -> int:
    """Without reading an answer that may have no end."""
    url = path.format(**asker.ids)
    async with http.stream(method, url, headers=asker.headers, **filled(request, asker.me)) as answer:
        return answer.status_code


async def test_the_table_has_a_line_for_every_route_and_no_other(app: FastAPI) -> None:
    routes = documented(app)
    assert sorted(routes.keys() - ROUTES.keys()) == [], "a route without a line in access_table.py"
    assert sorted(ROUTES.keys() - routes.keys()) == [], "a line in access_table.py without a route"
    assert {row.access for row in ROUTES.values()} == TABLE.keys()


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_route_answers_each_caller_as_the_table_says(
    http: httpx.AsyncClient, app: FastAPI, scene: Scene, caller: str
) -> None:
    routes = documented(app)
    asker = await scene.asker(caller)
    wrong = []
    for route in sorted(routes, key=in_order):
        method, path = routes[route]
        request = ROUTES[route].request or VALID.get((method, path.removeprefix(V1)), {})
        found = await status(http, method, path, asker, request)
        if found not in expected(route, caller):
            wrong.append(f"{route}: {found} instead of {expected(route, caller)}")
    assert wrong == []
    assert len(routes) > 80
