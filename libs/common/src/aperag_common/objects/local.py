"""Objects as files below one directory of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from aperag_common.objects.port import InvalidObjectPath, ObjectInfo, ObjectMissing, ObjectTooLarge, StoredObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BLOCK = 256 * 1024
"""Bytes gathered before a thread writes them: small documents cost one hop, a thousand slow ones little memory."""

_TEMPORARY = ".incoming-"
_NO_OBJECT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG))
"""What the file system says of paths that name no object; a name too long to exist is one of them."""


class LocalObjectStore:
    """Written to a temporary name, synced, then renamed: a crash leaves the old object or the new one.

    File and directory entries are synced before ``put`` answers. Temporary files of a crash are no objects:
    no listing shows them, and they go with their document's prefix.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory.resolve()

    async def put(self, path: str, chunks: AsyncIterator[bytes], *, limit: int | None = None) -> StoredObject:
        incoming, gathered, total = _Incoming(self._file(path), self._root), bytearray(), 0
        try:
            async for chunk in chunks:
                if len(gathered) >= BLOCK:
                    await _to_the_end(incoming.write, bytes(gathered))
                    gathered.clear()
                total += len(chunk)
                if limit is not None and total > limit:
                    raise ObjectTooLarge(f"more than {limit} bytes")
                gathered += chunk
            await _to_the_end(incoming.commit, bytes(gathered))
        finally:
            incoming.close()
        return StoredObject(path, incoming.size, incoming.digest.hexdigest())

    async def open(self, path: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        handle = await asyncio.to_thread(_open, self._file(path), path)
        try:
            await asyncio.to_thread(handle.seek, start)
            left = None if end is None else end - start
            while left is None or left > 0:
                block = await asyncio.to_thread(handle.read, BLOCK if left is None else min(BLOCK, left))
                if not block:
                    return
                left = None if left is None else left - len(block)
                yield block
        finally:
            handle.close()

    async def size(self, path: str) -> int:
        return await asyncio.to_thread(_size, self._file(path), path)

    async def exists(self, path: str) -> bool:
        return await asyncio.to_thread(self._file(path).is_file)

    async def delete(self, path: str) -> None:
        await asyncio.to_thread(self._file(path).unlink, missing_ok=True)

    async def delete_prefix(self, prefix: str) -> None:
        await asyncio.to_thread(_remove_tree, self._file(prefix))

    async def prefixes(self, prefix: str = "") -> list[str]:
        return await asyncio.to_thread(self._directories, prefix)

    async def objects(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        pending = [prefix]
        while pending:
            directory = pending.pop()
            for info in await asyncio.to_thread(self._files, directory):
                yield info
            pending += await asyncio.to_thread(self._directories, directory)

    async def last_change(self, prefix: str) -> datetime | None:
        return await asyncio.to_thread(_last_change, self._file(prefix))

    def local_path(self, path: str) -> Path | None:
        return self._file(path)

    def _file(self, path: str) -> Path:
        parts = path.split("/")
        legal = all(part not in ("", ".", "..") and not part.startswith(_TEMPORARY) for part in parts)
        if not legal or "\0" in path or "\\" in path:
            raise InvalidObjectPath("not a path of the object store")
        return self._root.joinpath(*parts)

    def _entries(self, prefix: str) -> list[os.DirEntry[str]]:
        directory = self._file(prefix) if prefix else self._root
        try:
            with os.scandir(directory) as found:
                return sorted(found, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _directories(self, prefix: str) -> list[str]:
        return [_join(prefix, e.name) for e in self._entries(prefix) if e.is_dir(follow_symlinks=False)]

    def _files(self, prefix: str) -> list[ObjectInfo]:
        found: list[ObjectInfo] = []
        for entry in self._entries(prefix):
            if not entry.is_file(follow_symlinks=False) or entry.name.startswith(_TEMPORARY):
                continue
            with contextlib.suppress(FileNotFoundError):
                stat = entry.stat(follow_symlinks=False)
                modified = datetime.fromtimestamp(stat.st_mtime, UTC)
                found.append(ObjectInfo(_join(prefix, entry.name), stat.st_size, modified))
        return found


class _Incoming:
    """One object on its way in: a temporary file beside its target. Every method may run in a thread."""

    def __init__(self, target: Path, root: Path) -> None:
        self._target = target
        self._root = root
        self._temporary = target.with_name(_TEMPORARY + secrets.token_hex(8))
        self._handle: BinaryIO | None = None
        self._created: list[Path] = []
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, block: bytes) -> None:
        handle = self._handle or self._start()
        handle.write(block)
        self.digest.update(block)
        self.size += len(block)

    def _start(self) -> BinaryIO:
        self._created = _make_directories(self._target.parent, self._root)
        self._handle = self._temporary.open("xb")
        return self._handle

    def commit(self, last: bytes) -> None:
        """With the last block: a small object costs one hop to a thread."""
        self.write(last)
        handle = self._handle or self._start()
        handle.flush()
        os.fsync(handle.fileno())
        handle.close()
        self._temporary.replace(self._target)
        self._handle = None
        for directory in {self._target.parent, *(made.parent for made in self._created)}:
            _sync_directory(directory)

    def close(self) -> None:
        """Leave nothing behind of what was not committed."""
        if self._handle is not None:
            self._handle.close()
            self._temporary.unlink(missing_ok=True)


async def _to_the_end(call: Callable[..., None], *args: bytes) -> None:
    """Run in a thread; a cancelled caller still waits, so that nothing writes behind its back."""
    running = asyncio.ensure_future(asyncio.to_thread(call, *args))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _missing(path: str) -> ObjectMissing:
    return ObjectMissing("no such object", details={"path": path})


def _size(file: Path, path: str) -> int:
    try:
        found = file.stat()
    except OSError as err:
        if err.errno in _NO_OBJECT:
            raise _missing(path) from err
        raise
    if not S_ISREG(found.st_mode):
        raise _missing(path)
    return found.st_size


def _open(file: Path, path: str) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as err:
        if err.errno in _NO_OBJECT:
            raise _missing(path) from err
        raise


def _make_directories(directory: Path, root: Path) -> list[Path]:
    """Create what is missing and return it, so that the new entries can be synced into their parents."""
    missing: list[Path] = []
    current = directory
    while not current.is_dir() and current != current.parent:
        missing.append(current)
        if current == root:
            break
        current = current.parent
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return missing


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last_change(directory: Path) -> datetime | None:
    """Temporary files and directories count too: each block that arrives touches one of them."""
    latest = 0.0
    for parent, _, names in os.walk(directory):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                latest = max(latest, path.lstat().st_mtime)
    return datetime.fromtimestamp(latest, UTC) if latest else None


def _remove_tree(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)
