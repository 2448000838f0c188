"""What the console shows of how things came about: hits, pages, files of a chat, steps of a flow; without scripts."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.test_console_pages import TEA, collection_of, searchable, shown

from aperag_testing.waiting import until

if TYPE_CHECKING:
    import httpx

    from aperag_testing.client import Client

pytestmark = pytest.mark.timeout(180)

REPORT = Path(__file__).parents[1] / "data" / "report.pdf"
FLOW = {
    "name": "tea",
    "nodes": [
        {"id": "start", "type": "start", "data": {"input": {"values": {"query": ""}}}},
        {"id": "words", "type": "fulltext_search", "data": {"input": {"values": {"top_k": 3}}}},
        {
            "id": "llm",
            "type": "llm",
            "data": {
                "input": {
                    "values": {
                        "prompt_template": "Material:\n{context}\nQuestion: {query}",
                        "docs": "{{ nodes.words.output.docs }}",
                    }
                }
            },
        },
    ],
    "edges": [{"source": "start", "target": "words"}, {"source": "words", "target": "llm"}],
}


@pytest.fixture
def title() -> str:
    return f"Details {uuid.uuid4().hex[:8]}"


async def test_a_hit_says_what_each_kind_of_search_gave_of_its_score(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    collection = await collection_of(person, title)
    await searchable(person, client, collection, "tea.md", TEA)
    query = {"q": "how is green tea steamed", "collection": collection.rsplit("/", 1)[1]}
    both = await shown(person, "/search", params=query)
    legs = re.findall(
        r"<dt>(Vector|Full-text)</dt><dd class=\"leg\">.*?(\d\.\d{3}) · place 1 there .*? counts (\d+) %", both
    )
    assert [name for name, _, _ in legs] == ["Vector", "Full-text"]
    assert sum(int(weight) for _, _, weight in legs) == 100
    [score] = re.findall(r"</meter> (\d\.\d{3})</dd>", both)
    assert sum(float(share) for _, share, _ in legs) == pytest.approx(float(score), abs=0.002)
    alone = await shown(person, "/search", params={**query, "leg": "vector"})
    assert "counts 100 %" in alone
    assert "<dt>Full-text</dt><dd" not in alone


async def test_a_passage_of_a_pdf_opens_the_page_that_it_stands_on(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    collection = await collection_of(person, title)
    document = await searchable(person, client, collection, "report.pdf", REPORT.read_bytes())
    page = await shown(person, document)
    assert re.search(rf'href="{document}/original#page=\d+"', page)
    answer = await person.get(f"{document}/original", headers={"Range": "bytes=0-4"})
    assert (answer.status_code, answer.content) == (206, b"%PDF-")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["content-security-policy"] == "script-src 'none'; frame-ancestors 'none'"


async def test_what_a_browser_cannot_show_is_downloaded(person: httpx.AsyncClient, client: Client, title: str) -> None:
    collection = await collection_of(person, title)
    document = await searchable(person, client, collection, "page.html", b"<script>alert(1)</script><p>Tea</p>")
    assert f"{document}/original" not in await shown(person, document)
    answer = await person.get(f"{document}/original")
    assert answer.headers["location"] == f"{document}/download"


async def test_a_question_brings_its_files_and_is_answered_from_them(person: httpx.AsyncClient) -> None:
    files = [("files", ("harvest.md", b"# Harvest\n\nWhite tea is only withered and dried.\n")), ("files", ("", b""))]
    answer = await person.post("/ask", data={"query": "How is white tea made?"}, files=files)
    assert answer.status_code == 303, answer.text
    chat = answer.headers["location"].split("#")[0]

    async def whole() -> str:
        page = await shown(person, chat)
        return page if 'data-open="/turns' not in page else ""

    page = await until(whole, within=90)
    assert re.search(r'class="attached">.*harvest\.md</span>', page)
    assert "withered" in page


async def test_a_flow_is_tried_step_by_step(person: httpx.AsyncClient, client: Client, title: str) -> None:
    collection = await collection_of(person, title)
    await searchable(person, client, collection, "tea.md", TEA)
    config = {"collection_ids": [collection.rsplit("/", 1)[1]]}
    bot = (
        await client.json("POST", "/bots", json={"title": title, "type": "knowledge", "config": json.dumps(config)})
    )["id"]
    path = f"/bots/{bot}/flow"
    assert "Debug run" not in await shown(person, path)
    answer = await person.post(path, data={"action": "save", "flow": json.dumps(FLOW)})
    assert answer.headers["location"] == path
    ran = await person.post(path, data={"action": "debug", "query": "How is green tea made?"})
    assert ran.status_code == 200, ran.text
    steps = re.findall(r'<span class="what">(\w+) <span class="tag">(\w+)</span>', ran.text)
    assert steps == [("start", "start"), ("words", "fulltext_search"), ("llm", "llm")]
    assert len(re.findall(r'<rect class="works"', ran.text)) == 3
    assert "tea.md" in ran.text
    origin = str(person.base_url).rstrip("/")
    answer = await person.post(path, data={"action": "save", "flow": "[]"}, headers={"Referer": f"{origin}{path}"})
    assert "is not a JSON object" in await shown(person, path)
