"""The promises of the object store, on a real directory."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aperag_common.objects import InvalidObjectPath, LocalObjectStore, ObjectMissing, ObjectTooLarge, layout, local

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATH = "user-u1/col1/doc1/original.txt"


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(store: LocalObjectStore, path: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([block async for block in store.open(path, start, end)])


def files_below(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


async def test_what_was_put_is_read_back_with_its_size_and_hash(store: LocalObjectStore) -> None:
    stored = await store.put(PATH, stream(b"tea ", b"and", b" tides"))
    assert (stored.path, stored.size) == (PATH, 13)
    assert stored.sha256 == hashlib.sha256(b"tea and tides").hexdigest()
    assert await read(store, PATH) == b"tea and tides"
    assert await store.size(PATH) == 13


async def test_an_empty_object_is_an_object(store: LocalObjectStore) -> None:
    stored = await store.put(PATH, stream())
    assert stored.size == 0
    assert await store.exists(PATH)
    assert await read(store, PATH) == b""


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(0, 3, b"012"), (4, None, b"456789"), (8, 99, b"89"), (3, 3, b""), (10, None, b"")]
)
async def test_a_range_ends_before_its_end(
    store: LocalObjectStore, start: int, end: int | None, expected: bytes
) -> None:
    await store.put(PATH, stream(b"0123456789"))
    assert await read(store, PATH, start, end) == expected


async def test_a_large_object_is_written_and_read_in_blocks(store: LocalObjectStore) -> None:
    content = bytes(range(256)) * 12_000
    await store.put(PATH, stream(*(content[at : at + 70_000] for at in range(0, len(content), 70_000))))
    blocks = [block async for block in store.open(PATH)]
    assert b"".join(blocks) == content
    assert max(map(len, blocks)) <= local.BLOCK


async def test_bytes_over_the_limit_are_refused_while_streaming_and_leave_nothing(
    store: LocalObjectStore, tmp_path: Path
) -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 1
            yield b"x" * local.BLOCK

    with pytest.raises(ObjectTooLarge):
        await store.put(PATH, endless(), limit=3 * local.BLOCK)
    assert pulled == 4
    assert files_below(tmp_path) == []


async def test_exactly_the_limit_is_accepted(store: LocalObjectStore) -> None:
    assert (await store.put(PATH, stream(b"12345"), limit=5)).size == 5


async def test_a_put_that_breaks_off_leaves_the_old_object(store: LocalObjectStore, tmp_path: Path) -> None:
    await store.put(PATH, stream(b"old"))

    async def broken() -> AsyncIterator[bytes]:
        yield b"n" * (local.BLOCK + 1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put(PATH, broken())
    assert await read(store, PATH) == b"old"
    assert files_below(tmp_path) == ["original.txt"]


async def test_a_cancelled_put_leaves_nothing(store: LocalObjectStore, tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"n" * (local.BLOCK + 1)
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put(PATH, stalled()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "a\0b", "a\\..\\b", "a/.incoming-1"]
)
async def test_a_path_that_leaves_the_store_is_refused(store: LocalObjectStore, path: str) -> None:
    with pytest.raises(InvalidObjectPath):
        await store.put(path, stream(b"x"))
    with pytest.raises(InvalidObjectPath):
        await store.exists(path)


async def test_what_is_not_there_is_missing(store: LocalObjectStore) -> None:
    await store.put(PATH, stream(b"x"))
    for path in ("user-u1/none", "user-u1/col1/doc1/original.txt/below"):
        with pytest.raises(ObjectMissing):
            await store.size(path)
        with pytest.raises(ObjectMissing):
            await read(store, path)
        assert not await store.exists(path)


async def test_deletes_are_idempotent_and_stay_within_their_prefix(store: LocalObjectStore) -> None:
    for name in ("doc1/original.txt", "doc1/parsed.md", "doc10/original.txt"):
        await store.put(f"user-u1/col1/{name}", stream(b"x"))
    for _ in range(2):
        await store.delete("user-u1/col1/doc1/parsed.md")
        await store.delete_prefix("user-u1/col1/doc1")
    assert await store.prefixes("user-u1/col1") == ["user-u1/col1/doc10"]
    assert await store.exists("user-u1/col1/doc10/original.txt")


async def test_listings_show_objects_with_their_age_but_no_temporary_file(
    store: LocalObjectStore, tmp_path: Path
) -> None:
    await store.put(PATH, stream(b"abc"))
    (tmp_path / "objects/user-u1/col1/doc1/.incoming-dead").write_bytes(b"half")
    (found,) = [info async for info in store.objects()]
    assert (found.path, found.size) == (PATH, 3)
    assert datetime.now(UTC) - found.modified < timedelta(minutes=1)
    assert await store.prefixes() == ["user-u1"]
    assert [info async for info in store.objects("user-none")] == []


def test_layout_is_the_contracts() -> None:
    prefix = layout.document_prefix("auth0|7", "col1", "doc1")
    assert layout.original(prefix, ".pdf") == "user-auth0-7/col1/doc1/original.pdf"
    assert layout.parsed(prefix, "ab" * 32, "reader-4.1/2+eng") == (
        "user-auth0-7/col1/doc1/parsed-abababababababab-reader-4.1-2-eng.md"
    )
    assert layout.prefix_of("user-u/col1/doc1/original.pdf") == "user-u/col1/doc1"
