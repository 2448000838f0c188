"""Quotas: exact under concurrency, duplicates, failures and deletes; their defaults, overrides and routes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.conversation.bots.provisioning import provide_bot
from aperag_reconciler.gc import repository as gc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings

Person = Any
Make = Any

COLLECTIONS = "max_collection_count"
DOCUMENTS = "max_document_count"
HERE = "max_document_count_per_collection"
FORBIDDEN = 403


@pytest_asyncio.fixture
async def admin(make_person: Make) -> Person:
    return await make_person("admin")


@pytest.fixture
def limit(admin: Person) -> Callable[..., Awaitable[None]]:
    async def set_limits(person: Person, **limits: int | None) -> None:
        answer = await admin.http.put(f"/quotas/{person.id}", json=limits)
        assert answer.status_code == 200, answer.text

    return set_limits


@pytest_asyncio.fixture
async def elsewhere(alice: Person, make_replica: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Alice at a second gateway."""
    transport = httpx.ASGITransport(await make_replica(), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://other/api/v1", headers=alice.http.headers
    ) as client:
        yield client


async def used(person: Person) -> dict[str, int]:
    answer = await person.http.get("/quotas")
    assert answer.status_code == 200, answer.text
    return {quota["quota_type"]: quota["current_usage"] for quota in answer.json()["quotas"]}


def refusal(answer: httpx.Response) -> tuple[int, str, dict[str, Any]]:
    body = answer.json()
    return answer.status_code, body.get("error_code"), body.get("details")


def told(quota_type: str, limit: int, usage: int) -> dict[str, Any]:
    return {"quota_type": quota_type, "quota_limit": limit, "current_usage": usage, "quota_exceeded": True}


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    codes = [answer.status_code for answer in answers]
    return {code: codes.count(code) for code in set(codes)}


async def post(client: httpx.AsyncClient, collection: str, *names: str, body: str = "tea") -> httpx.Response:
    files = [("files", (name, body)) for name in names]
    return await client.post(f"/collections/{collection}/documents", files=files)


async def stage(person: Person, collection: str, name: str) -> str:
    answer = await person.http.post(f"/collections/{collection}/documents/upload", files={"file": (name, "tea")})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["document_id"])


async def test_of_many_uploads_at_once_over_two_gateways_the_last_free_place_takes_one(
    alice: Person, limit: Any, elsewhere: httpx.AsyncClient
) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 4})
    await alice.upload(collection, *((f"{n}.txt", "tea") for n in range(3)))
    clients = [alice.http, elsewhere] * 6
    answers = await asyncio.gather(*(post(client, collection, f"new-{n}.txt") for n, client in enumerate(clients)))
    assert statuses(answers) == {200: 1, FORBIDDEN: 11}
    refused = next(answer for answer in answers if answer.status_code == FORBIDDEN)
    assert refusal(refused) == (FORBIDDEN, "DOCUMENT_QUOTA_EXCEEDED", told(DOCUMENTS, 4, 4))
    assert f"aperag quotas set {alice.id} --documents NUMBER" in refused.json()["message"]
    assert (await used(alice))[DOCUMENTS] == 4


async def test_of_many_collections_made_at_once_over_two_gateways_the_last_free_place_takes_one(
    alice: Person, limit: Any, elsewhere: httpx.AsyncClient
) -> None:
    await limit(alice, **{COLLECTIONS: 2})
    await alice.collection()
    clients = [alice.http, elsewhere] * 5
    answers = await asyncio.gather(*(client.post("/collections", json={"title": "Tea"}) for client in clients))
    assert statuses(answers) == {200: 1, FORBIDDEN: 9}
    refused = next(answer for answer in answers if answer.status_code == FORBIDDEN)
    assert refusal(refused) == (FORBIDDEN, "COLLECTION_QUOTA_EXCEEDED", told(COLLECTIONS, 2, 2))
    assert (await used(alice))[COLLECTIONS] == 2


