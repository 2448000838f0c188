"""Bodies that are too large, or never end, over real connections: refused while they arrive, in little memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from aperag_testing.refusals import DETAIL, misshapen
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_api.edge.settings import Settings

Person = Any
Victim = Any

MIB = 1024 * 1024
LARGEST = 100 * MIB
HEADROOM = 48 * MIB
"""What a transfer may cost: buffers of both sides, of which this process is one. Far from the size of a document."""

FORM = {"content-type": "multipart/form-data; boundary=BOUND"}
HEAD = b'--BOUND\r\nContent-Disposition: form-data; name="files"; filename="large.txt"\r\n\r\n'
TAIL = b"\r\n--BOUND--\r\n"

production = pytest.mark.parametrize("settings", [{"max_document_size": LARGEST}], indirect=True)


class Sending:
    """A body of any size that is made while it is sent, and the most memory this process held meanwhile."""

    def __init__(self, size: int, *, head: bytes = b"", tail: bytes = b"") -> None:
        self._parts = (head, size, tail)
        self._before = self._most = psutil.Process().memory_info().rss

    @property
    def cost(self) -> int:
        return self._most - self._before

    async def chunks(self) -> AsyncIterator[bytes]:
        head, left, tail = self._parts
        process, block = psutil.Process(), b"x" * 65_536
        yield head
        while left > 0:
            yield block[:left]
            left -= len(block)
            self._most = max(self._most, process.memory_info().rss)
        yield tail


@pytest.fixture
async def one_connection(served: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(
        base_url=served.base_url, headers=served.headers, timeout=60, limits=limits, trust_env=False
    ) as client:
        yield client


async def connection(client: httpx.AsyncClient) -> int:
    """The port that this client comes from: another one means that the connection was lost and made again."""
    answer = await client.get("/collections")
    assert answer.status_code == 200
    stream = answer.extensions["network_stream"]
    return int(stream.get_extra_info("client_addr")[1])


@production
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("size", [LARGEST + 1, 3 * LARGEST])
async def test_a_document_over_100_mib_is_refused_and_the_connection_lives_on(
    one_connection: httpx.AsyncClient, victim: Victim, size: int
) -> None:
    before = await connection(one_connection)
    body = Sending(size, head=HEAD, tail=TAIL)
    answer = await one_connection.post(victim.documents, content=body.chunks(), headers=FORM)
    assert misshapen(answer, 400, "INVALID_PARAMETER") == []
    assert answer.json()["details"] == {"max_document_size": LARGEST}
    assert body.cost < HEADROOM
    assert await connection(one_connection) == before


@production
async def test_a_document_of_100_mib_is_accepted(served: httpx.AsyncClient, victim: Victim) -> None:
    body = Sending(LARGEST, head=HEAD, tail=TAIL)
    answer = await served.post(victim.documents, content=body.chunks(), headers=FORM)
    assert answer.status_code == 200, answer.text
    assert answer.json()["items"][0]["size"] == LARGEST
    assert body.cost < HEADROOM


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "headers",
    [{"content-type": "application/json"}, FORM, {"content-type": "multipart/related"}, {"content-type": "text/plain"}],
    ids=lambda headers: headers["content-type"].partition(";")[0],
)
async def test_a_body_that_is_gathered_stays_small_whatever_it_claims_to_be(
    one_connection: httpx.AsyncClient, victim: Victim, headers: dict[str, str]
) -> None:
    before = await connection(one_connection)
    for path in ("/collections", f"{victim.documents}/confirm", f"/collections/{victim.collection}/searches"):
        body = Sending(64 * MIB, head=HEAD)
        answer = await one_connection.post(path, content=body.chunks(), headers=headers)
        assert misshapen(answer, 413, DETAIL) == []
        assert body.cost < HEADROOM
    assert await connection(one_connection) == before


@pytest.mark.usefixtures("untouched")
async def test_a_field_that_nobody_asked_for_costs_no_memory(served: httpx.AsyncClient, victim: Victim) -> None:
    body = Sending(64 * MIB, head=HEAD.replace(b'"files"', b'"other"'), tail=TAIL)
    answer = await served.post(victim.documents, content=body.chunks(), headers=FORM)
    assert misshapen(answer, 422, DETAIL) == []
    assert body.cost < HEADROOM


REFUSALS: dict[str, tuple[int, str, str, dict[str, str], bytes]] = {
    "no key": (401, DETAIL, "{documents}", {**FORM, "authorization": "Bearer sk-none"}, HEAD),
    "no collection": (404, "COLLECTION_NOT_FOUND", "/collections/colunknown/documents", FORM, HEAD),
    "no suffix": (400, "INVALID_PARAMETER", "{documents}", FORM, HEAD.replace(b".txt", b"")),
    "no form": (422, DETAIL, "{documents}", {"content-type": "application/octet-stream"}, HEAD),
    "no such path": (404, DETAIL, "/nowhere", FORM, HEAD),
    "no such method": (405, DETAIL, "{documents}/{document}", FORM, HEAD),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("reason", REFUSALS)
async def test_a_refusal_reaches_a_client_that_is_still_sending(
    one_connection: httpx.AsyncClient, victim: Victim, reason: str
) -> None:
    status, code, path, headers, head = REFUSALS[reason]
    before = await connection(one_connection)
    body = Sending(32 * MIB, head=head, tail=TAIL)
    url = path.format(documents=victim.documents, document=victim.document)
    answer = await one_connection.post(url, content=body.chunks(), headers=headers)
    assert misshapen(answer, status, code) == []
    assert body.cost < HEADROOM
    assert await connection(one_connection) == before


@production
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("framing", ["Content-Length: 90000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("route", ["", "/upload"])
async def test_a_client_that_hangs_up_leaves_nothing_behind(
    served: httpx.AsyncClient,
    alice: Person,
    victim: Victim,
    settings: Settings,
    logged: list[Any],
    framing: str,
    route: str,
) -> None:
    before = entries(settings)
    content = (HEAD.replace(b'"files"', b'"file"') if route else HEAD) + b"x" * 4 * MIB
    lines = [
        f"POST /api/v1{victim.documents}{route} HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {alice.key}",
        f"Content-Type: {FORM['content-type']}",
        framing,
    ]
    _, writer = await asyncio.open_connection(served.base_url.host, served.base_url.port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    writer.write(content if framing.startswith("Content") else b"%X\r\n%s\r\n" % (len(content), content))

    async def arriving() -> bool:
        return entries(settings) > before

    async def abandoned() -> bool:
        return any(line["event"] == "request.abandoned" for line in logged)

    await until(arriving)
    writer.close()
    await writer.wait_closed()
    await until(abandoned)
    assert entries(settings) == before


def entries(settings: Settings) -> set[str]:
    return {str(path) for path in settings.objects.directory.rglob("*")}
