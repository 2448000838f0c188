"""Publishing a collection, and what others may do with it until it is taken back (contract 1.3, 1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_api.knowledge.chat_documents.home import provide_home
from aperag_common.db.models.chunk_vector import USE_MODEL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Person = Any
Victim = Any

SEARCH = {"query": "0123456789", "fulltext_search": {}}


@pytest_asyncio.fixture
async def published(alice: Person, victim: Victim) -> Victim:
    answer = await alice.http.post(f"/collections/{victim.collection}/sharing")
    assert (answer.status_code, answer.content) == (204, b"")
    return victim


@pytest_asyncio.fixture
async def subscribed(mallory: Person, published: Victim) -> Victim:
    """By Mallory."""
    answer = await mallory.http.post(f"/marketplace/collections/{published.collection}/subscribe")
    assert answer.status_code == 200, answer.text
    return published


async def test_the_owner_publishes_and_takes_back_as_often_as_they_like(alice: Person, victim: Victim) -> None:
    path = f"/collections/{victim.collection}/sharing"
    assert (await alice.http.get(path)).json() == {"is_published": False, "published_at": None}
    assert (await alice.http.delete(path)).status_code == 204
    await alice.http.post(path)
    first = (await alice.http.get(path)).json()
    assert first["is_published"]
    assert (await alice.http.post(path)).status_code == 204
    assert (await alice.http.get(path)).json() == first, "what is published already keeps its date"
    listed = {it["id"]: it for it in (await alice.http.get("/collections")).json()["items"]}
    for shown in (listed[victim.collection],
                  (await alice.http.get(f"/collections/{victim.collection}")).json()):  # fmt: skip
        assert (shown["is_published"], shown["published_at"]) == (True, first["published_at"])
    assert (await alice.http.delete(path)).status_code == 204
    assert (await alice.http.get(path)).json()["is_published"] is False


async def test_a_change_says_that_the_collection_is_still_published(alice: Person, published: Victim) -> None:
    answer = await alice.http.put(f"/collections/{published.collection}", json={"title": "renamed"})
    assert (answer.json()["title"], answer.json()["is_published"]) == ("renamed", True)


async def test_only_the_owner_publishes(mallory: Person, victim: Victim, alice: Person) -> None:
    path = f"/collections/{victim.collection}/sharing"
    for method in ("GET", "POST", "DELETE"):
        assert (await mallory.http.request(method, path)).status_code == 404
    await alice.http.post(path)
    for method in ("GET", "POST", "DELETE"):
        assert (await mallory.http.request(method, path)).status_code == 403
    assert (await alice.http.get(path)).json()["is_published"]


async def test_documents_of_chats_stay_private(alice: Person, engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        chats = await provide_home(conn, alice.id, model=USE_MODEL)
    answer = await alice.http.post(f"/collections/{chats}/sharing")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER")


async def test_a_subscriber_reads_by_the_owners_own_routes(mallory: Person, subscribed: Victim) -> None:
    [listed] = (await mallory.http.get(f"{subscribed.documents}")).json()["items"]
    assert listed["id"] == subscribed.document
    path = f"{subscribed.documents}/{subscribed.document}"
    assert (await mallory.http.get(path)).json()["name"] == "original.txt"
    assert (await mallory.http.get(f"{path}/download")).text == "0123456789"
    assert (await mallory.http.get(f"{path}/object", params={"path": "original.txt"})).text == "0123456789"
    assert (await mallory.http.get(f"{path}/preview")).json()["chunks"][0]["text"] == "0123456789"


async def test_a_subscriber_sees_no_more_of_the_config_than_what_is_indexed(alice: Person, mallory: Person) -> None:
    secret = {"completion": {"model": "secret model"}, "language": "ko-KR", "enable_vector": False}
    collection = await alice.collection(**secret)
    await alice.http.post(f"/collections/{collection}/sharing")
    await mallory.http.post(f"/marketplace/collections/{collection}/subscribe")
    shown = await mallory.http.get(f"/collections/{collection}")
    assert (shown.json()["config"]["enable_vector"], "secret model" in shown.text) == (False, False)
    assert shown.json()["config"]["language"] == "zh-CN"
    assert "secret model" in (await alice.http.get(f"/collections/{collection}")).text


async def test_documents_that_wait_for_their_confirmation_are_not_shared(
    alice: Person, mallory: Person, subscribed: Victim
) -> None:
    files = {"file": ("later.txt", b"not yet")}
    staged = (await alice.http.post(f"{subscribed.documents}/upload", files=files)).json()["document_id"]
    assert (await alice.http.get(f"{subscribed.documents}/{staged}")).status_code == 200
    assert (await mallory.http.get(f"{subscribed.documents}/{staged}")).status_code == 404
    assert (await mallory.http.get(f"{subscribed.documents}/{staged}/download")).status_code == 404
    visited = f"/marketplace{subscribed.documents}/{staged}"
    assert (await mallory.http.get(f"{visited}/object", params={"path": "original.txt"})).status_code == 404
    assert (await mallory.http.get(f"/marketplace{subscribed.documents}")).json()["total"] == 1


async def test_a_subscriber_is_told_that_they_may_not_change_anything(
    mallory: Person, subscribed: Victim, alice: Person
) -> None:
    document = f"{subscribed.documents}/{subscribed.document}"
    for method, path, request in (
        ("PUT", f"/collections/{subscribed.collection}", {"json": {"title": "mine"}}),
        ("DELETE", f"/collections/{subscribed.collection}", {}),
        ("POST", subscribed.documents, {"files": [("files", ("b.txt", b"b"))]}),
        ("DELETE", document, {}),
        ("POST", f"{document}/rebuild_indexes", {"json": {"index_types": ["VECTOR"]}}),
    ):
        answer = await mallory.http.request(method, path, **request)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "FORBIDDEN"), path
        assert "published" in answer.json()["message"]
    assert (await alice.http.get(f"/collections/{subscribed.collection}")).json()["title"] == "Tea"
    assert (await alice.http.get(subscribed.documents)).json()["total"] == 1


async def test_everybody_with_a_login_searches_what_is_published_and_keeps_their_own_history(
    alice: Person, mallory: Person, published: Victim
) -> None:
    path = f"/collections/{published.collection}/searches"
    before = {it["id"] for it in (await alice.http.get(path)).json()["items"]}
    found = (await mallory.http.post(path, json=SEARCH)).json()
    assert [it["metadata"]["document_id"] for it in found["items"]] == [published.document]
    assert [it["id"] for it in (await mallory.http.get(path)).json()["items"]] == [found["id"]]
    assert {it["id"] for it in (await alice.http.get(path)).json()["items"]} == before
    assert (await alice.http.delete(f"{path}/{found['id']}")).json() is None, "it is not the owner's to delete"
    assert (await mallory.http.delete(f"{path}/{found['id']}")).json() is True


async def test_a_search_in_a_published_collection_waits_for_its_documents(mallory: Person, subscribed: Victim) -> None:
    body = {**SEARCH, "wait_for": [subscribed.document], "save_to_history": False}
    found = (await mallory.http.post(f"/collections/{subscribed.collection}/searches", json=body)).json()
    assert (found["not_searchable"], len(found["items"])) == ([], 1)


READS = (
    "/collections/{c}",
    "/collections/{c}/documents",
    "/collections/{c}/documents/{d}",
    "/collections/{c}/documents/{d}/preview",
    "/collections/{c}/documents/{d}/download",
    "/collections/{c}/searches",
    "/marketplace/collections/{c}",
    "/marketplace/collections/{c}/documents",
    "/marketplace/collections/{c}/documents/{d}/preview",
    "/marketplace/collections/{c}/documents/{d}/object?path=original.txt",
)


@pytest.mark.parametrize("end", ["unpublish", "delete", "delete the owner"])
async def test_access_ends_at_once(
    alice: Person, mallory: Person, subscribed: Victim, engine: AsyncEngine, end: str
) -> None:
    urls = [path.format(c=subscribed.collection, d=subscribed.document) for path in READS]
    assert {(await mallory.http.get(url)).status_code for url in urls} == {200}
    if end == "unpublish":
        assert (await alice.http.delete(f"/collections/{subscribed.collection}/sharing")).status_code == 204
    elif end == "delete":
        assert (await alice.http.delete(f"/collections/{subscribed.collection}")).status_code == 200
    else:
        async with engine.begin() as conn:
            await conn.execute(text("UPDATE users SET is_active = false WHERE id = :id"), {"id": alice.id})
    assert {url: (await mallory.http.get(url)).status_code for url in urls} == dict.fromkeys(urls, 404)
    searched = await mallory.http.post(f"/collections/{subscribed.collection}/searches", json=SEARCH)
    assert searched.status_code == 404
    assert (await mallory.http.get("/collections")).json()["items"] == []
    assert (await mallory.http.get("/marketplace/collections")).json()["total"] == 0
    assert (await mallory.http.get("/marketplace/collections/subscriptions")).json()["total"] == 0


async def test_publishing_again_revives_no_subscription(alice: Person, mallory: Person, subscribed: Victim) -> None:
    path = f"/collections/{subscribed.collection}/sharing"
    await alice.http.delete(path)
    await alice.http.post(path)
    assert (await mallory.http.get(f"/collections/{subscribed.collection}")).status_code == 404
    shown = (await mallory.http.get(f"/marketplace/collections/{subscribed.collection}")).json()
    assert (shown["subscription_id"], shown["subscription_count"]) == (None, 0)


async def test_who_does_not_subscribe_reads_by_the_marketplace_only(mallory: Person, published: Victim) -> None:
    assert (await mallory.http.get(published.documents)).status_code == 404
    assert (await mallory.http.get(f"/marketplace{published.documents}")).status_code == 200
