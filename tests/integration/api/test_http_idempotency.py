"""A request that is repeated under its Idempotency-Key is done once, by however many gateways it is seen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from aperag_api.edge.app import make_app, open_gateway
from aperag_api.kernel.idempotency import repository
from aperag_api.kernel.idempotency.middleware import TELLS_SECRETS
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_work.runtime import Runtime

Person = Any
Victim = Any
KEY = {"Idempotency-Key": "4e8f7c"}
TEA = {"title": "Tea", "type": "document"}
MASKED = {"/collections", "/llm_providers", "/llm_providers/{provider_name}/publish"}
"""Routes whose answers name secrets but never tell them."""
BREW = [("files", ("brew.txt", b"How to brew tea"))]


async def titles(person: Person) -> list[str]:
    return [item["title"] for item in (await person.http.get("/collections")).json()["items"]]


async def records(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as conn:
        return list(await conn.execute(text("SELECT * FROM idempotency_record")))


@pytest_asyncio.fixture
async def other_gateway(gateway: Gateway, runtime: Runtime, settings: Settings) -> AsyncIterator[FastAPI]:
    """A second replica on the same database."""
    from dataclasses import replace

    from aperag_common.health import Health

    runtime = replace(runtime, health=Health())
    async with open_gateway(runtime, settings) as second:
        yield make_app(second, runtime, settings)


def at(app: FastAPI, person: Person) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://second/api/v1", headers=person.http.headers)


async def test_the_second_answer_is_the_first_one(alice: Person) -> None:
    first = await alice.http.post("/collections", json=TEA, headers=KEY)
    second = await alice.http.post("/collections", json=TEA, headers=KEY)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (200, False)
    assert (second.status_code, second.headers["idempotency-replayed"]) == (200, "true")
    assert (second.content, second.headers["content-type"]) == (first.content, first.headers["content-type"])
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert await titles(alice) == ["Tea"]


async def test_without_a_key_it_is_done_again(alice: Person) -> None:
    for _ in range(2):
        await alice.http.post("/collections", json=TEA)
    assert await titles(alice) == ["Tea", "Tea"]


async def test_another_gateway_gives_the_same_answer(alice: Person, other_gateway: FastAPI) -> None:
    first = await alice.http.post("/collections", json=TEA, headers=KEY)
    async with at(other_gateway, alice) as there:
        second = await there.post("/collections", json=TEA, headers=KEY)
    assert (second.content, second.headers["idempotency-replayed"]) == (first.content, "true")


async def test_many_at_once_over_two_gateways_are_done_once(alice: Person, other_gateway: FastAPI) -> None:
    async with at(other_gateway, alice) as there:
        sent = [client.post("/collections", json=TEA, headers=KEY) for client in (alice.http, there) for _ in range(10)]
        answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} <= {200, 409}
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert all(answer.json()["error_code"] == "IDEMPOTENCY_KEY_IN_USE" for answer in waiting)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in waiting)
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert await titles(alice) == ["Tea"]


@pytest.mark.parametrize(
    "other",
    [
        {"json": {**TEA, "title": "Coffee"}},
        {"json": TEA, "params": {"a": "b"}},
        {"content": b'{"title":"Tea", "type":"document"}', "headers": {**KEY, "Content-Type": "application/json"}},
    ],
)
async def test_a_key_belongs_to_one_request(alice: Person, other: dict[str, Any]) -> None:
    await alice.http.post("/collections", json=TEA, headers=KEY)
    answer = await alice.http.post("/collections", **{"headers": KEY, **other})
    assert (answer.status_code, answer.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    path = f"/collections/{(await alice.http.get('/collections')).json()['items'][0]['id']}/rebuild_failed_indexes"
    assert (await alice.http.post(path, headers=KEY)).status_code == 422
    assert await titles(alice) == ["Tea"]


async def test_a_key_is_its_owners(alice: Person, mallory: Person) -> None:
    first = await alice.http.post("/collections", json=TEA, headers=KEY)
    theirs = await mallory.http.post("/collections", json=TEA, headers=KEY)
    assert (theirs.status_code, "idempotency-replayed" in theirs.headers) == (200, False)
    assert theirs.json()["id"] != first.json()["id"]


async def test_a_credential_of_less_reach_is_not_told_what_one_of_more_reach_was(
    alice: Person, engine: AsyncEngine
) -> None:
    await alice.http.post("/collections", json=TEA, headers=KEY)
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET role = 'ro' WHERE id = :id"), {"id": alice.id})
    answer = await alice.http.post("/collections", json=TEA, headers=KEY)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "차".encode(), "a\tb"])
async def test_a_key_that_is_none_is_refused(alice: Person, key: str | bytes) -> None:
    answer = await alice.http.post("/collections", json=TEA, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")
    assert await titles(alice) == []


async def test_a_refusal_is_not_kept(alice: Person, engine: AsyncEngine) -> None:
    """What was refused has changed nothing, and may be allowed by now."""
    path = "/collections/colunknown/documents/confirm"
    assert (await alice.http.post(path, json={"document_ids": ["d"]}, headers=KEY)).status_code == 404
    assert (await alice.http.post("/collections", json={}, headers=KEY)).status_code == 422
    assert await records(engine) == []
    assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 200


async def test_a_failure_of_ours_may_be_tried_again(
    alice: Person, gateway: Gateway, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        message = "unforeseen"
        raise RuntimeError(message)

    with monkeypatch.context() as patch:
        patch.setattr(type(gateway.knowledge.collections), "create", broken)
        assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 500
    assert await records(engine) == []
    again = await alice.http.post("/collections", json=TEA, headers=KEY)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (200, False)


async def test_a_stranger_is_only_refused(app: FastAPI, engine: AsyncEngine) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway/api/v1") as client:
        assert (await client.post("/collections", json=TEA, headers=KEY)).status_code == 401
    assert await records(engine) == []


async def test_an_upload_is_answered_again_though_its_boundary_is_another(
    alice: Person, victim: Victim, engine: AsyncEngine
) -> None:
    first = await alice.http.post(victim.documents, files=BREW, headers=KEY)
    second = await alice.http.post(victim.documents, files=BREW, headers=KEY)
    assert first.status_code == 200, first.text
    assert (second.content, second.headers.get("idempotency-replayed")) == (first.content, "true")
    other = await alice.http.post(victim.documents, files=[("files", ("brew.txt", b"Other"))], headers=KEY)
    assert (other.status_code, other.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_large_upload_is_not_gathered_and_answered_again(alice: Person, victim: Victim) -> None:
    large = [("files", ("large.txt", b"tea " * 16_000))]
    first = await alice.http.post(victim.documents, files=large, headers=KEY)
    second = await alice.http.post(victim.documents, files=large, headers=KEY)
    assert first.status_code == 200, first.text
    assert second.content == first.content


async def test_an_upload_that_was_cut_off_is_done_when_it_is_sent_again(
    served: httpx.AsyncClient, alice: Person, engine: AsyncEngine
) -> None:
    collection = await alice.collection()
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="brew.txt"\r\n\r\nHow to brew tea'
    length = len(head) + len(b"\r\n--B--\r\n")
    request = (
        f"POST {served.base_url.path}collections/{collection}/documents HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: {served.headers['authorization']}\r\nIdempotency-Key: 4e8f7c\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {length}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", served.base_url.port)
    writer.write(request.encode() + head)
    await writer.drain()

    async def claimed() -> bool:
        return len(await records(engine)) == 1

    async def released() -> bool:
        return await records(engine) == []

    await until(claimed)
    meanwhile = await served.post(f"/collections/{collection}/documents", files=BREW, headers=KEY)
    assert (meanwhile.status_code, meanwhile.json()["error_code"]) == (409, "IDEMPOTENCY_KEY_IN_USE")
    writer.transport.abort()
    await until(released)
    again = await served.post(f"/collections/{collection}/documents", files=BREW, headers=KEY)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (200, False)


async def test_what_a_gateway_that_died_had_begun_is_taken_over(alice: Person, engine: AsyncEngine) -> None:
    async def claimed_by_the_dead(until_when: str) -> None:
        async with engine.begin() as conn:
            await conn.execute(
                text(
                    f"""
                    INSERT INTO idempotency_record (user_id, key, fingerprint, locked_until)
                    VALUES (:user_id, '4e8f7c', 'unknown', clock_timestamp() + {until_when})
                    ON CONFLICT (user_id, key) DO UPDATE SET locked_until = excluded.locked_until
                    """
                ),
                {"user_id": alice.id},
            )

    await claimed_by_the_dead("interval '20 s'")
    assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 409
    await claimed_by_the_dead("interval '-1 s'")
    assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 200
    assert await titles(alice) == ["Tea"]


async def test_a_lock_from_before_the_clock_was_set_back_holds_nobody_up(alice: Person, engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            text(
                """
                INSERT INTO idempotency_record (user_id, key, fingerprint, locked_until)
                VALUES (:user_id, '4e8f7c', 'unknown', clock_timestamp() + interval '1 day')
                """
            ),
            {"user_id": alice.id},
        )
    assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 200


@pytest.mark.parametrize("settings", [{"idempotency": {"lock": "PT3S"}}], indirect=True)
async def test_what_takes_long_keeps_its_claim(
    alice: Person, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = type(gateway.knowledge.collections).create
    go_on = asyncio.Event()

    async def slow(*arguments: Any, **named: Any) -> Any:
        await go_on.wait()
        return await create(*arguments, **named)

    monkeypatch.setattr(type(gateway.knowledge.collections), "create", slow)
    first = asyncio.create_task(alice.http.post("/collections", json=TEA, headers=KEY))
    seen = []
    clock = asyncio.get_running_loop().time
    longer_than_its_claim = clock() + 4
    while clock() < longer_than_its_claim:
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30):  # who took the claim over would wait for ever
            seen.append((await alice.http.post("/collections", json=TEA, headers=KEY)).status_code)
    go_on.set()
    assert (await first).status_code == 200
    assert set(seen[1:]) == {409}


async def test_what_was_done_is_not_done_again_where_its_answer_could_not_be_kept(
    alice: Person, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise DBAPIError("keep", {}, Exception("away"))

    with monkeypatch.context() as broken:
        broken.setattr(repository, "keep", away)
        assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 200
    assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 409
    assert await titles(alice) == [TEA["title"]]


async def test_an_answer_from_before_a_rotation_of_the_secret_is_still_given(
    alice: Person, settings: Settings, make_replica: Callable[..., Awaitable[FastAPI]]
) -> None:
    first = await alice.http.post("/collections", json=TEA, headers=KEY)
    later = await make_replica(
        secret_key=SecretStr("drawn-for-this-test-alone-91f"), secret_key_previous=(settings.secret_key,)
    )
    async with at(later, alice) as there:
        again = await there.post("/collections", json=TEA, headers=KEY)
    assert (again.status_code, again.json()) == (200, first.json())


async def test_an_answer_is_forgotten_after_a_day(alice: Person, engine: AsyncEngine) -> None:
    await alice.http.post("/collections", json=TEA, headers=KEY)
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE idempotency_record SET created = created - interval '25 hours'"))
    again = await alice.http.post("/collections", json={**TEA, "title": "Coffee"}, headers=KEY)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (200, False)


@pytest.mark.parametrize("settings", [{"idempotency": {"max_answer": 10}}], indirect=True)
async def test_an_answer_that_is_too_large_is_not_kept(alice: Person, engine: AsyncEngine) -> None:
    assert (await alice.http.post("/collections", json=TEA, headers=KEY)).status_code == 200
    assert await records(engine) == []


async def test_answers_that_tell_secrets_are_stored_nowhere(alice: Person, engine: AsyncEngine) -> None:
    first = await alice.http.post("/apikeys", json={}, headers=KEY)
    second = await alice.http.post("/apikeys", json={}, headers=KEY)
    assert [first.status_code, second.status_code] == [200, 200]
    assert first.json()["key"] != second.json()["key"]
    assert await records(engine) == []


def test_every_route_whose_answer_tells_a_secret_is_named(app: FastAPI) -> None:
    """Answers that set a cookie are not kept either, whatever the route."""
    document = app.openapi()

    def tells(schema: Any, seen: frozenset[str] = frozenset()) -> bool:
        if isinstance(schema, list):
            return any(tells(below, seen) for below in schema)
        if not isinstance(schema, dict):
            return False
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            return tells(document["components"]["schemas"][name], seen | {name})
        secret = {"key", "api_key", "token", "password"} & set(schema.get("properties", {}))
        return bool(secret) or tells(list(schema.values()), seen)

    telling = {
        path.removeprefix("/api/v1")
        for path, operations in document["paths"].items()
        if "post" in operations
        for answers in [operations["post"]["responses"]]
        if tells([answer for status, answer in answers.items() if status.startswith("2")])
    }
    assert "/apikeys" in telling
    assert [path for path in telling - MASKED if not path.startswith(TELLS_SECRETS)] == []


async def test_a_repeated_answer_counts_as_a_request(alice: Person, app: FastAPI) -> None:
    taken: list[str] = []
    take = app.state.rates.take

    async def counted(request: Any, caller: Any) -> None:
        taken.append(request.method)
        await take(request, caller)

    app.state.rates.take = counted
    for _ in range(3):
        await alice.http.post("/collections", json=TEA, headers=KEY)
    assert taken == ["POST", "POST", "POST"]
