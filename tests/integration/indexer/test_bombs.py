"""Documents made to exhaust their reader: each is refused with a reason, or read, in bounded memory and time."""

from __future__ import annotations

import asyncio
import gzip
import struct
import zlib
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest
import pytest_asyncio

from aperag_common import errors
from aperag_common.pool import ProcessPool
from aperag_indexer.adapters.kreuzberg import KreuzbergParser
from aperag_indexer.adapters.recognition import Recognition
from aperag_indexer.adapters.warm import load
from aperag_retrieval.chunking import ChunkPolicy, chunk_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aperag_retrieval.chunking import ParsedDocument

MIB = 1024 * 1024
GIB = 1024 * MIB
HEADROOM = 1280 * MIB
"""What reading one document may cost, beyond what the process holds with its libraries and the encoder loaded."""
LONGEST = timedelta(seconds=30)
LOOK_SECONDS = 0.05

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
LAUGHING = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">{LAUGHS}]>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


@cache
def blanks(size: int) -> tuple[bytes, int, int]:
    """So many blanks as a raw deflate stream, with their CRC-32 and Adler-32; made of one piece, so it takes no time."""
    block = b" " * MIB
    press = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = press.compress(block) + press.flush(zlib.Z_FULL_FLUSH)
    crc, adler = 0, 1
    for _ in range(size // MIB):
        crc, adler = zlib.crc32(block, crc), zlib.adler32(block, adler)
    return piece * (size // MIB) + b"\x03\x00", crc, adler


class Blanks(NamedTuple):
    """A part of an archive; ``stated`` is the size that the archive tells of it, the true one unless given."""

    size: int
    stated: int | None = None


def packed(members: dict[str, bytes | Blanks]) -> bytes:
    """A zip archive as its readers expect it, whatever it says of its parts."""
    body, directory = b"", b""
    for name, content in members.items():
        data, crc, size = _member(content)
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, crc, len(data), size, len(name), 0)
        directory += b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\x03\x04" + fields + name.encode() + data
    count = len(members)
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)


def _member(content: bytes | Blanks) -> tuple[bytes, int, int]:
    if isinstance(content, Blanks):
        data, crc, _ = blanks(content.size)
        return data, crc, content.size if content.stated is None else content.stated
    press = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return press.compress(content) + press.flush(), zlib.crc32(content), len(content)


def word(document: str, **more: bytes | Blanks) -> bytes:
    types = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
    return packed({"[Content_Types].xml": types, "word/document.xml": document.encode(), **more})


def paragraph(text: str, begin: str = "") -> str:
    return f'{begin}<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>'


def nested_zips(depth: int) -> bytes:
    inner = packed({"0.txt": Blanks(64 * MIB)})
    for level in range(depth):
        inner = packed({f"{level}-{n}.zip": inner for n in range(10)})
    return inner


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(9)
    line = bytes(1 + width // 8)
    pixels = b"".join(rows.compress(line) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def pdf(objects: list[bytes]) -> bytes:
    """Without a table of objects: readers look for them."""
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (n, content) for n, content in enumerate(objects, 1))
    return b"%PDF-1.7\n" + body + b"trailer <</Root 1 0 R>>\n%%EOF\n"


def stream(data: bytes, filters: bytes = b"/FlateDecode") -> bytes:
    return b"<</Length %d /Filter %s>>\nstream\n%s\nendstream" % (len(data), filters, data)


def many_pages(count: int) -> bytes:
    kids = b" ".join(b"3 0 R" for _ in range(count))
    return pdf(
        [
            b"<</Type /Catalog /Pages 2 0 R>>",
            b"<</Type /Pages /Count %d /Kids [%s]>>" % (count, kids),
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 200 200]>>",
        ]
    )


def swelling_pdf() -> bytes:
    """A page whose content is a gigabyte of blanks, packed twice."""
    raw, _, adler = blanks(GIB)
    once = b"\x78\xda" + raw + struct.pack(">I", adler)
    return pdf(
        [
            b"<</Type /Catalog /Pages 2 0 R>>",
            b"<</Type /Pages /Count 1 /Kids [3 0 R]>>",
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R>>",
            stream(zlib.compress(once, 9), b"[/FlateDecode /FlateDecode]"),
        ]
    )


REFUSED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a zip bomb as Word": ("a.docx", lambda: word(paragraph("x"), **{"word/x.bin": Blanks(GIB)}), "CORRUPT_DOCUMENT"),
    "a zip bomb as Excel": ("a.xlsx", lambda: packed({"xl/workbook.xml": Blanks(GIB)}), "CORRUPT_DOCUMENT"),
    "a zip bomb as a book": ("a.epub", lambda: packed({"META-INF/container.xml": Blanks(GIB)}), "CORRUPT_DOCUMENT"),
    "a zip that lies about its size": (
        "a.docx",
        lambda: word(paragraph("x"), **{"word/x.bin": Blanks(512 * MIB, stated=10)}),
        "CORRUPT_DOCUMENT",
    ),
    "zips in zips": ("a.zip", lambda: nested_zips(3), "UNSUPPORTED_MEDIA"),
    "zips in zips as Word": ("a.docx", lambda: nested_zips(2), "CORRUPT_DOCUMENT"),
    "a packed stream": ("a.gz", lambda: gzip.compress(bytes(64 * MIB)), "UNSUPPORTED_MEDIA"),
    "a packed stream as text": ("a.csv", lambda: gzip.compress(bytes(64 * MIB)), "CORRUPT_DOCUMENT"),
    "a billion laughs": ("a.xml", lambda: f"{LAUGHING}<l>&l9;</l>".encode(), "CORRUPT_DOCUMENT"),
    "deep XML": ("a.xml", lambda: b"<a>" * 200_000 + b"</a>" * 200_000, "CORRUPT_DOCUMENT"),
    "deep JSON": ("a.json", lambda: b"[" * 1_000_000, "CORRUPT_DOCUMENT"),
    "deep JSON that closes": ("a.json", lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "CORRUPT_DOCUMENT"),
    "a picture of 900 million pixels": ("a.png", lambda: png(30_000, 30_000), "CORRUPT_DOCUMENT"),
}

