"""What the reader makes of real bytes, in real pool processes."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from docx import Document

from aperag_common import errors
from aperag_common.pool import ProcessPool
from aperag_indexer.adapters.kreuzberg import KreuzbergParser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def parser() -> AsyncIterator[KreuzbergParser]:
    pool = ProcessPool(1)
    yield KreuzbergParser(pool, timeout=timedelta(seconds=60))
    await pool.close()


def docx() -> bytes:
    document = Document()
    document.add_heading("Tides", level=1)
    document.add_paragraph("The moon pulls the sea.")
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


HTML = (
    "<html><head><title>A page</title><meta name='keywords' content='wheels'><script>var hidden=1</script></head>"
    "<body><h1>Bicycles</h1><p>两个轮子。</p><img alt='a wheel' src='data:image/png;base64,AAAA'>"
    "<h2>title: stays</h2></body></html>"
)
NOTEBOOK = {
    "cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# Notes\n", "on coffee"]}],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}

READABLE = [
    ("a.txt", "서울의 강".encode(), ["서울의 강"]),
    ("a.txt", ("이 문서는 오래된 인코딩으로 저장되었다. " * 8).encode("cp949"), ["오래된 인코딩"]),
    ("A.MD", b"# Title\n\n* item_one\n", ["# Title", "item_one"]),
    ("a.html", HTML.encode(), ["Bicycles", "两个轮子"]),
    ("a.docx", docx(), ["Tides", "조수", "| Incheon | 9 m |"]),
    ("a.csv", b"name,city\nKim,Seoul\n", ["Kim", "Seoul"]),
    ("a.json", json.dumps({"city": "北京"}).encode(), ["北京"]),
    ("a.xml", b"<r><city>Busan</city></r>", ["Busan"]),
    ("a.ipynb", json.dumps(NOTEBOOK).encode(), ["coffee"]),
]


async def test_documents_are_read_as_what_they_are(parser: KreuzbergParser, tmp_path: Path) -> None:
    for number, (name, body, wanted) in enumerate(READABLE):
        path = tmp_path / f"{number}{name[1:].lower()}"
        path.write_bytes(body)
        parsed = await parser.parse(path, name=name)
        assert [text for text in wanted if text not in parsed.markdown] == [], name


async def test_an_html_documents_head_scripts_and_inline_pictures_are_no_text(
    parser: KreuzbergParser, tmp_path: Path
) -> None:
    path = tmp_path / "a.html"
    path.write_text(HTML, encoding="utf-8")
    parsed = await parser.parse(path, name="a.html")
    assert parsed.markdown.startswith("# Bicycles")
    assert parsed.title == "A page"
    assert not [word for word in ("hidden", "A page", "base64", "keywords") if word in parsed.markdown]
    assert "title: stays" in parsed.markdown


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("x.txt", "x")
    return buffer.getvalue()


UNREADABLE = [
    ("a.zip", archive(), errors.UnsupportedMedia, "Unpack"),
    ("a.mp3", b"ID3", errors.UnsupportedMedia, "transcript"),
    ("a.doc", b"\xd0\xcf\x11\xe0", errors.UnsupportedMedia, "docx"),
    ("a.pdf", b"%PDF-1.7 broken", errors.CorruptDocument, ".pdf reader"),
    ("a.docx", b"PK\x03\x04 not really", errors.CorruptDocument, ".docx reader"),
    ("a.docx", b"", errors.EmptyDocument, "0 bytes"),
    ("a.txt", b" \n\t ", errors.EmptyDocument, "no text"),
    ("a.txt", b"\x00\x01binary", errors.CorruptDocument, "binary"),
    ("a.png", b"\x89PNG\r\n\x1a\n", errors.Terminal, ""),
]


async def test_what_cannot_be_read_says_why_and_never_ends_the_reader(parser: KreuzbergParser, tmp_path: Path) -> None:
    for number, (name, body, kind, hint) in enumerate(UNREADABLE):
        path = tmp_path / f"{number}{name[1:]}"
        path.write_bytes(body)
        with pytest.raises(kind) as failure:
            await parser.parse(path, name=name)
        assert hint in failure.value.message, name
        assert str(tmp_path) not in failure.value.message, "a message for a person names no path of the server"
