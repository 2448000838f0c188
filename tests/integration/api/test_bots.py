"""Bots (contract 1.7) and chats (contract 1.8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

Person = Any


async def make(person: Person, **body: Any) -> Any:
    answer = await person.http.post("/bots", json={"title": "Tea", "type": "agent", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_config_comes_back_in_the_form_it_was_posted_in(alice: Person) -> None:
    collection = await alice.collection()
    config = {"agent": {"collections": [{"id": collection}]}, "collection_ids": [collection], "more": [1, 2]}
    spaced = json.dumps(config, indent=3)
    for posted in (config, spaced, ""):
        made = await make(alice, config=posted)
        assert made["config"] == posted
        assert (await alice.http.get(f"/bots/{made['id']}")).json() == made
    assert (await make(alice))["config"] == {}


@pytest.mark.parametrize(
    "config",
    [
        "{nope",
        "[]",
        '"text"',
        {"agent": "text"},
        {"agent": {"collections": [{"title": "no id"}]}},
        {"collection_ids": "col1"},
        {"agent": {"completion": {"temperature": 3}}},
    ],
)
async def test_a_config_that_no_agent_could_read_is_refused(alice: Person, config: Any) -> None:
    answer = await alice.http.post("/bots", json={"title": "Tea", "type": "agent", "config": config})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BOT_CONFIG_INVALID")


async def test_a_bot_names_collections_that_its_owner_may_read(alice: Person, mallory: Person) -> None:
    foreign = await mallory.collection()
    made = await make(alice)
    for config in ({"collection_ids": [foreign]}, {"agent": {"collections": [{"id": "colunknown"}]}}):
        refused = await alice.http.post("/bots", json={"title": "Tea", "type": "agent", "config": config})
        assert (refused.status_code, refused.json()["error_code"]) == (404, "COLLECTION_NOT_FOUND")
        assert (await alice.http.put(f"/bots/{made['id']}", json={"config": config})).status_code == 404


async def test_a_bot_is_changed_in_part_and_keeps_its_type(alice: Person) -> None:
    made = await make(alice, description="before", config={"a": 1})
    path = f"/bots/{made['id']}"
    changed = (await alice.http.put(path, json={"title": "Coffee", "type": "agent"})).json()
    assert (changed["title"], changed["description"], changed["config"]) == ("Coffee", "before", {"a": 1})
    assert (await alice.http.put(path, json={"type": "knowledge"})).status_code == 400
    assert (await alice.http.put(path, json={"config": {}})).json()["config"] == {}


async def test_a_deleted_bot_takes_its_chats_with_it(alice: Person) -> None:
    made = await make(alice)
    chats = f"/bots/{made['id']}/chats"
    chat = (await alice.http.post(chats)).json()
    for _ in range(2):
        assert (await alice.http.delete(f"/bots/{made['id']}")).status_code == 204
    assert (await alice.http.get(f"/bots/{made['id']}")).json()["error_code"] == "BOT_NOT_FOUND"
    assert (await alice.http.get(f"{chats}/{chat['id']}")).status_code == 404
    assert (await alice.http.get(chats)).json()["error_code"] == "BOT_NOT_FOUND"
    assert (await alice.http.post(chats)).status_code == 404


async def test_bots_are_their_owners_alone(alice: Person, mallory: Person) -> None:
    made = await make(alice)
    path = f"/bots/{made['id']}"
    answers = [await mallory.http.get(path), await mallory.http.put(path, json={"title": "Mine"})]
    answers += [await mallory.http.post(f"{path}/chats"), await mallory.http.get(f"{path}/chats")]
    assert {answer.status_code for answer in answers} == {404}
    assert (await mallory.http.delete(path)).status_code == 204
    assert (await alice.http.get(path)).status_code == 200
    assert made["id"] not in [bot["id"] for bot in (await mallory.http.get("/bots")).json()["items"]]


@pytest.mark.parametrize("body", [{}, {"title": None}, {"title": ""}, {"description": None, "config": None}])
async def test_a_bot_needs_no_title(alice: Person, body: dict[str, Any]) -> None:
    made = await alice.http.post("/bots", json=body)
    assert (made.status_code, made.json()["title"], made.json()["description"]) == (200, "New Bot", "")
    kept = await alice.http.put(f"/bots/{made.json()['id']}", json={"title": "", "id": 7, "type": "nonsense"})
    assert (kept.status_code, kept.json()["title"], kept.json()["type"]) == (200, "New Bot", "agent")


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"no JSON", b"\xff", b'{"title": ""}', b'{"title": null}', b'{"title": 7}', b'{"other": 1}',
     b'{"title": "\\u0000"}', b'{"title": "\\ud800"}', b'{"title": "' + b"x" * 300 + b'"}'],
)  # fmt: skip
async def test_a_chat_is_opened_whatever_its_body_says(alice: Person, content: bytes) -> None:
    chats = f"/bots/{(await make(alice))['id']}/chats"
    made = await alice.http.post(chats, content=content, headers={"content-type": "application/json"})
    assert (made.status_code, made.json()["title"]) == (200, "New Chat")


async def test_chats_have_titles_and_pages(alice: Person) -> None:
    chats = f"/bots/{(await make(alice))['id']}/chats"
    made = [(await alice.http.post(chats, json=body)).json() for body in (None, {}, {"title": "Tea time"})]
    assert [chat["title"] for chat in made] == ["New Chat", "New Chat", "Tea time"]
    renamed = (await alice.http.put(f"{chats}/{made[0]['id']}", json={"title": "Renamed"})).json()
    assert (renamed["title"], renamed["peer_type"], renamed["status"]) == ("Renamed", "system", "ACTIVE")
    page = (await alice.http.get(chats, params={"page": 1, "page_size": 2})).json()
    assert [chat["id"] for chat in page["items"]] == [made[2]["id"], made[1]["id"]]
    assert (page["total"], page["total_pages"], page["has_next"]) == (3, 2, True)
    empty = (await alice.http.get(f"{chats}/{made[0]['id']}")).json()
    assert (empty["history"], empty["before"]) == ([], None)
    assert (await alice.http.get(f"{chats}/chatunknown")).json()["error_code"] == "CHAT_NOT_FOUND"
