"""Searches over HTTP (contract 1.5), and reading what one has just written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aperag_api.knowledge.searches import repository
from aperag_api.knowledge.searches import service as searching

if TYPE_CHECKING:
    import httpx

    from aperag_api.edge.gateway import Gateway

Person = Any
Indexer = Any

TEA = "Green tea is steamed soon after it was picked."
FULLTEXT = {"fulltext_search": {"topk": 5}}


async def search(person: Person, collection: str, query: str = "steamed tea", **body: Any) -> httpx.Response:
    answer: httpx.Response = await person.http.post(
        f"/collections/{collection}/searches", json={"query": query, **(body or FULLTEXT)}
    )
    return answer


async def indexed(person: Person, indexer: Indexer, collection: str, name: str, content: str) -> str:
    document = str((await person.uploaded(collection, name, content))["id"])
    await indexer.settle(document, content)
    return document


async def test_hits_have_the_contracts_shape_and_are_kept_by_default(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await indexed(alice, indexer, collection, "tea.txt", TEA)
    await indexed(alice, indexer, collection, "tides.txt", "Tides follow the moon.")
    answer = await search(alice, collection)
    body = answer.json()
    (item,) = body["items"]
    assert '"score":0,' not in answer.text
    assert (item["rank"], item["content"], item["source"]) == (1, TEA, "tea.txt")
    assert isinstance(item["score"], float)
    assert item["recall_type"] == "fulltext_search"
    assert item["metadata"]["document_id"] == document
    assert item["metadata"]["titles"] == ["Tea"]
    [leg] = item["legs"]
    assert (leg["leg"], leg["rank"], leg["weight"], leg["share"]) == ("fulltext_search", 1, 1.0, item["score"])
    assert (body["query"], body["fulltext_search"]["topk"], body["vector_search"]) == ("steamed tea", 5, None)
    assert (body["errors"], body["not_searchable"]) == ({}, [])
    listed = (await alice.http.get(f"/collections/{collection}/searches")).json()["items"]
    assert [(saved["id"], saved["created"], saved["items"]) for saved in listed] == [
        (body["id"], body["created"], body["items"])
    ]


async def test_both_legs_together_find_by_meaning_and_by_word(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    await indexed(alice, indexer, collection, "tea.txt", TEA)
    legs = {"vector_search": {"topk": 3, "similarity": 0.2}, "fulltext_search": {"topk": 3}}
    body = (await search(alice, collection, **legs)).json()
    assert [item["content"] for item in body["items"]] == [TEA]
    assert body["errors"] == {}
    [item] = body["items"]
    assert [leg["leg"] for leg in item["legs"]] == ["vector_search", "fulltext_search"]
    assert item["legs"][1]["rank"] == 1
    assert sum(leg["weight"] for leg in item["legs"]) == pytest.approx(1)
    assert sum(leg["share"] for leg in item["legs"]) == pytest.approx(item["score"])


async def test_a_search_can_be_left_out_of_the_history_and_deleted_from_it(alice: Person, mallory: Person) -> None:
    collection = await alice.collection()
    unsaved = (await search(alice, collection, save_to_history=False, **FULLTEXT)).json()
    assert (unsaved["id"], unsaved["created"]) == (None, None)
    saved = (await search(alice, collection)).json()["id"]
    path = f"/collections/{collection}/searches"
    assert (await mallory.http.delete(f"{path}/{saved}")).json() is None
    assert (await alice.http.delete(f"{path}/{saved}")).json() is True
    assert (await alice.http.delete(f"{path}/{saved}")).json() is None
    assert (await alice.http.get(path)).json() == {"items": []}


async def test_the_history_is_bounded_in_searches_and_in_bytes(
    alice: Person, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "HISTORY", 3)
    monkeypatch.setattr(repository, "MOST_LISTED", 1500)
    collection = await alice.collection()
    await indexed(alice, indexer, collection, "tea.txt", TEA)
    made = [(await search(alice, collection, f"steamed tea {number}")).json() for number in range(5)]
    kept = (await alice.http.get(f"/collections/{collection}/searches")).json()["items"]
    assert [it["id"] for it in kept] == [it["id"] for it in made[:1:-1]]
    assert kept[0]["items"] == made[-1]["items"]
    monkeypatch.setattr(repository, "MOST_LISTED", 1)
    listed = (await alice.http.get(f"/collections/{collection}/searches")).json()["items"]
    assert [(it["id"], it["items"]) for it in listed] == [(it["id"], []) for it in kept]
    monkeypatch.setattr(searching, "MOST_REMEMBERED", 1)
    answer = (await search(alice, collection, "tea")).json()
    assert answer["items"], "the answer itself is whole"
    monkeypatch.setattr(repository, "MOST_LISTED", 10_000)
    assert (await alice.http.get(f"/collections/{collection}/searches")).json()["items"][0]["items"] == []


async def test_a_query_is_measured_as_it_is_searched(alice: Person) -> None:
    """The attack: a character that stands for eighteen."""
    collection = await alice.collection()
    assert (await search(alice, collection, "\ufdfa" * 9_000)).status_code == 422
    assert (await search(alice, collection, "tea", fulltext_search={"keywords": ["\ufdfa" * 999]})).status_code == 422
    assert (await search(alice, collection, "\ufdfa" * 500)).status_code == 200


async def test_indexes_without_a_worker_are_named_and_disabled_ones_find_nothing(
    alice: Person, indexer: Indexer
) -> None:
    collection = await alice.collection(enable_fulltext=False)
    await indexed(alice, indexer, collection, "tea.txt", TEA)
    legs = {name: {"topk": 3} for name in ("fulltext_search", "graph_search", "summary_search", "vision_search")}
    answer = await search(alice, collection, **legs)
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    assert set(answer.json()["errors"]) == {"graph_search", "summary_search", "vision_search"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": ""}, 422),
        ({"query": "   "}, 400),
        ({"query": "q", "vector_search": {"topk": 0}}, 422),
        ({"query": "q", "vector_search": {"similarity": 1.5}}, 422),
        ({"query": "q", "wait_for": ["doc1"], "wait_ms": 10_001}, 422),
    ],
)
async def test_a_search_outside_the_contract_is_refused(alice: Person, body: dict[str, Any], status: int) -> None:
    collection = await alice.collection()
    assert (await alice.http.post(f"/collections/{collection}/searches", json=body)).status_code == status


@pytest.mark.parametrize("awaited", ["id", "task_id"])
async def test_a_search_waits_for_what_was_just_uploaded(alice: Person, indexer: Indexer, awaited: str) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "tea.txt", TEA)
    waiting = asyncio.create_task(search(alice, collection, wait_for=[document[awaited]], wait_ms=10_000, **FULLTEXT))
    await indexer.settle(document["id"], TEA, kinds=("parse",))
    assert not waiting.done()
    await indexer.settle(document["id"], TEA, kinds=("fulltext",))
    body = (await asyncio.wait_for(waiting, 5)).json()
    assert [item["content"] for item in body["items"]] == [TEA]
    assert body["not_searchable"] == []


async def test_a_search_waits_without_events_too(alice: Person, indexer: Indexer, gateway: Gateway) -> None:
    await gateway.operations.feed.close()
    collection = await alice.collection()
    document = await alice.uploaded(collection, "tea.txt", TEA)
    waiting = asyncio.create_task(search(alice, collection, wait_for=[document["id"]], wait_ms=10_000, **FULLTEXT))
    await indexer.settle(document["id"], TEA)
    assert (await asyncio.wait_for(waiting, 5)).json()["not_searchable"] == []


async def test_a_search_names_what_it_waited_for_in_vain(alice: Person, mallory: Person, indexer: Indexer) -> None:
    collection, theirs = await alice.collection(), await mallory.collection()
    ready = await indexed(alice, indexer, collection, "tea.txt", TEA)
    broken = (await alice.uploaded(collection, "broken.txt", "x"))["id"]
    await indexer.fail(broken)
    waiting = (await alice.uploaded(collection, "slow.txt", "y"))["id"]
    foreign = (await mallory.uploaded(theirs, "m.txt", "z"))["id"]
    awaited = [ready, broken, waiting, foreign, "docunknown"]
    body = (await search(alice, collection, wait_for=awaited, wait_ms=50, **FULLTEXT)).json()
    assert body["not_searchable"] == [broken, waiting, foreign, "docunknown"]
    assert [item["content"] for item in body["items"]] == [TEA]


async def test_a_leg_that_nobody_asked_for_is_not_waited_for(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = (await alice.uploaded(collection, "tea.txt", TEA))["id"]
    await indexer.settle(document, TEA, kinds=("parse", "fulltext"))
    async with asyncio.timeout(5):
        body = (await search(alice, collection, wait_for=[document], wait_ms=10_000, **FULLTEXT)).json()
    assert body["not_searchable"] == []


async def test_a_deleted_document_is_found_no_more(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await indexed(alice, indexer, collection, "tea.txt", TEA)
    await alice.http.delete(f"/collections/{collection}/documents/{document}")
    assert (await search(alice, collection)).json()["items"] == []
