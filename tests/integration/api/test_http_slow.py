"""A thousand uploads that drip, over real sockets: nobody else waits for them, and nothing stays of them."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from aperag_common.http.descriptors import use_all_descriptors
from aperag_common.http.server import HttpServer
from aperag_common.objects.local import BLOCK
from aperag_common.settings import HttpSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastapi import FastAPI

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings

Person = Any

SLOW = 1000
FEW = 20
DRIP_SECONDS = 2.0
PATIENCE = 150.0
MIB = 1024 * 1024
BEGIN = b'--B\r\nContent-Disposition: form-data; name="files"; filename="slow.txt"\r\n\r\n'


@asynccontextmanager
async def serving(app: FastAPI, **values: Any) -> AsyncIterator[int]:
    server = HttpServer(HttpSettings(port=0, **values), app)
    await server.start()
    yield server.port
    await server.stop()


class Slow:
    """Uploads whose documents begin with ``first`` bytes and go on byte by byte, until they are told to stop."""

    def __init__(self, port: int, person: Person, collection: str, *, first: int) -> None:
        self._port = port
        self._first = first
        length = len(BEGIN) + 10 * MIB
        self._head = (
            f"POST /api/v1/collections/{collection}/documents HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: {person.http.headers['authorization']}\r\n"
            f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {length}\r\n\r\n"
        ).encode() + BEGIN
        self.begun = 0
        self.answers: list[bytes] = []
        self.dripping = True

    async def one(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        with suppress(ConnectionError):
            writer.write(self._head + b"x" * self._first)
            await writer.drain()
            self.begun += 1
            while self.dripping:
                writer.write(b"x")
                await asyncio.sleep(DRIP_SECONDS)
            self.answers.append(await reader.read(200))
        writer.close()

    @asynccontextmanager
    async def many(self, count: int) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.one()) for _ in range(count)]
        try:
            await until(self._all_of(count), within=PATIENCE)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _all_of(self, count: int) -> Callable[[], Any]:
        async def begun() -> bool:
            return self.begun == count

        return begun


def incoming(settings: Settings) -> int:
    """How many temporary files there are."""
    walked = os.walk(settings.objects.directory)  # which minds no directory that goes meanwhile
    return sum(name.startswith(".incoming-") for _, _, names in walked for name in names)


@pytest.mark.timeout(500)
@pytest.mark.parametrize("number", [200, pytest.param(SLOW, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "settings", [{"max_document_size": 100 * MIB, "max_uploads_per_user": 2 * SLOW}], indirect=True
)
async def test_slow_uploads_stop_nobody_and_leave_nothing(
    app: FastAPI, settings: Settings, alice: Person, mallory: Person, indexer: Any, number: int
) -> None:
    if use_all_descriptors() < number:
        pytest.skip("this system allows too few file descriptors")
    collection, other = await alice.collection(), await mallory.collection()
    descriptors = psutil.Process().num_fds()
    # Above the rate that is asked for, as the smartest of attackers would stay.
    async with serving(app, body_timeout=timedelta(seconds=20), body_rate=1) as port:
        slow = Slow(port, mallory, other, first=BLOCK + 1)
        slow._first = BLOCK + 40 * 1024

        async def arrived() -> bool:
            return incoming(settings) == number

        async def gone() -> bool:
            return incoming(settings) == 0 and len(slow.answers) == number

        async with slow.many(number):
            await until(arrived, within=PATIENCE)
            base = f"http://127.0.0.1:{port}/api/v1"
            async with httpx.AsyncClient(
                base_url=base, headers=alice.http.headers, timeout=20, trust_env=False
            ) as client:
                answer = await client.post(f"/collections/{collection}/documents", files={"files": ("a.txt", b"tea")})
                assert answer.status_code == 200, answer.text
                await indexer.settle(answer.json()["items"][0]["id"], "tea")
                query = {"query": "tea", "fulltext_search": {"topk": 3}}
                found = await client.post(f"/collections/{collection}/searches", json=query)
                assert [item["content"] for item in found.json()["items"]] == ["tea"]
            assert incoming(settings) == number
            slow.dripping = False
            await until(gone, within=PATIENCE)
        assert {answer[:12] for answer in slow.answers} == {b"HTTP/1.1 408"}

    async def closed() -> bool:
        return psutil.Process().num_fds() <= descriptors + FEW

    await until(closed, within=PATIENCE)
    assert (await mallory.http.get(f"/collections/{other}/documents")).json()["total"] == 0
    assert not any(files for _, _, files in os.walk(settings.objects.directory / mallory.id))


@pytest.mark.parametrize("settings", [{"max_uploads_per_user": 3}], indirect=True)
async def test_one_user_has_a_share_of_what_may_arrive_at_a_time(
    app: FastAPI, gateway: Gateway, alice: Person, mallory: Person
) -> None:
    collection, other = await alice.collection(), await mallory.collection()

    async def counted() -> bool:
        return gateway.knowledge.uploads.arrivals._arriving[mallory.id] == 3

    async with serving(app) as port:
        slow = Slow(port, mallory, other, first=10)
        async with slow.many(3):
            await until(counted)
            refused = await mallory.upload(other, ("a.txt", "tea"))
            assert (refused.status_code, refused.json()["error_code"]) == (429, "RATE_LIMIT_EXCEEDED")
            assert refused.headers["retry-after"] == "5"
            assert (await alice.upload(collection, ("a.txt", "tea"))).status_code == 200

    async def room() -> bool:
        return (await mallory.upload(other, ("a.txt", "tea"))).status_code == 200

    await until(room)


@pytest.mark.parametrize("settings", [{"min_free_space": 2**60}], indirect=True)
async def test_a_full_disk_takes_no_documents(alice: Person, settings: Settings) -> None:
    collection = await alice.collection()
    answer = await alice.upload(collection, ("a.txt", "tea"))
    assert (answer.status_code, answer.json()["error_code"]) == (503, "STORAGE_FULL")
    assert int(answer.headers["retry-after"]) > 0
    assert not settings.objects.directory.exists() or not any(settings.objects.directory.rglob("*.txt"))