async def test_the_same_document_again_takes_nothing(alice: Person, limit: Any) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 2})
    first = (await alice.upload(collection, ("a.txt", "tea"), ("b.txt", "tea"))).json()["items"]
    again = await alice.upload(collection, ("a.txt", "tea"), ("b.txt", "tea"), ("a.txt", "tea"))
    assert [item["id"] for item in again.json()["items"]] == [first[0]["id"], first[1]["id"], first[0]["id"]]
    assert (await used(alice))[DOCUMENTS] == 2


async def test_a_batch_that_does_not_fit_whole_is_refused_whole(alice: Person, limit: Any, settings: Settings) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 3})
    await alice.uploaded(collection, "a.txt", "tea")
    answer = await alice.upload(collection, ("b.txt", "tea"), ("c.txt", "tea"), ("d.txt", "tea"))
    assert refusal(answer) == (FORBIDDEN, "DOCUMENT_QUOTA_EXCEEDED", told(DOCUMENTS, 3, 1))
    assert "so 3 more do not fit" in answer.json()["message"]
    assert (await alice.http.get(f"/collections/{collection}/documents")).json()["total"] == 1
    assert len(list(settings.objects.directory.rglob("original*"))) == 1
    assert (await alice.upload(collection, ("b.txt", "tea"), ("c.txt", "tea"))).status_code == 200


async def test_the_bot_that_came_with_a_user_takes_none_of_their_quota(
    alice: Person, engine: AsyncEngine, limit: Any
) -> None:
    async with engine.begin() as conn:
        await provide_bot(conn, alice.id)
    await limit(alice, max_bot_count=1)
    assert (await used(alice))["max_bot_count"] == 0
    made = await alice.http.post("/bots", json={"title": "Tea"})
    assert made.status_code == 200
    assert (await used(alice))["max_bot_count"] == 1
    one_more = await alice.http.post("/bots", json={"title": "Coffee"})
    assert refusal(one_more) == (FORBIDDEN, "BOT_QUOTA_EXCEEDED", told("max_bot_count", 1, 1))


async def test_an_upload_that_fails_gives_back_what_it_took(alice: Person, limit: Any) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 2})
    await alice.uploaded(collection, "a.txt", "tea")
    conflict = await alice.upload(collection, ("new.txt", "tea"), ("a.txt", "coffee"))
    assert conflict.status_code == 409
    assert (await used(alice))[DOCUMENTS] == 1
    assert (await alice.upload(collection, ("new.txt", "tea"))).status_code == 200


async def test_each_collection_has_a_limit_of_its_own(alice: Person, limit: Any) -> None:
    full, other = await alice.collection(), await alice.collection()
    await limit(alice, **{HERE: 2})
    await alice.upload(full, ("a.txt", "tea"), ("b.txt", "tea"))
    answer = await alice.upload(full, ("c.txt", "tea"))
    assert refusal(answer) == (FORBIDDEN, "DOCUMENT_QUOTA_EXCEEDED", told(HERE, 2, 2))
    assert (await alice.upload(other, ("c.txt", "tea"))).status_code == 200
    assert (await alice.upload(full, ("c.txt", "tea"))).status_code == FORBIDDEN
    assert await used(alice) == {COLLECTIONS: 2, DOCUMENTS: 3, HERE: 2, "max_bot_count": 0}


async def test_a_deleted_document_frees_its_place_at_once(alice: Person, limit: Any) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 1, HERE: 1})
    document = await alice.uploaded(collection, "a.txt", "tea")
    assert (await alice.upload(collection, ("b.txt", "tea"))).status_code == FORBIDDEN
    await alice.http.delete(f"/collections/{collection}/documents/{document['id']}")
    assert (await alice.upload(collection, ("b.txt", "tea"))).status_code == 200
    assert (await alice.upload(collection, ("c.txt", "tea"))).status_code == FORBIDDEN


