"""What the reader makes of real bytes, in real pool processes."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from docx import Document

from aperag_common import errors
from aperag_common.pool import ProcessPool
from aperag_indexer.adapters.kreuzberg import KreuzbergParser, ReadLimits
from aperag_indexer.adapters.recognition import Recognition, installed_recognition
from aperag_retrieval.chunking import chunk_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_retrieval.chunking import ParsedDocument

DATA = Path(__file__).parents[2] / "data"
SOON = 60.0
MINUTE = timedelta(seconds=60)
needs_tesseract = pytest.mark.skipif(
    "eng" not in installed_recognition().languages, reason="tesseract with English is not installed"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ProcessPool]:
    pool = ProcessPool(1)
    yield pool
    await pool.close()


class Reader:
    """Stores bytes under a name of its own, as the object store does, and reads them."""

    def __init__(self, parser: KreuzbergParser, directory: Path) -> None:
        self.parser = parser
        self.directory = directory
        self.read = 0

    async def __call__(self, name: str, body: bytes) -> ParsedDocument:
        self.read += 1
        path = self.directory / f"{self.read}{Path(name).suffix.lower()}"
        path.write_bytes(body)
        return await self.parser.parse(path, name=name)

    async def data(self, name: str) -> ParsedDocument:
        return await self.parser.parse(DATA / name, name=name)


@pytest.fixture
def reader(pool: ProcessPool, tmp_path: Path) -> Reader:
    """As on a machine without text recognition."""
    return Reader(KreuzbergParser(pool, timeout=MINUTE, recognition=Recognition()), tmp_path)


@pytest.fixture
def seeing(pool: ProcessPool, tmp_path: Path) -> Reader:
    return Reader(KreuzbergParser(pool, timeout=MINUTE), tmp_path)


def docx(*, comment: str = "") -> bytes:
    document = Document()
    document.add_heading("Tides", level=1)
    paragraph = document.add_paragraph("The moon pulls the sea.")
    if comment:
        document.add_comment(paragraph.runs, text=comment, author="Kim")
    document.add_heading("조수", level=2)
    document.add_paragraph("달이 바다를 당긴다.")
    table = document.add_table(rows=2, cols=2)
    for cell, value in zip(
        (c for row in table.rows for c in row.cells), ("port", "range", "Incheon", "9 m"), strict=True
    ):
        cell.text = value
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def zipped(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in parts.items():
            packed.writestr(name, body)
    return buffer.getvalue()


def nested(tag: str, levels: int) -> bytes:
    """A Word document whose text stands so deep."""
    name = tag[1:-1]
    with zipfile.ZipFile(io.BytesIO(docx())) as packed:
        parts = {part: packed.read(part) for part in packed.namelist()}
    body = f"{tag * levels}<w:p><w:r><w:t>deep</w:t></w:r></w:p>{f'</{name}>' * levels}"
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    parts["word/document.xml"] = f"<w:document {space}><w:body>{body}</w:body></w:document>".encode()
    return zipped(parts)


def epub() -> bytes:
    container = b'<container><rootfiles><rootfile full-path="o.opf"/></rootfiles></container>'
    package = (
        b'<package version="3.0" xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest>'
        b'<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        b'<spine><itemref idref="a"/></spine></package>'
    )
    chapter = "<html><body><h1>첫 장</h1><p>Once upon a tide.</p></body></html>".encode()
    return zipped(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": container,
            "o.opf": package,
            "a.xhtml": chapter,
        }
    )


def bombed(body: bytes, part: str) -> bytes:
    """The same document with one part that unfolds to 300 MB."""
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    return zipped(parts | {part: parts[part] + b" " * (300 * 1024 * 1024)})


HTML = (
    "<html><head><title>A page</title><meta name='keywords' content='wheels'><script>var hidden=1</script></head>"
    "<body><nav><a href='/'>Menu</a></nav><h1>Bicycles</h1><p>两个轮子。</p>"
    "<img alt='a wheel' src='data:image/png;base64,AAAA'><form><p>inside a form</p></form>"
    "<h2>title: stays</h2></body></html>"
)
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Notes\n", "on coffee"]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "source": ["brew(grams=18)"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["a cup\n"]},
                {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0KGgo" * 50}},
            ],
        },
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
PEOPLE = "이름,도시\n김철수,서울\n이영희,부산\n박민수,대구\n"

READABLE = [
    ("a.txt", "서울의 강".encode(), ["서울의 강"]),
    ("a.text", ("이 문서는 오래된 인코딩으로 저장되었다. " * 8).encode("cp949"), ["오래된 인코딩"]),
    ("A.MD", b"# Title\n\n* item_one\n", ["# Title", "item_one"]),
    ("a.markdown", b"\x0cform feed and \x07bell", ["form feed and"]),
    ("a.html", HTML.encode(), ["# Bicycles", "两个轮子", "a wheel", "inside a form"]),
    ("a.htm", "<meta charset=euc-kr><h1>조수</h1><p>달이 당긴다".encode("cp949"), ["# 조수", "달이 당긴다"]),
    ("a.html", "<html><h1>조수</h1></html>".encode("utf-16"), ["# 조수"]),
    ("a.docx", docx(comment="A remark"), ["# Tides", "## 조수", "| Incheon | 9 m |", "## Comments", "- Kim: A remark"]),
    ("a.doc", docx(), ["# Tides"]),
    ("a.doc", rb"{\rtf1\ansi Rich {\b words}.}", ["Rich **words**"]),
    ("a.xls", b"<html><table><tr><td>port</td></tr><tr><td>Busan</td></tr></table></html>", ["| port |", "| Busan |"]),
    ("a.csv", PEOPLE.encode("cp949"), ["| 이름 | 도시 |", "| 김철수 | 서울 |"]),
    ("a.csv", PEOPLE.encode("utf-16-le"), ["| 이름 | 도시 |"]),
    ("a.csv", PEOPLE.encode("utf-8-sig"), ["| 이름 | 도시 |"]),
    ("a.csv", "名前;年齢\n佐藤太郎;30\n三木英子;25\n髙橋淳;35\n".encode("cp932"), ["| 佐藤太郎 | 30 |"]),
    ("a.json", json.dumps({"city": "北京"}).encode(), ["city: 北京"]),
    ("a.xml", '<?xml version="1.0" encoding="euc-kr"?><r><도시>부산</도시></r>'.encode("cp949"), ["도시: 부산"]),
    ("a.xml", b"<r><t>T</t><d>&lt;h2&gt;Head&lt;/h2&gt;&lt;p&gt;Low&lt;/p&gt;</d></r>", ["### Head", "Low"]),
    ("a.ipynb", json.dumps(NOTEBOOK).encode(), ["# Notes", "```\nbrew(grams=18)\n```", "a cup"]),
    ("a.txt", b"a picture data:image/png;base64,iVBORw0KGgoAAAA= of a pump", ["a picture  of a pump"]),
    ("a.json", b'{"image": "data:image/png;base64,iVBORw0KGgo=", "name": "pump x<y"}', ["pump x<y"]),
    ("a.epub", epub(), ["# 첫 장", "Once upon a tide."]),
]


async def test_documents_are_read_as_what_they_are(reader: Reader) -> None:
    for name, body, wanted in READABLE:
        parsed = await reader(name, body)
        assert [text for text in wanted if text not in parsed.markdown] == [], (name, parsed.markdown)
        assert not [noise for noise in ("base64", "iVBOR", "Menu", "\x07", "\x0c") if noise in parsed.markdown], name


async def test_an_html_documents_head_and_scripts_are_no_text(reader: Reader) -> None:
    parsed = await reader("a.html", HTML.encode())
    assert parsed.markdown.startswith("# Bicycles")
    assert parsed.title == "A page"
    assert not [word for word in ("hidden", "A page", "keywords") if word in parsed.markdown]
    assert "title: stays" in parsed.markdown


@pytest.mark.parametrize("name", ["sheets.xls", "sheets.xlsx"])
async def test_sheets_are_sections_with_tables(reader: Reader, name: str) -> None:
    chunks = chunk_document(await reader.data(name))
    assert "| 인천 | 9" in chunks[-1].text
    assert chunks[-1].details["titles"] == ["조수"]


async def test_a_pdf_keeps_headings_rows_and_pages(reader: Reader) -> None:
    chunks = chunk_document(await reader.data("report.pdf"))
    assert [(c.details["titles"], c.details["page_idx"]) for c in chunks] == [
        (["Tides of the coast"], 0),
        (["Measured ranges"], 0),
        (["Second chapter"], 1),
    ]
    assert "follows it in two bulges that travel around the world each day, which sailors" in chunks[0].text
    assert "\nPort 5 5 m May" in chunks[1].text


async def test_slides_come_in_the_order_of_the_show_each_with_its_notes(reader: Reader) -> None:
    """The third slide was moved to the front, which leaves it stored as the third."""
    chunks = chunk_document(await reader.data("slides.pptx"))
    assert [(c.details["titles"], c.details["page_idx"]) for c in chunks] == [
        (["조수"], 0),
        (["Tides"], 1),
        (["Waves"], 2),
    ]
    assert [chunk.text.partition("Notes: ")[2] for chunk in chunks] == ["천천히 말한다.", "Speak slowly here.", ""]


@needs_tesseract
async def test_the_text_of_pictures_is_recognised(seeing: Reader) -> None:
    body = (DATA / "scan.png").read_bytes()
    for name in ("a.png", "a.jpg"):  # named as another picture: read all the same
        assert "tides of the coast" in (await seeing(name, body)).markdown.lower()


@needs_tesseract
async def test_only_the_scanned_pages_of_a_pdf_are_recognised(seeing: Reader) -> None:
    parsed = await seeing.data("scan.pdf")
    pages = {span.page_idx: parsed.markdown[span.start : span.end] for span in parsed.pages}
    assert "# Harbour report" in pages[0]
    assert "moon pulls the sea" in pages[1]
    assert pages[2].strip() == "And so is the last page."


@needs_tesseract
async def test_a_scan_of_too_many_pages_is_refused_before_it_takes_hours(pool: ProcessPool) -> None:
    parser = KreuzbergParser(pool, timeout=MINUTE, limits=ReadLimits(recognised_pages=0))
    with pytest.raises(errors.CorruptDocument, match="1 pages of the document are scans"):
        await parser.parse(DATA / "scan.pdf", name="scan.pdf")


async def test_without_recognition_the_pages_with_text_are_read(reader: Reader) -> None:
    parsed = await reader.data("scan.pdf")
    assert [span.page_idx for span in parsed.pages] == [0, 2]


async def test_a_picture_says_that_nothing_can_recognise_it(reader: Reader) -> None:
    with pytest.raises(errors.OcrMissing, match="apt-get install tesseract-ocr"):
        await reader.data("scan.png")


async def test_the_version_tells_what_can_be_recognised(pool: ProcessPool) -> None:
    versions = {
        KreuzbergParser(pool, timeout=MINUTE, recognition=Recognition(languages)).version
        for languages in ("", "eng", "eng+kor")
    }
    assert len(versions) == 3


TORN = {name: (DATA / name).read_bytes()[:-1500] for name in ("report.pdf", "sheets.xls", "sheets.xlsx", "slides.pptx")}
UNREADABLE = [
    ("a.zip", zipped({"x.txt": b"x"}), errors.UnsupportedMedia, "Unpack"),
    ("a.mp3", b"ID3", errors.UnsupportedMedia, "transcript"),
    ("a.pdf", b"%PDF-1.7 broken", errors.CorruptDocument, ".pdf reader"),
    ("a.pdf", TORN["report.pdf"][:800], errors.CorruptDocument, ".pdf reader"),
    ("a.xls", TORN["sheets.xls"], errors.CorruptDocument, "Save it again"),
    ("a.xlsx", TORN["sheets.xlsx"], errors.CorruptDocument, "damaged"),
    ("a.pptx", TORN["slides.pptx"], errors.CorruptDocument, "damaged"),
    ("a.docx", b"PK\x03\x04 not really", errors.CorruptDocument, "damaged"),
    ("a.epub", epub()[:-100], errors.CorruptDocument, "damaged"),
    ("a.docx", bytes(range(1, 200)) * 20, errors.CorruptDocument, "does not begin"),
    ("a.docx", b"", errors.EmptyDocument, "0 bytes"),
    ("a.txt", b" \n\t ", errors.EmptyDocument, "no text"),
    ("a.txt", b"\x00\x01binary", errors.CorruptDocument, "binary"),
    ("a.pdf", b"\x89PNG\r\n\x1a\n", errors.CorruptDocument, "a PNG picture"),
    ("a.docx", bombed(docx(), "word/document.xml"), errors.CorruptDocument, "unpacks to 300 MB"),
    ("a.pptx", bombed((DATA / "slides.pptx").read_bytes(), "ppt/presentation.xml"), errors.CorruptDocument, "unpacks"),
    ("a.epub", bombed(epub(), "a.xhtml"), errors.CorruptDocument, "unpacks"),
    ("a.png", b"\x89PNG\r\n\x1a\n", errors.Terminal, ""),
    ("a.docx", nested("<w:sdt>", 20_000), errors.CorruptDocument, ""),
]


async def test_what_cannot_be_read_says_why_and_never_ends_the_reader(reader: Reader) -> None:
    for name, body, kind, hint in UNREADABLE:
        with pytest.raises(kind) as failure:
            await reader(name, body)
        assert hint in failure.value.message, (name, failure.value.message)
        assert str(reader.directory) not in failure.value.message, "a message for a person names no path of the server"


@pytest.mark.parametrize("name", ["locked.pdf", "locked.docx"])
async def test_what_is_locked_asks_for_the_password_to_be_removed(reader: Reader, name: str) -> None:
    with pytest.raises(errors.PasswordProtected, match="Remove the password"):
        await reader.data(name)


async def test_a_picture_of_too_many_pixels_is_refused_by_its_head(pool: ProcessPool) -> None:
    parser = KreuzbergParser(pool, timeout=MINUTE, limits=ReadLimits(pixels=1000))
    with pytest.raises(errors.CorruptDocument, match="Scale it down"):
        await parser.parse(DATA / "scan.png", name="scan.png")


async def test_a_document_that_takes_too_long_is_given_up(pool: ProcessPool, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,name\n" + "1,name\n" * 1_000_000, encoding="utf-8")
    with pytest.raises(errors.CorruptDocument, match="Split it"):
        await KreuzbergParser(pool, timeout=timedelta(milliseconds=1)).parse(path, name="a.csv")


@pytest.mark.parametrize(
    "text", ["x" * 5_000_000, "<p>" + "word " * 200_000, '"' * 100_000, "[" * 200_000, "![" * 100_000]
)
@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.csv"])
async def test_hostile_text_is_read_or_refused_in_time(reader: Reader, name: str, text: str) -> None:
    started = time.monotonic()
    with contextlib.suppress(errors.CorruptDocument, errors.EmptyDocument):
        await reader(name, text.encode())
    assert time.monotonic() - started < SOON
