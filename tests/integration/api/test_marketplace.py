"""Published collections: found by everybody, subscribed to by users (contract 1.14)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest_asyncio
from sqlalchemy import text

from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx
    from sqlalchemy.ext.asyncio import AsyncEngine

Person = Any
Victim = Any

MARKET = "/marketplace/collections"
WAITING = text(
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest_asyncio.fixture
async def stranger(make_visitor: Callable[..., Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    return await make_visitor()


@pytest_asyncio.fixture
async def published(alice: Person, victim: Victim) -> Victim:
    assert (await alice.http.post(f"/collections/{victim.collection}/sharing")).status_code == 204
    return victim


async def test_whoever_passes_by_sees_what_is_published_and_nothing_else(
    alice: Person, stranger: httpx.AsyncClient, published: Victim
) -> None:
    private = await alice.collection(enable_vector=False)
    [shown] = (await stranger.get(MARKET)).json()["items"]
    assert shown == {
        "id": published.collection,
        "title": "Tea",
        "description": "",
        "owner_user_id": alice.id,
        "owner_username": alice.id,
        "subscription_id": None,
        "gmt_subscribed": None,
        "subscription_count": 0,
        "config": {
            "enable_vector": True,
            "enable_fulltext": True,
            "enable_knowledge_graph": True,
            "enable_summary": False,
            "enable_vision": False,
        },
    }
    assert (await stranger.get(f"{MARKET}/{published.collection}")).json() == shown
    assert (await stranger.get(f"{MARKET}/{private}")).status_code == 404
    assert (await stranger.get(f"{MARKET}/{private}/documents")).status_code == 404


async def test_whoever_passes_by_looks_into_a_published_collection(
    stranger: httpx.AsyncClient, published: Victim, alice: Person
) -> None:
    documents = f"{MARKET}/{published.collection}/documents"
    [listed] = (await stranger.get(documents, params={"search": "orig"})).json()["items"]
    assert listed["id"] == published.document
    preview = (await stranger.get(f"{documents}/{published.document}/preview")).json()
    assert [chunk["text"] for chunk in preview["chunks"]] == ["0123456789"]
    ranged = {"params": {"path": preview["doc_object_path"]}, "headers": {"Range": "bytes=2-4"}}
    part = await stranger.get(f"{documents}/{published.document}/object", **ranged)
    assert (part.status_code, part.text) == (206, "234")
    private = await alice.collection()
    hidden = await alice.uploaded(private, "hidden.txt", "secret")
    for collection in (private, published.collection):
        path = f"{MARKET}/{collection}/documents/{hidden['id']}"
        assert (await stranger.get(f"{path}/preview")).status_code == 404
        assert (await stranger.get(f"{path}/object", params={"path": "original.txt"})).status_code == 404


async def test_the_newest_come_first_page_by_page(alice: Person, stranger: httpx.AsyncClient) -> None:
    made = [await alice.collection() for _ in range(5)]
    for collection in made:
        await alice.http.post(f"/collections/{collection}/sharing")
    pages = [(await stranger.get(MARKET, params={"page": page, "page_size": 2})).json() for page in (1, 2, 3, 4)]
    assert [item["id"] for page in pages for item in page["items"]] == made[::-1]
    assert {(page["total"], page["page_size"]) for page in pages} == {(5, 2)}
    assert [page["page"] for page in pages] == [1, 2, 3, 4]


async def test_a_subscription_is_made_once_and_ended_as_often_as_one_likes(
    alice: Person, mallory: Person, published: Victim
) -> None:
    path = f"{MARKET}/{published.collection}/subscribe"
    made = (await mallory.http.post(path)).json()
    assert made["subscription_id"].startswith("sub_")
    assert (made["gmt_subscribed"] is not None, made["subscription_count"]) == (True, 1)
    again = await mallory.http.post(path)
    assert (again.status_code, again.json()["error_code"]) == (409, "CONFLICT")
    [listed] = (await mallory.http.get("/collections")).json()["items"]
    assert (listed["id"], listed["subscription_id"]) == (published.collection, made["subscription_id"])
    assert (listed["owner_username"], listed["is_published"]) == (alice.id, True)
    assert listed["subscribed_at"] == made["gmt_subscribed"]
    own = (await mallory.http.get("/collections", params={"include_subscribed": False})).json()
    assert (own["items"], own["pageResult"]["count"]) == ([], 0)
    [subscribed] = (await mallory.http.get(f"{MARKET}/subscriptions")).json()["items"]
    assert subscribed == made
    for _ in range(2):
        ended = await mallory.http.delete(path)
        assert (ended.status_code, list(ended.json())) == (200, ["message"])
    assert (await mallory.http.get("/collections")).json()["items"] == []
    assert (await mallory.http.get(f"{MARKET}/subscriptions")).json()["total"] == 0
    assert (await mallory.http.post(path)).json()["subscription_id"] != made["subscription_id"]


async def test_nobody_subscribes_to_their_own_or_to_what_is_private(
    alice: Person, mallory: Person, published: Victim
) -> None:
    private = await alice.collection()
    for person, collection in ((alice, published.collection), (mallory, private), (mallory, "col0123456789abcdef")):
        answer = await person.http.post(f"{MARKET}/{collection}/subscribe")
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")
    own = (await alice.http.get("/collections")).json()["items"]
    assert {item["subscription_id"] for item in own} == {None}
    assert (await mallory.http.get("/collections")).json()["items"] == []
    unknown = (await mallory.http.post(f"{MARKET}/col0123456789abcdef/subscribe")).json()["message"]
    hidden = (await mallory.http.post(f"{MARKET}/{private}/subscribe")).json()["message"]
    assert hidden == unknown.replace("col0123456789abcdef", private), "what is private is not told from what is not"


async def test_of_many_subscriptions_at_once_one_is_made(mallory: Person, published: Victim) -> None:
    path = f"{MARKET}/{published.collection}/subscribe"
    answers = await asyncio.gather(*(mallory.http.post(path) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert (await mallory.http.get(f"{MARKET}/{published.collection}")).json()["subscription_count"] == 1


async def test_a_subscription_waits_for_an_unpublish_that_is_under_way(
    mallory: Person, published: Victim, engine: AsyncEngine
) -> None:
    async def waits() -> bool:
        async with engine.connect() as other:
            return bool((await other.execute(WAITING)).scalar_one())

    async with engine.begin() as conn:
        await conn.execute(
            text("DELETE FROM collection_sharing WHERE collection_id = :id"), {"id": published.collection}
        )
        asked = asyncio.create_task(mallory.http.post(f"{MARKET}/{published.collection}/subscribe"))
        await until(waits)
    answer = await asked
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")
    assert (await mallory.http.get("/collections")).json()["items"] == []


async def test_own_and_subscribed_collections_share_the_pages_newest_change_first(
    alice: Person, mallory: Person
) -> None:
    mine = [await mallory.collection() for _ in range(2)]
    theirs = [await alice.collection() for _ in range(2)]
    for collection in theirs:
        await alice.http.post(f"/collections/{collection}/sharing")
        await mallory.http.post(f"{MARKET}/{collection}/subscribe")
    await mallory.http.put(f"/collections/{mine[0]}", json={"title": "changed"})
    listed = []
    for page in (1, 2):
        answer = (await mallory.http.get("/collections", params={"page": page, "page_size": 3})).json()
        assert answer["pageResult"] == {"page_number": page, "page_size": 3, "count": 4}
        listed += [item["id"] for item in answer["items"]]
    assert listed == [mine[0], theirs[1], theirs[0], mine[1]]
