"""Documents that would take minutes or fill the memory are refused at once, with the limit that they exceed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_common import errors
from aperag_common.pool import ProcessPool
from aperag_indexer.adapters import readers
from aperag_indexer.adapters.kreuzberg import KreuzbergParser, ReadLimits
from aperag_indexer.reading.bounds import Bounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REPEATED = 100_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ProcessPool]:
    pool = ProcessPool(1)
    yield pool
    await pool.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


def repeated_pages(count: int) -> bytes:
    """The attack: a page tree that names one page again and again."""
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {count}/Kids[{'3 0 R ' * count}]>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        "<</Length 36>>stream\nBT /F 12 Tf 20 100 Td (page) Tj ET   \nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj{text}endobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    return body + f"{head}{table}trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF".encode()


@pytest.mark.parametrize(
    ("name", "body", "limit"),
    [
        ("pages.pdf", repeated_pages(REPEATED), "5,000 pages"),
        ("rows.csv", b"a,b,c\n" * 700_000, "2,000,000 table cells"),
        ("wide.csv", b"a," * 20_000 + b"\na,b\n" * 200, "2,000,000 table cells"),
        ("long.txt", b"tides and moons " * 1_300_000, "20,000,000 characters"),
    ],
)
async def test_what_exceeds_a_limit_is_refused_and_told_so(
    pool: ProcessPool, tmp_path: Path, name: str, body: bytes, limit: str
) -> None:
    path = tmp_path / name
    path.write_bytes(body)
    with pytest.raises(errors.DocumentTooLarge) as refused:
        await KreuzbergParser(pool, timeout=timedelta(minutes=5)).parse(path, name=name, owner="mallory")
    assert refused.value.message == f"The document has more than {limit}. Split it and upload the parts."


async def test_what_keeps_to_the_limits_is_read(pool: ProcessPool, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(repeated_pages(3))
    found = await KreuzbergParser(pool, timeout=timedelta(minutes=5)).parse(path, name="a.pdf")
    assert [page.page_idx for page in found.pages] == [0, 1, 2]


async def test_the_limits_of_one_document_are_not_those_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(errors.DocumentTooLarge):
        readers.read(str(path), ".csv", ReadLimits(bounds=Bounds(cells=3)))
    assert "1" in readers.read(str(path), ".csv").markdown


async def test_a_document_that_computes_too_long_is_refused_and_told_so(pool: ProcessPool, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b,c,d\n" * 400_000)
    limits = ReadLimits(cpu_seconds=1)
    with pytest.raises(errors.DocumentTooLarge, match=r"1 s of computing time\. Split it"):
        await KreuzbergParser(pool, timeout=timedelta(minutes=5), limits=limits).parse(path, name="a.csv")