async def test_a_deleted_collection_frees_its_place_and_those_of_its_documents_at_once(
    alice: Person, limit: Any
) -> None:
    collection = await alice.collection()
    await limit(alice, **{COLLECTIONS: 1, DOCUMENTS: 2})
    await alice.upload(collection, ("a.txt", "tea"), ("b.txt", "tea"))
    assert (await alice.http.delete(f"/collections/{collection}")).status_code == 200
    other = await alice.collection()
    assert (await alice.upload(other, ("a.txt", "tea"), ("b.txt", "tea"))).status_code == 200
    assert (await alice.upload(other, ("c.txt", "tea"))).status_code == FORBIDDEN


async def test_only_the_confirmation_of_an_upload_in_two_steps_takes(alice: Person, limit: Any) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 1})
    staged = [await stage(alice, collection, name) for name in ("a.txt", "b.txt")]
    assert (await used(alice))[DOCUMENTS] == 0
    path = f"/collections/{collection}/documents/confirm"
    refused = await alice.http.post(path, json={"document_ids": staged})
    assert refusal(refused) == (FORBIDDEN, "DOCUMENT_QUOTA_EXCEEDED", told(DOCUMENTS, 1, 0))
    assert (await used(alice))[DOCUMENTS] == 0
    confirmed = await alice.http.post(path, json={"document_ids": [staged[0], "doc0123456789abcdef"]})
    assert (confirmed.json()["confirmed_count"], confirmed.json()["failed_count"]) == (1, 1)
    again = await alice.http.post(path, json={"document_ids": [staged[0]]})
    assert again.json()["failed_documents"][0]["error"] == "DOCUMENT_NOT_UPLOADED"
    assert (await used(alice))[DOCUMENTS] == 1


async def test_posting_what_waits_for_its_confirmation_takes_as_the_confirmation_would(
    alice: Person, limit: Any
) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 1})
    await stage(alice, collection, "a.txt")
    assert (await alice.upload(collection, ("a.txt", "tea"), ("b.txt", "tea"))).status_code == FORBIDDEN
    assert (await alice.upload(collection, ("a.txt", "tea"))).status_code == 200
    assert (await used(alice))[DOCUMENTS] == 1


@pytest.mark.parametrize("settings", [{"max_staged_documents": 2}], indirect=True)
async def test_uploads_that_nobody_confirms_are_few(alice: Person, mallory: Person) -> None:
    collection = await alice.collection()
    for name in ("a.txt", "b.txt"):
        await stage(alice, collection, name)
    refused = await alice.http.post(f"/collections/{collection}/documents/upload", files={"file": ("c.txt", "tea")})
    assert (refused.status_code, "wait to be confirmed" in refused.json()["message"]) == (429, True)
    await stage(mallory, await mallory.collection(), "a.txt")


async def test_an_upload_that_expires_never_counted(alice: Person, limit: Any, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 1})
    document = await stage(alice, collection, "a.txt")
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE document SET created = created - interval '2 days'"))
        assert len(await gc.expire_uploads(conn, timedelta(days=1), limit=10)) == 1
    path = f"/collections/{collection}/documents/confirm"
    late = await alice.http.post(path, json={"document_ids": [document]})
    assert late.json()["failed_documents"][0]["error"] == "DOCUMENT_EXPIRED"
    assert (await alice.upload(collection, ("a.txt", "tea"))).status_code == 200
    assert (await used(alice))[DOCUMENTS] == 1