HALF_A_MINUTE = {"a PDF of very many pages", "one line of 64 MiB"}
ENDURED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a billion laughs in Word": ("a.docx", lambda: word(paragraph("&l9;", LAUGHING))),
    "a billion laughs in a page": ("a.html", lambda: f"{LAUGHING}<html><body>&l9;</body></html>".encode()),
    "a billion laughs in a book": (
        "a.epub",
        lambda: packed(
            {"mimetype": b"application/epub+zip", "META-INF/container.xml": f"{LAUGHING}<c>&l9;</c>".encode()}
        ),
    ),
    "a deep page": ("a.html", lambda: b"<html><body>" + b"<div>" * 100_000 + b"deep"),
    "a table of a million columns": ("a.csv", lambda: b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n1,2,3\n"),
    "a PDF of very many pages": ("a.pdf", lambda: many_pages(100_000)),
    "a PDF that swells": ("a.pdf", swelling_pdf),
    "pages that are their own parents": (
        "a.pdf",
        lambda: pdf([b"<</Type /Catalog /Pages 2 0 R>>", b"<</Type /Pages /Count 9 /Kids [2 0 R 2 0 R]>>"]),
    ),
    "one line of 64 MiB": ("a.txt", lambda: b"x" * (64 * MIB)),
    "Markdown of nested quotes": ("a.md", lambda: b">" * 100_000 + b" deep"),
}


class Watched:
    """A reader in a process of its own whose memory is looked at while it reads."""

    def __init__(self, pool: ProcessPool, directory: Path) -> None:
        self.parser = KreuzbergParser(pool, timeout=LONGEST, recognition=Recognition())
        self.pool = pool
        self.directory = directory
        self.most = 0

    async def read(self, name: str, body: bytes) -> ParsedDocument:
        path = self.directory / f"document.{name.rpartition('.')[2]}"
        path.write_bytes(body)
        before = memory_of_children()
        async with self.watching():
            try:
                document = await self.parser.parse(path, name=name)
                await self.pool.run(chunk_document, document, ChunkPolicy(400, 20), seconds=LONGEST.total_seconds())
            finally:
                self.most -= before
        return document

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async def watch() -> None:
            while True:
                self.most = max(self.most, memory_of_children())
                await asyncio.sleep(LOOK_SECONDS)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


def memory_of_children() -> int:
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss if "spawn" in " ".join(child.cmdline()) else 0
        except psutil.Error:
            continue
    return total


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ProcessPool]:
    pool = ProcessPool(1, abandoned_seconds=1)
    await pool.run(load, ())
    yield pool
    await pool.close()


@pytest.fixture
def reader(pool: ProcessPool, tmp_path: Path) -> Watched:
    return Watched(pool, tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bomb", REFUSED)
async def test_a_bomb_is_refused_with_a_reason(reader: Watched, bomb: str) -> None:
    name, make, code = REFUSED[bomb]
    with pytest.raises(errors.Terminal) as refused:
        await reader.read(name, await asyncio.to_thread(make))
    assert refused.value.error_code == code
    assert "took longer" not in refused.value.message
    assert refused.value.message.count(".") >= 2, "one sentence what is wrong, one what to do"
    assert reader.most < HEADROOM, f"{reader.most // MIB} MiB"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "bomb", [pytest.param(it, marks=pytest.mark.long) if it in HALF_A_MINUTE else it for it in ENDURED]
)
async def test_a_bomb_is_endured_whatever_is_made_of_it(reader: Watched, bomb: str) -> None:
    name, make = ENDURED[bomb]
    body = await asyncio.to_thread(make)
    code, markdown = await outcome(reader, name, body)
    assert code in {"", "CORRUPT_DOCUMENT", "EMPTY_DOCUMENT", "WORKER_CRASHED", "TIMED_OUT"}
    assert len(markdown) < 8 * len(body) + MIB
    assert reader.most < HEADROOM, f"{reader.most // MIB} MiB"


async def outcome(reader: Watched, name: str, body: bytes) -> tuple[str, str]:
    """The error code, or what was read."""
    try:
        return "", (await reader.read(name, body)).markdown
    except errors.ApeRAGError as refused:
        return refused.error_code, refused.message
    except TimeoutError:
        return "TIMED_OUT", ""


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.xml", f"{OUTSIDE}<r>before &x; after</r>".encode()),
        ("a.html", f"{OUTSIDE}<html><body><p>before &x; after</p></body></html>".encode()),
        ("a.docx", word(paragraph("before &x; after", OUTSIDE))),
    ],
)
async def test_nothing_is_read_that_a_document_points_to(reader: Watched, name: str, body: bytes) -> None:
    _, said = await outcome(reader, name, body)
    assert "root:" not in said


async def test_the_next_document_is_read_as_if_nothing_had_been(reader: Watched) -> None:
    with pytest.raises(errors.Terminal):
        await reader.read("a.docx", word(paragraph("x"), **{"word/x.bin": Blanks(GIB)}))
    assert (await reader.read("a.txt", b"all is well")).markdown.strip() == "all is well"
