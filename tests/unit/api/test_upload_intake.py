"""What becomes of an upload's bytes when the upload does not end well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.requests import ClientDisconnect

from aperag_api.kernel.multipart import MultipartBody
from aperag_api.knowledge.uploads.intake import Intake, Limits
from aperag_common import errors
from aperag_common.objects import LocalObjectStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def intake(directory: Path, *, break_off: bool = False) -> Intake:
    parts = [("files", (name, name.encode())) for name in ("a.txt", "b.txt")]
    request = httpx.Request("POST", "http://host", files=parts)
    body = request.read()

    async def chunks() -> AsyncIterator[bytes]:
        yield body[: len(body) // 2 + 40] if break_off else body
        if break_off:
            raise ClientDisconnect

    form = MultipartBody(request.headers["content-type"], chunks())
    return Intake(LocalObjectStore(directory), form, "user1", "col1", Limits(1000, 5, 5))


def stored(directory: Path) -> list[str]:
    return [path.read_text() for path in sorted(directory.rglob("*")) if path.is_file()]


async def test_kept_documents_stay_and_the_others_go(tmp_path: Path) -> None:
    async with intake(tmp_path) as request:
        received = await request.receive("files", at_most=5)
        assert [document.name for document in received] == ["a.txt", "b.txt"]
        request.keep(received[1].id)
    assert stored(tmp_path) == ["b.txt"]


async def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClientDisconnect):
        async with intake(tmp_path, break_off=True) as request:
            await request.receive("files", at_most=5)
    assert stored(tmp_path) == []


async def test_a_refusal_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(errors.Conflict):
        async with intake(tmp_path) as request:
            await request.receive("files", at_most=5)
            request.committing = True
            raise errors.Conflict("taken")
    assert stored(tmp_path) == []


async def test_bytes_stay_where_the_commit_may_have_happened(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        async with intake(tmp_path) as request:
            await request.receive("files", at_most=5)
            request.committing = True
            raise ConnectionError
    assert sorted(stored(tmp_path)) == ["a.txt", "b.txt"]
