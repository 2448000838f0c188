"""Real documents of several formats and languages: found by what they say, or refused with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_common.testing.client import Client
from aperag_standalone.demo import samples

if TYPE_CHECKING:
    from aperag_common.testing.stack import Stack
    from aperag_standalone.demo.samples import Question

pytestmark = pytest.mark.timeout(180)

WITHIN = 120.0
FORMATS = {".txt", ".md", ".html", ".pdf", ".docx"}
UNREADABLE = {
    "archive.zip": (b"PK\x05\x06" + bytes(18), "UNSUPPORTED_MEDIA"),
    "speech.mp3": (b"ID3\x04" + bytes(200), "UNSUPPORTED_MEDIA"),
    "torn.pdf": (samples.DIRECTORY.joinpath("sourdough-bread.pdf").read_bytes()[:700], "CORRUPT_DOCUMENT"),
    "blank.txt": (b" \n \n", "EMPTY_DOCUMENT"),
}


class Shelf:
    """A collection that holds every sample and, from the same request, what no reader understands."""

    def __init__(self, collection: str, documents: dict[str, dict[str, Any]], outcomes: dict[str, str]) -> None:
        self.collection = collection
        self.documents = documents
        self.outcomes = outcomes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(stack: Stack) -> Shelf:
    bodies = {path.name: path.read_bytes() for path in samples.documents()}
    bodies |= {name: body for name, (body, _) in UNREADABLE.items()}
    async with Client(stack.url, stack.api_key) as client:
        collection = await client.collection()
        async with client.events() as log:
            uploaded = {document["name"]: document for document in await client.upload(collection, bodies)}
            ended = await log.until_ended(*(d["task_id"] for d in uploaded.values()), within=WITHIN)
        outcomes = {name: ended[document["task_id"]] for name, document in uploaded.items()}
        return Shelf(collection, uploaded, outcomes)


async def test_every_format_becomes_searchable(client: Client, shelf: Shelf) -> None:
    names = [path.name for path in samples.documents()]
    assert {path.suffix for path in samples.documents()} == FORMATS
    assert {name: shelf.outcomes[name] for name in names} == dict.fromkeys(names, "SUCCESS")
    for name in names:
        document = await client.document(shelf.collection, shelf.documents[name]["id"])
        indexes = (document["vector_index_status"], document["fulltext_index_status"])
        assert (document["status"], *indexes) == ("COMPLETE", "ACTIVE", "ACTIVE"), name


@pytest.mark.parametrize("question", samples.QUESTIONS, ids=lambda question: f"{question.language}-{question.expects}")
async def test_a_question_finds_its_document_first(client: Client, shelf: Shelf, question: Question) -> None:
    hits = await client.search(shelf.collection, question.query, wait_for=[shelf.documents[question.expects]["id"]])
    assert hits[0]["source"] == question.expects
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_fails_alone_and_says_why(client: Client, shelf: Shelf, name: str) -> None:
    document = shelf.documents[name]
    assert shelf.outcomes[name] == "FAILED"
    assert (await client.document(shelf.collection, document["id"]))["status"] == "FAILED"
    task = await client.json("GET", f"/tasks/{document['task_id']}")
    assert task["status"] == "FAILED"
    for step in task["steps"]:
        assert step["outcome"] == "failed"
        assert step["error_code"] == UNREADABLE[name][1], step
        assert step["error_message"]
