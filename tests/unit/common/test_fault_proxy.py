"""The faults of the proxy are exactly those that a test asks for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from aperag_testing.proxy import FaultProxy, Way, fault_proxy
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

PATIENCE = 30.0


@dataclass(slots=True)
class Target:
    """A server that keeps what it is sent; the tests answer by hand."""

    received: bytearray = field(default_factory=bytearray)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ended: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while block := await reader.read(65536):
                self.received += block
        except ConnectionError:
            pass
        self.ended += 1
        writer.close()

    async def has(self, content: bytes) -> None:
        async def holds() -> bool:
            return bytes(self.received) == content

        await until(holds, every=0.01)

    async def has_ended(self, connections: int) -> None:
        async def ended() -> bool:
            return self.ended == connections

        await until(ended, every=0.01)


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
async def proxy(target: Target) -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with fault_proxy(host, port) as proxy:
        yield proxy
    server.close()


async def connect(proxy: FaultProxy) -> Streams:
    return await asyncio.open_connection(*proxy.listening)


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """What still came before the connection ended, in whatever way."""
    came = b""
    async with asyncio.timeout(PATIENCE):
        try:
            while block := await reader.read(65536):
                came += block
        except ConnectionError:
            pass
    return came


async def exchange(proxy: FaultProxy, target: Target, content: bytes = b"ping") -> Streams:
    """A connection that has carried something in both directions."""
    before = bytes(target.received)
    reader, writer = await connect(proxy)
    writer.write(content)
    await target.has(before + content)
    target.writers[-1].write(b"pong")
    async with asyncio.timeout(PATIENCE):
        assert await reader.readexactly(4) == b"pong"
    return reader, writer


async def test_without_a_fault_bytes_pass_both_ways(proxy: FaultProxy, target: Target) -> None:
    reader, writer = await exchange(proxy, target)
    assert (proxy.lanes[Way.THERE].carried, proxy.lanes[Way.BACK].carried) == (4, 4)
    writer.close()
    assert await end_of(reader) == b""
    await target.has_ended(1)
    assert proxy.open_connections == 0


async def test_a_delayed_block_arrives_later_and_whole(proxy: FaultProxy, target: Target) -> None:
    proxy.delay(0.3, Way.THERE)
    started = time.monotonic()
    await exchange(proxy, target)
    assert time.monotonic() - started >= 0.3


async def test_a_throttled_direction_carries_no_more_than_its_rate(proxy: FaultProxy, target: Target) -> None:
    proxy.throttle(100_000)
    content = b"x" * 40_000
    started = time.monotonic()
    _, writer = await connect(proxy)
    writer.write(content)
    await target.has(content)
    assert time.monotonic() - started >= 0.4


async def test_a_cut_ends_both_sides_of_every_connection_and_lets_new_ones_be_made(
    proxy: FaultProxy, target: Target
) -> None:
    first, _ = await exchange(proxy, target)
    second, _ = await exchange(proxy, target)
    proxy.cut()
    assert [await end_of(first), await end_of(second)] == [b"", b""]
    await target.has_ended(2)
    await exchange(proxy, target)


async def test_a_cut_after_so_many_bytes_lets_exactly_those_pass(proxy: FaultProxy, target: Target) -> None:
    proxy.cut_after(10, Way.THERE)
    reader, writer = await connect(proxy)
    writer.write(b"0123456789abcdef")
    await target.has(b"0123456789")
    assert await end_of(reader) == b""
    await target.has_ended(1)
    assert bytes(target.received) == b"0123456789"
    await exchange(proxy, target, b"again")  # the cut comes once


async def test_bytes_up_to_the_cut_may_come_in_several_blocks(proxy: FaultProxy, target: Target) -> None:
    proxy.cut_after(8, Way.THERE)
    reader, _ = await exchange(proxy, target, b"abcd")
    await exchange(proxy, target, b"efgh")
    _, third = await connect(proxy)
    third.write(b"i")
    assert await end_of(reader) == b""
    assert bytes(target.received) == b"abcdefgh"


async def test_a_half_open_connection_swallows_one_direction_only(proxy: FaultProxy, target: Target) -> None:
    reader, writer = await exchange(proxy, target)
    proxy.silence(Way.THERE)
    writer.write(b"lost")
    target.writers[0].write(b"heard")
    async with asyncio.timeout(PATIENCE):
        assert await reader.readexactly(5) == b"heard"
    assert bytes(target.received) == b"ping"
    assert proxy.open_connections == 1


async def test_while_half_open_new_connections_are_accepted_and_the_end_of_one_is_not_heard(
    proxy: FaultProxy, target: Target
) -> None:
    proxy.silence()
    _, writer = await connect(proxy)
    writer.write(b"lost")
    writer.close()
    await writer.wait_closed()

    async def swallowed() -> bool:
        return proxy.open_connections == 1 and len(target.writers) == 1

    await until(swallowed, every=0.01)
    await exchange_fails(proxy)
    assert (bytes(target.received), target.ended) == (b"", 0)


async def exchange_fails(proxy: FaultProxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"x")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1)


async def test_healing_cuts_what_has_lost_bytes_and_keeps_what_has_not(proxy: FaultProxy, target: Target) -> None:
    torn, torn_writer = await exchange(proxy, target)
    whole, _ = await exchange(proxy, target)
    proxy.silence(Way.THERE)
    torn_writer.write(b"lost")

    async def lossy() -> bool:
        return any(link.lossy for link in proxy._links)

    await until(lossy, every=0.01)
    proxy.heal()
    assert await end_of(torn) == b""
    target.writers[1].write(b"still here")
    async with asyncio.timeout(PATIENCE):
        assert await whole.readexactly(10) == b"still here"


async def test_while_it_refuses_no_connection_lasts_and_healed_it_listens_at_the_same_address(
    proxy: FaultProxy, target: Target
) -> None:
    address = proxy.listening
    reader, _ = await exchange(proxy, target)
    proxy.refuse()
    assert await end_of(reader) == b""
    refused, _ = await connect(proxy)
    assert await end_of(refused) == b""
    assert len(target.writers) == 1
    proxy.heal()
    assert proxy.listening == address
    await exchange(proxy, target)


async def test_a_target_that_is_away_ends_the_connection(target: Target) -> None:
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    async with fault_proxy(host, port) as proxy:
        reader, _ = await connect(proxy)
        assert await end_of(reader) == b""
