"""What holds for every route: failures, health, limits, telemetry of nothing but what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_common.bus.connection import Bus

Person = Any
PROBLEM = {"Accept": "application/problem+json"}


async def test_failures_are_problems_for_those_who_ask(alice: Person) -> None:
    answer = await alice.http.get("/collections/colunknown", headers=PROBLEM)
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, body["status"], body["title"]) == (404, 404, "Not Found")
    assert (body["error_code"], body["retryable"]) == ("COLLECTION_NOT_FOUND", False)
    assert body["instance"] == "/api/v1/collections/colunknown"
    assert "trace_id" in body
    invalid = (await alice.http.post("/collections", json={}, headers=PROBLEM)).json()
    assert (invalid["status"], invalid["errors"][0]["loc"]) == (422, ["body", "title"])
    bot = (await alice.http.post("/bots", json={"title": "Tea", "type": "agent"})).json()["id"]
    chat = (await alice.http.post(f"/bots/{bot}/chats")).json()["id"]
    untold = (await alice.http.post(f"/bots/{bot}/chats/{chat}/title", headers=PROBLEM)).json()
    assert (untold["status"], untold["error_code"]) == (400, "MESSAGE_NOT_FOUND")
    assert untold["detail"].startswith("Nothing was said in this chat yet")


async def test_an_invalid_body_keeps_fastapis_answer(alice: Person) -> None:
    answer = await alice.http.post("/collections", json={})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "missing"


@pytest.mark.parametrize("path", ["/collections/%00", "/collections/a%00/documents", "/tasks/%00", "/collections/%ff"])
async def test_ids_that_no_row_can_have_are_no_server_error(alice: Person, path: str) -> None:
    assert (await alice.http.get(path)).status_code in {400, 404}


async def test_a_broken_database_is_named_without_its_secrets(alice: Person, engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(text("ALTER TABLE collection RENAME TO hidden"))
    answer = await alice.http.get("/collections")
    body = answer.json()
    assert (answer.status_code, body["error_code"], body["code"]) == (500, "DATABASE_ERROR", 1050)
    assert "hidden" not in answer.text
    assert "SELECT" not in answer.text


async def test_an_unexpected_failure_shows_no_stack(
    alice: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    async def broken(*_: object, **__: object) -> None:
        message = "secret detail"
        raise RuntimeError(message)

    monkeypatch.setattr(type(gateway.knowledge.collections), "get", broken)
    answer = await alice.http.get("/collections/col1")
    assert (answer.status_code, answer.json()["error_code"], answer.json()["code"]) == (500, "INTERNAL_ERROR", 1000)
    assert "secret detail" not in answer.text
    assert [line["path"] for line in logged if line["event"] == "request.failed"] == ["/api/v1/collections/col1"]


async def test_a_large_json_body_is_refused_while_it_arrives(alice: Person) -> None:
    answer = await alice.http.post("/collections", json={"title": "t", "description": "x" * (5 * 1024 * 1024)})
    assert answer.status_code == 413


async def test_health_says_what_it_should_to_anyone(app: FastAPI, bus: Bus) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert (await client.get("/health")).json() == {"status": "healthy", "service": "aperag-api"}
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, "events" in ready.json()["checks"]) == (200, True)
        assert "aperag_publishes_total" in (await client.get("/metrics")).text
