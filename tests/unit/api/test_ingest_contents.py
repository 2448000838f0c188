"""Where the bytes that an event brings are put."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

from aperag_api.knowledge.ingest.content import Contents
from aperag_api.knowledge.ingest.repository import Target
from aperag_common.objects import LocalObjectStore

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_attempt_that_was_overtaken_overwrites_no_bytes(tmp_path: Path) -> None:
    """What a reference leads to may change between two attempts at one event, and both may be under way."""
    objects = LocalObjectStore(tmp_path)
    fetched = AsyncMock(side_effect=[b"first", b"second"] * 2)
    contents = Contents(objects, cast("Any", SimpleNamespace(fetch=fetched)))
    target = Target("doc1", "a.txt", "0" * 64, "user-u/col/doc1/original.txt", {})
    data = {"reference": "https://example.org/a.txt", "name": "a.txt"}
    for number, before in enumerate((None, target)):
        event: Any = SimpleNamespace(
            id=f"ing{number}", owner="u", collection_id="col", new_document_id=f"new{number}", data=data
        )
        placed = [(await contents.place(event, before)).document for _ in range(2)]
        for document, content in zip(placed, (b"first", b"second"), strict=True):
            kept = b"".join([block async for block in objects.open(document.object_path)])
            assert (kept, document.sha256) == (content, hashlib.sha256(content).hexdigest())
