"""Real documents of several formats and languages: found by what they say, or refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_cli.demo import samples
from aperag_testing.client import Client

if TYPE_CHECKING:
    from aperag_cli.demo.samples import Question
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

DATA = Path(__file__).parents[1] / "data"
WITHIN = 120.0
FORMATS = {".txt", ".md", ".html", ".pdf", ".docx"}
UNREADABLE = {
    "archive.zip": (b"PK\x05\x06" + bytes(18), "UNSUPPORTED_MEDIA"),
    "speech.mp3": (b"ID3\x04" + bytes(200), "UNSUPPORTED_MEDIA"),
    "torn.pdf": (samples.DIRECTORY.joinpath("sourdough-bread.pdf").read_bytes()[:700], "CORRUPT_DOCUMENT"),
    "misnamed.pdf": (b"\x89PNG\r\n\x1a\n", "CORRUPT_DOCUMENT"),
    "blank.txt": (b" \n \n", "EMPTY_DOCUMENT"),
    "locked.docx": ((DATA / "locked.docx").read_bytes(), "PASSWORD_PROTECTED"),
    "locked.pdf": ((DATA / "locked.pdf").read_bytes(), "PASSWORD_PROTECTED"),
}
FOUND = {
    "sheets.xlsx": ((DATA / "sheets.xlsx").read_bytes(), "인천 항구"),
    "sheets.xls": ((DATA / "sheets.xls").read_bytes(), "인천 항구"),
    "slides.pptx": ((DATA / "slides.pptx").read_bytes(), "wind pushes waves"),
    "people.csv": ("이름,직업\n김철수,등대지기\n이영희,선장\n박민수,도선사\n".encode("cp949"), "등대지기"),
    "feed.xml": (b"<rss><item><title>Lighthouse keepers</title></item></rss>", "lighthouse keepers"),
    "record.json": (b'{"title": "Anemometer", "measures": "speed of wind"}', "anemometer"),
}
"""Further formats, and a query that their text answers."""


class Shelf:
    """A collection that holds every sample and, from the same request, what no reader understands."""

    def __init__(self, collection: str, documents: dict[str, dict[str, Any]], outcomes: dict[str, str]) -> None:
        self.collection = collection
        self.documents = documents
        self.outcomes = outcomes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(stack: Stack) -> Shelf:
    bodies = {path.name: path.read_bytes() for path in samples.documents()}
    bodies |= {name: body for name, (body, _) in (FOUND | UNREADABLE).items()}
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


@pytest.mark.parametrize("name", FOUND)
async def test_further_formats_are_found_by_what_they_say(client: Client, shelf: Shelf, name: str) -> None:
    assert shelf.outcomes[name] == "SUCCESS"
    hits = await client.search(shelf.collection, FOUND[name][1], wait_for=[shelf.documents[name]["id"]])
    assert name in [hit["source"] for hit in hits]


async def test_the_preview_shows_the_markdown_that_is_served(client: Client, shelf: Shelf) -> None:
    path = f"/collections/{shelf.collection}/documents/{shelf.documents['slides.pptx']['id']}"
    preview = await client.json("GET", f"{path}/preview")
    assert preview["markdown_content"].startswith("## 조수")
    stored = await client.http.get(f"{path}/object", params={"path": "parsed.md"})
    assert stored.text == preview["markdown_content"]
    assert [chunk["metadata"]["page_idx"] for chunk in preview["chunks"]] == [0, 1, 2]


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