async def test_uploads_and_deletes_of_one_owner_at_once_wait_for_each_other_in_one_order(
    alice: Person, limit: Any, elsewhere: httpx.AsyncClient
) -> None:
    await limit(alice, **{COLLECTIONS: 8, DOCUMENTS: 60, HERE: 40})
    collections = [await alice.collection() for _ in range(4)]
    kept = [item["id"] for c in collections for item in (await alice.upload(c, ("k.txt", "tea"))).json()["items"]]
    staged = [await stage(alice, collections[n % 2], f"staged-{n}.txt") for n in range(8)]

    async def work(client: httpx.AsyncClient, number: int) -> list[int]:
        here = collections[number % 4]
        path = f"/collections/{here}/documents"
        answers = [
            await post(client, here, f"{number}-a.txt", f"{number % 3}-shared.txt"),
            await client.post(f"{path}/confirm", json={"document_ids": staged[number % 5 :]}),
            await client.request("DELETE", path, json=kept),
            await client.post("/collections", json={"title": f"{number}"}),
            await client.delete(f"/collections/{collections[3]}"),
            await post(client, here, f"{number}-b.txt"),
        ]
        return [answer.status_code for answer in answers]

    clients = [alice.http, elsewhere] * 5
    codes = await asyncio.gather(*(work(client, number) for number, client in enumerate(clients)))
    assert {code for of_one in codes for code in of_one} <= {200, FORBIDDEN, 404}
    counted = await used(alice)
    totals = [
        (await alice.http.get(f"/collections/{c}/documents")).json().get("total", 0)
        for c in [it["id"] for it in (await alice.http.get("/collections")).json()["items"]]
    ]
    assert counted[DOCUMENTS] == sum(totals) <= 60
    assert counted[COLLECTIONS] == len(totals) == 8


async def test_nothing_is_counted_while_what_can_be_there_fits(alice: Person, limit: Any, engine: AsyncEngine) -> None:
    collection = await alice.collection()
    await limit(alice, **{DOCUMENTS: 6, HERE: 6})

    async def bound() -> int:
        query = text("SELECT at_most FROM user_quota WHERE user_id = :id AND quota_type = :type")
        async with engine.connect() as conn:
            return (await conn.execute(query, {"id": alice.id, "type": DOCUMENTS})).scalar_one()

    documents = [await alice.uploaded(collection, f"{n}.txt", "tea") for n in range(5)]
    await alice.http.request("DELETE", f"/collections/{collection}/documents", json=[d["id"] for d in documents])
    assert await bound() == 5
    await alice.uploaded(collection, "new.txt", "tea")
    assert await bound() == 6
    await alice.uploaded(collection, "newer.txt", "tea")
    assert await bound() == 2


async def test_limits_are_the_users_own_or_the_defaults_of_the_installation(admin: Person, alice: Person) -> None:
    assert (await admin.http.get("/system/default-quotas")).json() == {
        "quotas": {COLLECTIONS: 10, DOCUMENTS: 1000, HERE: 100, "max_bot_count": 5}
    }
    changed = await admin.http.put("/system/default-quotas", json={"quotas": {DOCUMENTS: 7}})
    assert changed.json()["quotas"] == {COLLECTIONS: 10, DOCUMENTS: 7, HERE: 100, "max_bot_count": 5}
    own = await admin.http.put(f"/quotas/{alice.id}", json={DOCUMENTS: 9, COLLECTIONS: 3})
    assert own.json()["updated_quotas"] == [
        {"quota_type": COLLECTIONS, "old_limit": 10, "new_limit": 3},
        {"quota_type": DOCUMENTS, "old_limit": 7, "new_limit": 9},
    ]
    back = await admin.http.put(f"/quotas/{alice.id}", json={DOCUMENTS: None})
    assert back.json()["updated_quotas"] == [{"quota_type": DOCUMENTS, "old_limit": 9, "new_limit": 7}]
    shown = (await alice.http.get("/quotas")).json()
    assert {it["quota_type"]: it["quota_limit"] for it in shown["quotas"]} == {
        COLLECTIONS: 3, DOCUMENTS: 7, HERE: 100, "max_bot_count": 5,
    }  # fmt: skip


@pytest.mark.parametrize("settings", [{"max_document_count": 2, "max_collection_count": 1}], indirect=True)
async def test_the_environment_says_the_defaults_until_an_administrator_does(alice: Person, admin: Person) -> None:
    collection = await alice.collection()
    assert (await alice.http.post("/collections", json={"title": "two"})).status_code == FORBIDDEN
    await admin.http.put("/system/default-quotas", json={"quotas": {COLLECTIONS: 2}})
    assert (await alice.http.post("/collections", json={"title": "two"})).status_code == 200
    names = [(f"{n}.txt", "tea") for n in range(3)]
    assert (await alice.upload(collection, *names)).status_code == FORBIDDEN


