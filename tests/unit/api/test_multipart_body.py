"""Multipart bodies, however the network cuts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from aperag_api.kernel.multipart import MultipartBody
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BINARY = bytes(range(256)) + b"\r\n--not-the-boundary\r\n"


def encoded(*parts: tuple[str, str, bytes]) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://host", files=[(field, (name, body)) for field, name, body in parts])
    return request.headers["content-type"], request.read()


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
    yield b""


async def read(content_type: str, chunks: AsyncIterator[bytes]) -> list[tuple[str, str | None, bytes]]:
    body = MultipartBody(content_type, chunks)
    return [(p.name, p.filename, b"".join([c async for c in p.chunks])) async for p in body.parts()]


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
async def test_parts_arrive_whole_in_any_cut(size: int) -> None:
    content_type, body = encoded(("files", "a.txt", b"one"), ("files", "한국.txt", BINARY), ("other", "c.txt", b""))
    assert await read(content_type, cut(body, size)) == [
        ("files", "a.txt", b"one"),
        ("files", "한국.txt", BINARY),
        ("other", "c.txt", b""),
    ]


async def test_a_part_that_is_not_read_is_skipped() -> None:
    content_type, body = encoded(("files", "a.txt", b"skipped" * 1000), ("files", "b.txt", b"read"))
    seen = []
    async for part in MultipartBody(content_type, cut(body, 50)).parts():
        seen.append(part.filename)
        if part.filename == "b.txt":
            assert b"".join([c async for c in part.chunks]) == b"read"
    assert seen == ["a.txt", "b.txt"]


async def test_a_body_cut_short_is_refused_rather_than_taken_as_whole() -> None:
    content_type, body = encoded(("files", "a.txt", b"complete"))
    with pytest.raises(errors.InvalidParameter):
        await read(content_type, cut(body[:-6], 10))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=b", b"no boundary at all"),
        ("multipart/form-data; boundary=" + "b" * 1000, b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
    ],
)
async def test_a_malformed_body_is_the_callers_fault(content_type: str, body: bytes) -> None:
    with pytest.raises(errors.InvalidParameter):
        await read(content_type, cut(body, 10))


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/mixed; boundary=b"])
async def test_what_is_no_form_has_no_parts_and_is_not_read(content_type: str) -> None:
    async def never() -> AsyncIterator[bytes]:
        pytest.fail("read")
        yield b""

    assert await read(content_type, never()) == []


async def test_draining_goes_on_where_the_parts_stopped_and_ends_at_its_bound() -> None:
    content_type, body = encoded(("files", "a.txt", b"x" * 10_000))
    read_bytes = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read_bytes
        async for chunk in cut(body, 100):
            read_bytes += len(chunk)
            yield chunk

    form = MultipartBody(content_type, counted())
    part = await anext(form.parts())
    await anext(part.chunks)
    await form.drain(1000)
    assert 1000 <= read_bytes <= 1500
    await form.drain(len(body))
    assert read_bytes == len(body)


def form(disposition: bytes) -> tuple[str, bytes]:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; ' + disposition
    return "multipart/form-data; boundary=b", head + b"\r\n\r\nbody\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"filename*=UTF-8''na%C3%AFve%20plan.txt", "naïve plan.txt"),
        (b"filename*=utf-8'ko'%EC%97%B0%EC%B0%A8.md", "연차.md"),
        (b"filename*=ISO-8859-1''caf%E9.txt", "café.txt"),
        (b"filename=\"plain.txt\"; filename*=UTF-8''%E2%82%AC.txt", "€.txt"),
        (b'filename="=?UTF-8?B?7Jew7LCo6rec7KCVLnR4dA==?="', "연차규정.txt"),
        (b'filename="=?utf-8?Q?na=C3=AFve.txt?="', "naïve.txt"),
        (b'filename="=?utf-8?B?broken"', "=?utf-8?B?broken"),
    ],
)
async def test_a_name_is_read_in_every_form_that_clients_write(disposition: bytes, name: str) -> None:
    content_type, body = form(disposition)
    assert await read(content_type, cut(body, 30)) == [("files", name, b"body")]


@pytest.mark.parametrize(
    "disposition", ['filename="연차.txt"'.encode("cp949"), b"filename*=UTF-8''caf%E9.txt", b"filename*=none''a.txt"]
)
async def test_a_name_that_is_no_text_is_refused_and_says_so(disposition: bytes) -> None:
    content_type, body = form(disposition)
    with pytest.raises(errors.InvalidParameter, match="send names as UTF-8"):
        await read(content_type, cut(body, 30))
