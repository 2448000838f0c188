"""Pages behind a reverse proxy that gives the gateway another Host, and sites that would pass for such a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from aperag_api.edge.settings import GatewayHttp
from aperag_api.identity.accounts import repository as users
from aperag_api.identity.sessions.service import Visitor

if TYPE_CHECKING:
    import httpx
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway

Person = Any

PAGE = "https://rag.example.org"
NAMED = {"origin": PAGE, "x-forwarded-host": "rag.example.org"}
ALLOWED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, NAMED),
    ({"public_url": f"{PAGE}/"}, {"origin": PAGE}),
    ({"public_url": PAGE, "http": GatewayHttp(trusted_proxies=())}, NAMED),
]
"""Settings, and the headers of a request that a page of ours makes through a proxy."""

REFUSED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"origin": PAGE}),
    ({}, {**NAMED, "origin": "https://evil.example.org"}),
    ({}, {**NAMED, "origin": "null"}),
    ({}, {**NAMED, "sec-fetch-site": "cross-site"}),
    ({}, {"origin": "https://evil.example.org", "x-forwarded-host": "evil.example.org, rag.example.org"}),
    ({"http": GatewayHttp(trusted_proxies=())}, {"origin": "https://e.org", "x-forwarded-host": "e.org"}),
    ({"http": GatewayHttp(trusted_proxies=("10.0.0.0/8",))}, {"origin": "https://e.org", "x-forwarded-host": "e.org"}),
    ({"public_url": PAGE}, {"origin": "https://evil.example.org"}),
    ({"public_url": PAGE}, {"origin": "http://rag.example.org"}),
]


@pytest_asyncio.fixture
async def cookie(alice: Person, engine: AsyncEngine, gateway: Gateway) -> str:
    async with engine.begin() as conn:
        user = await users.by_id(conn, alice.id)
        assert user is not None
        return f"session={await gateway.identity.sessions.open(conn, user, Visitor('127.0.0.1', 'tests'))}"


async def attempts(served: httpx.AsyncClient, alice: Person, cookie: str, headers: dict[str, str]) -> list[int]:
    """What a login, a change by cookie and a WebSocket are answered."""
    del served.headers["authorization"]
    wrong = {"username": "alice", "password": "a wrong password"}
    login = await served.post("/login", json=wrong, headers=headers)
    change = await served.post("/collections", json={"title": "Tea"}, headers={**headers, "cookie": cookie})
    bot = (await alice.http.post("/bots", json={"title": "Tea"})).json()["id"]
    chat = (await alice.http.post(f"/bots/{bot}/chats")).json()["id"]
    url = str(served.base_url).replace("http", "ws", 1) + f"bots/{bot}/chats/{chat}/connect"
    try:
        async with connect(url, additional_headers={**headers, "cookie": cookie}, proxy=None):
            opened = 101
    except InvalidStatus as err:
        opened = err.response.status_code
    return [login.status_code, change.status_code, opened]


@pytest.mark.parametrize(("settings", "headers"), ALLOWED, indirect=["settings"])
async def test_a_page_behind_a_proxy_logs_in_changes_things_and_opens_a_socket(
    served: httpx.AsyncClient, alice: Person, cookie: str, headers: dict[str, str]
) -> None:
    assert await attempts(served, alice, cookie, headers) == [400, 200, 101], "400: the password was looked at"


@pytest.mark.parametrize(("settings", "headers"), REFUSED, indirect=["settings"])
async def test_no_other_site_passes_for_a_page_behind_a_proxy(
    served: httpx.AsyncClient, alice: Person, cookie: str, headers: dict[str, str]
) -> None:
    assert await attempts(served, alice, cookie, headers) == [403, 403, 403]


async def test_a_refused_page_is_told_which_setting_lets_it_in(served: httpx.AsyncClient) -> None:
    answer = await served.post("/login", json={"username": "a", "password": "b"}, headers={"origin": PAGE})
    assert "APERAG_PUBLIC_URL" in answer.json()["detail"]
