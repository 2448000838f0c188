"""Collections over HTTP (contract 1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


Person = Any


async def test_a_collection_is_active_at_once_and_carries_the_default_config(alice: Person) -> None:
    answer = await alice.http.post(
        "/collections", json={"title": "Tea", "type": "document", "description": "d", "config": {}}
    )
    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["type"], body["title"], body["description"]) == ("ACTIVE", "document", "Tea", "d")
    assert body["id"].startswith("col")
    assert len(body["id"]) <= 24
    assert body["config"]["enable_knowledge_graph"] is True
    assert body["config"]["language"] == "zh-CN"
    assert (await alice.http.get(f"/collections/{body['id']}")).json() == body


async def test_an_update_replaces_title_description_and_config(alice: Person) -> None:
    collection = await alice.collection(enable_vector=False)
    body = {"title": "Other", "description": "new", "config": {"language": "ko-KR"}}
    changed = (await alice.http.put(f"/collections/{collection}", json=body)).json()
    assert (changed["title"], changed["description"]) == ("Other", "new")
    assert (changed["config"]["enable_vector"], changed["config"]["language"]) == (True, "ko-KR")


async def test_collections_are_listed_latest_change_first_and_in_pages(alice: Person) -> None:
    first, second, third = [await alice.collection() for _ in range(3)]
    await alice.http.put(f"/collections/{first}", json={"title": "Touched", "description": "", "config": {}})
    listed = (await alice.http.get("/collections")).json()
    assert [item["id"] for item in listed["items"]] == [first, third, second]
    assert listed["items"][0]["owner_user_id"] == alice.id
    assert listed["items"][0]["owner_username"] == alice.id
    page = (await alice.http.get("/collections", params={"page": 2, "page_size": 2})).json()
    assert [item["id"] for item in page["items"]] == [second]
    assert page["pageResult"] == {"page_number": 2, "page_size": 2, "count": 3}


async def test_no_list_shows_what_holds_the_files_of_chats(alice: Person) -> None:
    bot = (await alice.http.post("/bots", json={})).json()["id"]
    chat = (await alice.http.post(f"/bots/{bot}/chats")).json()["id"]
    made = await alice.http.post(f"/chats/{chat}/documents", files={"file": ("a.txt", b"tea")})
    assert made.status_code == 200
    for asked in ({}, {"include_subscribed": False}, {"page_size": 1}):
        listed = (await alice.http.get("/collections", params=asked)).json()
        assert (listed["items"], listed["pageResult"]["count"]) == ([], 0)
    collection = await alice.collection()
    assert [it["id"] for it in (await alice.http.get("/collections")).json()["items"]] == [collection]


async def test_a_deleted_collection_is_gone_and_deleting_it_again_is_no_error(alice: Person) -> None:
    collection = await alice.collection()
    for _ in range(2):
        answer = await alice.http.delete(f"/collections/{collection}")
        assert (answer.status_code, answer.json()["status"]) == (200, "DELETED")
    assert (await alice.http.get(f"/collections/{collection}")).status_code == 404
    assert (await alice.http.get("/collections")).json()["items"] == []
    upload = await alice.upload(collection, ("a.txt", "x"))
    assert (upload.status_code, upload.json()["error_code"]) == (404, "COLLECTION_NOT_FOUND")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "CHAT"}, "INVALID_PARAMETER"),
        ({"config": {"source": "s3"}}, "INVALID_SOURCE_CONFIG"),
        ({"config": {"source": "nowhere"}}, "INVALID_SOURCE_CONFIG"),
        ({"title": "nul\0"}, "VALIDATION_ERROR"),
        ({"config": {"index_prompts": {"graph": "\0"}}}, "VALIDATION_ERROR"),
    ],
)
async def test_what_cannot_be_made_is_refused_with_the_contracts_body(
    alice: Person, change: dict[str, Any], code: str
) -> None:
    body = {"title": "Tea", "type": "document", "description": "", "config": {}, **change}
    answer = await alice.http.post("/collections", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, code)
    assert answer.json()["path"] == "/api/v1/collections"
    assert answer.json()["success"] is False


async def test_another_owners_collection_does_not_exist(alice: Person, mallory: Person) -> None:
    collection = await alice.collection()
    path = f"/collections/{collection}"
    body = {"title": "Mine", "description": "", "config": {}}
    answers = [
        await mallory.http.get(path),
        await mallory.http.put(path, json=body),
        await mallory.http.delete(path),
        await mallory.http.get(f"{path}/documents"),
        await mallory.upload(collection, ("a.txt", "x")),
        await mallory.http.post(f"{path}/searches", json={"query": "q"}),
        await mallory.http.get(f"{path}/searches"),
        await mallory.http.post(f"{path}/rebuild_failed_indexes"),
        await mallory.http.post(f"{path}/documents/confirm", json={"document_ids": ["doc1"]}),
        await mallory.http.request("DELETE", f"{path}/documents", json=["doc1"]),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert (await alice.http.get(path)).json()["title"] == "Tea"
    assert (await mallory.http.get("/collections")).json()["items"] == []


async def test_a_reader_may_search_and_read_but_not_write(
    make_person: Callable[..., Awaitable[Person]],
) -> None:
    reader = await make_person("ro")
    body = {"title": "Tea", "type": "document", "description": "", "config": {}}
    refused = [
        await reader.http.post("/collections", json=body),
        await reader.http.put("/collections/col1", json=body),
        await reader.http.delete("/collections/col1"),
        await reader.upload("col1", ("a.txt", "x")),
        await reader.http.post("/apikeys", json={}),
        await reader.http.post("/tasks/wf1/cancel"),
    ]
    assert {answer.status_code for answer in refused} == {403}
    assert {answer.json()["error_code"] for answer in refused} == {"FORBIDDEN"}
    assert (await reader.http.get("/collections")).status_code == 200
    assert (await reader.http.post("/collections/col1/searches", json={"query": "q"})).status_code == 404
