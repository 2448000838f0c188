"""How often one caller may call, and what whoever calls more often is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aperag_api.kernel.http.rates import Kind, kind_of

if TYPE_CHECKING:
    from fastapi import FastAPI

Person = Any
PROBLEM = {"Accept": "application/problem+json"}


def rates(**values: str) -> Any:
    return pytest.mark.parametrize("settings", [{"rates": values}], indirect=True)


@pytest.mark.parametrize(
    ("method", "path", "known", "kind"),
    [
        ("POST", "/login", False, Kind.SIGN_IN),
        ("POST", "/login", True, Kind.SIGN_IN),
        ("POST", "/register", False, Kind.SIGN_IN),
        ("POST", "/change-password", True, Kind.SIGN_IN),
        ("GET", "/auth/google/callback", False, Kind.SIGN_IN),
        ("GET", "/config", False, Kind.ANONYMOUS),
        ("POST", "/collections", False, Kind.ANONYMOUS),
        ("GET", "/collections", True, Kind.READ),
        ("GET", "/collections/c/searches", True, Kind.READ),
        ("POST", "/collections/c/searches", True, Kind.SEARCH),
        ("POST", "/web/search", True, Kind.SEARCH),
        ("DELETE", "/collections/c/searches/s", True, Kind.WRITE),
        ("POST", "/collections/c/documents", True, Kind.WRITE),
        ("PUT", "/collections/c", True, Kind.WRITE),
    ],
)
def test_kinds_of_requests_are_counted_apart(method: str, path: str, *, known: bool, kind: Kind) -> None:
    assert kind_of(method, path, known=known) is kind


@rates(read="2/hour")
async def test_whoever_calls_too_often_is_told_when_to_come_back(alice: Person, mallory: Person) -> None:
    for _ in range(2):
        assert (await alice.http.get("/collections")).status_code == 200
    answer = await alice.http.get("/collections")
    assert (answer.status_code, answer.json()["error_code"], answer.json()["code"]) == (
        429,
        "RATE_LIMIT_EXCEEDED",
        1006,
    )
    assert set(answer.json()) == {"success", "error_code", "code", "message", "details", "path"}
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    problem = await alice.http.get("/collections", headers=PROBLEM)
    assert (problem.status_code, problem.headers["content-type"]) == (429, PROBLEM["Accept"])
    assert (problem.json()["error_code"], problem.json()["retryable"]) == ("RATE_LIMIT_EXCEEDED", True)
    assert (await alice.http.post("/collections", json={"title": "t", "type": "document"})).status_code == 200
    assert (await mallory.http.get("/collections")).status_code == 200


@rates(write="1/hour")
async def test_what_is_refused_is_not_done(alice: Person) -> None:
    for title in ("first", "second"):
        await alice.http.post("/collections", json={"title": title, "type": "document"})
    assert [item["title"] for item in (await alice.http.get("/collections")).json()["items"]] == ["first"]


@rates(anonymous="2/hour")
async def test_strangers_are_counted_by_their_address_whatever_key_they_invent(app: FastAPI, alice: Person) -> None:
    def at(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://gateway/api/v1")

    async def ask(client: httpx.AsyncClient, key: str) -> int:
        return (await client.get("/collections", headers={"Authorization": f"Bearer sk-{key * 32}"})).status_code

    async with at("192.0.2.1") as one, at("192.0.2.2") as other, at("2001:db8::1") as six, at("2001:db8::2") as net:
        assert [await ask(one, key) for key in "0123"] == [401, 401, 429, 429]
        assert await ask(other, "4") == 401
        assert [await ask(client, "5") for client in (six, net, six)] == [401, 401, 429]
    assert (await alice.http.get("/collections")).status_code == 200


@rates(anonymous="1/hour", read="1/hour", sign_in="1/hour")
async def test_those_who_watch_the_gateway_are_not_counted(app: FastAPI) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for path in ("/livez", "/readyz", "/metrics", "/health", "/openapi.json"):
            for _ in range(3):
                assert (await client.get(path)).status_code == 200, path


@pytest.mark.parametrize("settings", [{"rates": {"enabled": False, "read": "1/hour"}}], indirect=True)
async def test_rates_may_be_left_to_a_proxy(alice: Person) -> None:
    for _ in range(3):
        assert (await alice.http.get("/collections")).status_code == 200
