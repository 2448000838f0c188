"""Documents that are there, over HTTP (contract 1.4)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

if TYPE_CHECKING:
    from aperag_api.edge.settings import Settings

Person = Any
Indexer = Any


async def test_statuses_follow_the_steps(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/collections/{collection}/documents/{document['id']}"
    await indexer.settle(document["id"], "tea", kinds=("parse", "vector"))
    half = (await alice.http.get(path)).json()
    assert (half["status"], half["vector_index_status"]) == ("RUNNING", "ACTIVE")
    assert half["fulltext_index_status"] == "PENDING"
    assert half["vector_index_updated"]
    await indexer.settle(document["id"], "tea")
    whole = (await alice.http.get(path)).json()
    assert (whole["status"], whole["fulltext_index_status"]) == ("COMPLETE", "ACTIVE")


async def test_a_document_says_what_could_not_be_read(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/collections/{collection}/documents/{document['id']}"
    assert (await alice.http.get(path)).json()["warnings"] == []
    await indexer.settle(document["id"], "tea")
    warning = {"kind": "not_recognised", "place": "page 2", "message": "a scan"}
    await indexer.warn(document["id"], warning)
    assert (await alice.http.get(path)).json()["warnings"] == [warning]
    listed = (await alice.http.get(f"/collections/{collection}/documents")).json()["items"]
    assert [item["warnings"] for item in listed] == [[warning]]


async def test_a_name_is_found_however_its_letters_are_composed(alice: Person) -> None:
    collection = await alice.collection()
    await alice.uploaded(collection, "연차규정.txt", "x")
    for written in ("연차규정", unicodedata.normalize("NFD", "연차규정")):
        answer = await alice.http.get(f"/collections/{collection}/documents", params={"search": written})
        assert [item["name"] for item in answer.json()["items"]] == ["연차규정.txt"]


async def test_lists_are_paged_sorted_and_searched(alice: Person) -> None:
    collection = await alice.collection()
    for number, name in enumerate(["b.txt", "a_1.txt", "ab1.txt", "100%.txt"]):
        await alice.uploaded(collection, name, "x" * (number + 1))
    path = f"/collections/{collection}/documents"

    async def names(**params: object) -> list[str]:
        answer = await alice.http.get(path, params=params)
        return [item["name"] for item in answer.json()["items"]]

    assert await names() == ["100%.txt", "ab1.txt", "a_1.txt", "b.txt"]
    assert await names(sort_by="name", sort_order="asc") == ["100%.txt", "a_1.txt", "ab1.txt", "b.txt"]
    assert await names(sort_by="size", sort_order="desc", page_size=2) == ["100%.txt", "ab1.txt"]
    assert await names(search="A_1") == ["a_1.txt"]
    assert await names(search="%") == ["100%.txt"]
    assert await names(search="\\") == []
    second = (await alice.http.get(path, params={"page": 2, "page_size": 3})).json()
    assert {key: second[key] for key in ("total", "page", "page_size", "total_pages", "has_next", "has_prev")} == {
        "total": 4,
        "page": 2,
        "page_size": 3,
        "total_pages": 2,
        "has_next": False,
        "has_prev": True,
    }
    assert second["counts"] == {"PENDING": 4, "RUNNING": 0, "COMPLETE": 0, "FAILED": 0}
    empty = (await alice.http.get(path, params={"search": "nothing"})).json()
    assert (empty["total"], empty["total_pages"], empty["items"]) == (0, 1, [])


@pytest.mark.parametrize(
    "params", [{"page": 0}, {"page_size": 101}, {"page_size": 0}, {"sort_by": "owner"}, {"sort_order": "up"}]
)
async def test_a_page_outside_the_contract_is_a_validation_error(alice: Person, params: dict[str, Any]) -> None:
    collection = await alice.collection()
    assert (await alice.http.get(f"/collections/{collection}/documents", params=params)).status_code == 422


async def test_a_deleted_document_is_gone_at_once_and_deleting_again_is_no_error(alice: Person) -> None:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/collections/{collection}/documents/{document['id']}"
    for _ in range(2):
        answer = await alice.http.delete(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "DELETED")
    for below in ("", "/preview", "/download", "/object?path=parsed.md", "/events"):
        assert (await alice.http.get(path + below)).status_code == 404
    assert (await alice.http.delete(f"{path}x")).status_code == 404
    reused = await alice.upload(collection, ("a.txt", "other bytes, same name"))
    assert reused.status_code == 200


async def test_many_are_deleted_at_once_and_unknown_ids_are_named_too(alice: Person, mallory: Person) -> None:
    collection, theirs = await alice.collection(), await mallory.collection()
    mine = [(await alice.uploaded(collection, f"{n}.txt", "x"))["id"] for n in range(3)]
    other = (await mallory.uploaded(theirs, "m.txt", "x"))["id"]
    ids = [*mine[:2], "docunknown", other]
    answer = await alice.http.request("DELETE", f"/collections/{collection}/documents", json=ids)
    assert answer.json() == {"deleted_ids": ids, "status": "success"}
    left = (await alice.http.get(f"/collections/{collection}/documents")).json()
    assert [item["id"] for item in left["items"]] == mine[2:]
    assert (await mallory.http.get(f"/collections/{theirs}/documents/{other}")).status_code == 200


async def test_another_owners_document_does_not_exist(alice: Person, mallory: Person) -> None:
    collection, theirs = await alice.collection(), await mallory.collection()
    document = (await alice.uploaded(collection, "a.txt", "secret"))["id"]
    for owner in (collection, theirs):
        path = f"/collections/{owner}/documents/{document}"
        answers = [await mallory.http.get(path + below) for below in ("", "/preview", "/download", "/events")]
        answers.append(await mallory.http.get(f"{path}/object", params={"path": "original.txt"}))
        answers.append(await mallory.http.delete(path))
        answers.append(await mallory.http.post(f"{path}/rebuild_indexes", json={"index_types": ["VECTOR"]}))
        assert {answer.status_code for answer in answers} == {404}
    assert (await alice.http.get(f"/collections/{collection}/documents/{document}")).status_code == 200


async def test_a_rebuild_names_every_type_and_raises_what_has_a_worker(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection(enable_vector=False)
    document = (await alice.uploaded(collection, "a.txt", "tea"))["id"]
    await indexer.settle(document, "tea")
    path = f"/collections/{collection}/documents/{document}"
    types = {"index_types": ["VECTOR", "FULLTEXT", "GRAPH"]}
    answer = (await alice.http.post(f"{path}/rebuild_indexes", json=types)).json()
    assert answer["code"] == "200"
    assert all(name in answer["message"] for name in types["index_types"])
    state = (await alice.http.get(path)).json()
    assert [state[f"{kind}_index_status"] for kind in ("vector", "fulltext", "graph")] == [
        "SKIPPED",
        "PENDING",
        "SKIPPED",
    ]
    nothing = (await alice.http.post(f"{path}/rebuild_indexes", json={"index_types": ["GRAPH"]})).json()
    assert (nothing["code"], nothing["task_id"]) == ("200", None)


@pytest.mark.parametrize(
    ("types", "status"),
    [(["VECTOR", "VECTOR"], 400), ([], 422), (["vector"], 422), (["OTHER"], 422), (None, 422)],
)
async def test_a_rebuild_of_no_proper_types_is_refused(alice: Person, types: object, status: int) -> None:
    collection = await alice.collection()
    document = (await alice.uploaded(collection, "a.txt", "tea"))["id"]
    path = f"/collections/{collection}/documents/{document}/rebuild_indexes"
    assert (await alice.http.post(path, json={"index_types": types})).status_code == status


async def test_failed_documents_are_rebuilt_and_counted(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    documents = [(await alice.uploaded(collection, f"{n}.txt", "tea"))["id"] for n in range(3)]
    for document in documents[:2]:
        await indexer.fail(document)
    answer = (await alice.http.post(f"/collections/{collection}/rebuild_failed_indexes")).json()
    assert (answer["code"], answer["affected_documents"]) == ("200", 2)
    states = (await alice.http.get(f"/collections/{collection}/documents")).json()["items"]
    assert {state["fulltext_index_status"] for state in states} == {"PENDING"}
    again = (await alice.http.post(f"/collections/{collection}/rebuild_failed_indexes")).json()
    assert again["affected_documents"] == 0


async def test_a_document_says_why_it_failed_and_which_task_to_look_at(alice: Person, indexer: Indexer) -> None:
    collection = await alice.collection()
    accepted = await alice.uploaded(collection, "a.txt", "tea")
    path = f"/collections/{collection}/documents/{accepted['id']}"
    fresh = (await alice.http.get(path)).json()
    assert (fresh["task_id"], fresh["error_code"], fresh["error_message"]) == (accepted["task_id"], None, None)
    await indexer.fail(accepted["id"])
    failed = (await alice.http.get(path)).json()
    assert failed["error_code"] == "BROKEN"
    assert failed["error_message"] == "it cannot be read"
    [listed] = (await alice.http.get(path.rpartition("/")[0])).json()["items"]
    assert (listed["error_code"], listed["task_id"]) == ("BROKEN", accepted["task_id"])


async def test_downloads_are_whole_or_ranges_and_safe_to_open(alice: Person) -> None:
    collection = await alice.collection()
    name = '차 "🍵".html'
    content = b"<script>0123456789</script>"
    document = (await alice.uploaded(collection, name, content))["id"]
    path = f"/collections/{collection}/documents/{document}/download"
    whole = await alice.http.get(path)
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["content-length"] == str(len(content))
    assert whole.headers["content-type"].startswith("text/html")
    assert whole.headers["content-security-policy"] == "sandbox"
    assert "filename*=UTF-8''%EC%B0%A8" in whole.headers["content-disposition"]
    part = await alice.http.get(path, headers={"Range": "bytes=8-11"})
    assert (part.status_code, part.content) == (206, b"0123")
    assert part.headers["content-range"] == f"bytes 8-11/{len(content)}"
    changed = await alice.http.get(path, headers={"Range": "bytes=8-11", "If-Range": '"other"'})
    assert changed.status_code == 200
    outside = await alice.http.get(path, headers={"Range": "bytes=999-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{len(content)}")


async def test_objects_are_those_of_the_document_and_no_others(
    alice: Person, indexer: Indexer, settings: Settings
) -> None:
    collection = await alice.collection()
    document, other = [(await alice.uploaded(collection, f"{n}.txt", f"text {n}"))["id"] for n in range(2)]
    prefix = f"user-{alice.id}/{collection}/{document}"
    (settings.objects.directory / prefix / "parsed-by-some-reader.md").write_text("# parsed")
    await indexer.settle(document, "parsed")
    await indexer.serve_markdown(document, f"{prefix}/parsed-by-some-reader.md")
    path = f"/collections/{collection}/documents/{document}"
    preview = (await alice.http.get(f"{path}/preview")).json()
    assert (preview["doc_object_path"], preview["converted_pdf_object_path"]) == ("original.txt", None)
    assert (preview["doc_filename"], preview["markdown_content"]) == ("0.txt", "# parsed")
    assert [(chunk["text"], chunk["metadata"]["titles"]) for chunk in preview["chunks"]] == [("parsed", ["Tea"])]
    assert preview["vision_chunks"] == []

    async def fetch(wanted: str, **headers: str) -> tuple[int, bytes]:
        answer = await alice.http.get(f"{path}/object", params={"path": wanted}, headers=headers)
        return answer.status_code, answer.content

    assert await fetch("parsed.md") == (200, b"# parsed")
    assert await fetch(preview["doc_object_path"], Range="bytes=0-3") == (206, b"text")
    assert await fetch(f"{prefix}/original.txt", Range="bytes=0-3") == (206, b"text")
    assert (await fetch("parsed.md", Range="bytes=99-"))[0] == 416
    assert (await fetch("converted.pdf"))[0] == 404
    assert (await fetch("assets/none"))[0] == 404
    assert (await fetch(f"../{other}/original.txt"))[0] == 400
    assert (await fetch(f"user-{alice.id}/{collection}/{other}/original.txt"))[0] == 404
    assert (await fetch("/etc/passwd"))[0] == 400


async def test_documents_are_listed_by_status_and_counted_in_each(
    alice: Person, mallory: Person, indexer: Indexer
) -> None:
    collection = await alice.collection()
    waiting, ready, broken, gone = [(await alice.uploaded(collection, f"{n}.txt", f"tea {n}"))["id"] for n in range(4)]
    await indexer.settle(ready, "tea")
    async with indexer.engine.begin() as conn:
        await conn.execute(text("UPDATE document SET status = 'FAILED' WHERE id = :id"), {"id": broken})
    path = f"/collections/{collection}/documents"
    await alice.http.delete(f"{path}/{gone}")

    async def listed(**asked: Any) -> tuple[list[str], int]:
        answer = (await alice.http.get(path, params={"sort_by": "name", "sort_order": "asc", **asked})).json()
        assert answer["counts"] == counts, "they say what is there, whatever is listed"
        return [it["id"] for it in answer["items"]], answer["total"]

    counts = {"PENDING": 1, "RUNNING": 0, "COMPLETE": 1, "FAILED": 1}
    assert await listed() == ([waiting, ready, broken], 3)
    assert await listed(status="FAILED") == ([broken], 1)
    assert await listed(status=["FAILED", "PENDING", "FAILED"]) == ([waiting, broken], 2)
    assert await listed(status="RUNNING") == ([], 0)
    assert await listed(status=["", "COMPLETE"], page_size=1) == ([ready], 1)
    assert await listed(status="") == ([waiting, ready, broken], 3)
    counts = {"PENDING": 0, "RUNNING": 0, "COMPLETE": 0, "FAILED": 1}
    assert await listed(status="COMPLETE", search="2.t") == ([], 0)
    assert (await alice.http.get(path, params={"status": "DELETED"})).status_code == 422
    assert (await mallory.http.get(path, params={"status": "FAILED"})).status_code == 404


@pytest.mark.parametrize("name", ["report.pdf", "REPORT.PDF"])
async def test_the_pages_of_a_pdf_are_served_under_the_name_that_its_preview_gives(alice: Person, name: str) -> None:
    collection = await alice.collection()
    content = b"%PDF-1.7 pages"
    document = (await alice.uploaded(collection, name, content))["id"]
    path = f"/collections/{collection}/documents/{document}"
    preview = (await alice.http.get(f"{path}/preview")).json()
    assert preview["converted_pdf_object_path"] == "converted.pdf"
    for served in (preview["converted_pdf_object_path"], preview["doc_object_path"]):
        answer = await alice.http.get(f"{path}/object", params={"path": served})
        assert (answer.status_code, answer.content) == (200, content), served
        assert answer.headers["content-type"] == "application/pdf"


async def test_a_document_without_a_parse_previews_empty(alice: Person) -> None:
    collection = await alice.collection()
    document = (await alice.uploaded(collection, "a.txt", "tea"))["id"]
    preview = (await alice.http.get(f"/collections/{collection}/documents/{document}/preview")).json()
    assert (preview["markdown_content"], preview["chunks"]) == ("", [])