async def test_a_limit_below_what_is_there_takes_nothing_away(alice: Person, limit: Any) -> None:
    collection = await alice.collection()
    await alice.upload(collection, ("a.txt", "tea"), ("b.txt", "tea"))
    await limit(alice, **{DOCUMENTS: 1})
    shown = (await alice.http.get("/quotas")).json()["quotas"]
    documents = next(quota for quota in shown if quota["quota_type"] == DOCUMENTS)
    assert documents == {"quota_type": DOCUMENTS, "quota_limit": 1, "current_usage": 2, "remaining": 0}
    assert (await alice.upload(collection, ("c.txt", "tea"))).status_code == FORBIDDEN
    assert (await alice.upload(collection, ("a.txt", "tea"))).status_code == 200


async def test_an_administrator_sees_everybodys_quotas_and_nobody_else_does(
    admin: Person, alice: Person, mallory: Person
) -> None:
    by_id = await admin.http.get("/quotas", params={"user_id": alice.id})
    assert (by_id.json()["user_id"], by_id.json()["role"]) == (alice.id, "rw")
    found = await admin.http.get("/quotas", params={"search": alice.id})
    assert [item["user_id"] for item in found.json()["items"]] == [alice.id]
    for nobody in ({"search": alice.id[:-1]}, {"user_id": "user0123"}):
        assert (await admin.http.get("/quotas", params=nobody)).json()["error_code"] == "RESOURCE_NOT_FOUND"
    for unfilled in ({"search": ""}, {"user_id": ""}, {"search": "", "user_id": ""}):
        for person in (admin, alice):
            assert (await person.http.get("/quotas", params=unfilled)).json()["user_id"] == person.id, unfilled
    for asked in ({"user_id": alice.id}, {"search": alice.id}, {"search": mallory.id}):
        assert (await mallory.http.get("/quotas", params=asked)).status_code == FORBIDDEN
    assert (await mallory.http.get("/quotas", params={"user_id": mallory.id})).status_code == 200


async def test_recalculation_answers_what_is_counted(admin: Person, alice: Person) -> None:
    collection = await alice.collection()
    await alice.upload(collection, ("a.txt", "tea"), ("b.txt", "tea"))
    answer = await admin.http.post(f"/quotas/{alice.id}/recalculate")
    assert answer.json()["success"] is True
    assert answer.json()["updated_usage"] == {COLLECTIONS: 1, DOCUMENTS: 2, HERE: 2, "max_bot_count": 0}
    assert (await admin.http.post("/quotas/user0123/recalculate")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/quotas/{alice}", {}, 400),
        ("/quotas/{alice}", {DOCUMENTS: -1}, 422),
        ("/quotas/{alice}", {DOCUMENTS: 1.5}, 422),
        ("/quotas/{alice}", {DOCUMENTS: 10**13}, 422),
        ("/quotas/{alice}", {"max_chats": 1}, 422),
        ("/quotas/user0123", {DOCUMENTS: 1}, 404),
        ("/system/default-quotas", {"quotas": {}}, 400),
        ("/system/default-quotas", {"quotas": {DOCUMENTS: None}}, 400),
        ("/system/default-quotas", {DOCUMENTS: 1}, 422),
    ],
)
async def test_limits_that_are_none_are_refused(
    admin: Person, alice: Person, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await admin.http.put(path.format(alice=alice.id), json=body)
    assert answer.status_code == status, answer.text


async def test_nobody_but_an_administrator_changes_limits(alice: Person) -> None:
    asked = [
        await alice.http.put(f"/quotas/{alice.id}", json={DOCUMENTS: 10_000}),
        await alice.http.post(f"/quotas/{alice.id}/recalculate"),
        await alice.http.get("/system/default-quotas"),
        await alice.http.put("/system/default-quotas", json={"quotas": {DOCUMENTS: 10_000}}),
    ]
    assert [answer.status_code for answer in asked] == [FORBIDDEN] * 4
