"""A TCP connection that can be made slow, silent or dead between a service and what it talks to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = "127.0.0.1"
BLOCK = 16 * 1024


class Way(StrEnum):
    """Directions, as the client sees them."""

    THERE = "there"
    BACK = "back"


@dataclass(slots=True)
class Lane:
    """What happens to the bytes of one direction, of every connection; changes count for the next block.

    ``delay`` are seconds that each block waits, ``rate`` bytes per second that pass, ``silent`` swallows what
    comes, and after ``cut_after`` further bytes all connections are cut. ``carried`` counts what has passed.
    """

    delay: float = 0.0
    rate: float | None = None
    silent: bool = False
    cut_after: int | None = None
    carried: int = 0


@dataclass(slots=True)
class FaultProxy:
    """Forwards to one target. Every fault stays until ``heal``; nothing here happens by chance.

    A half-open connection is one with a ``silent`` direction: each side believes that the other still listens.
    What was swallowed is lost, as after a host that went away, so ``heal`` cuts connections that lost something.
    """

    host: str
    port: int
    lanes: dict[Way, Lane] = field(default_factory=lambda: {way: Lane() for way in Way})
    accepted: int = 0
    _refusing: bool = False
    _server: asyncio.Server | None = None
    _address: tuple[str, int] = (LOOPBACK, 0)
    _links: set[_Link] = field(default_factory=set)
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def listening(self) -> tuple[str, int]:
        """Host and port, the same during the whole life of the proxy."""
        return self._address

    @property
    def open_connections(self) -> int:
        return len(self._links)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, *self._address)
        self._address = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def delay(self, seconds: float, *ways: Way) -> None:
        for lane in self._chosen(ways):
            lane.delay = seconds

    def throttle(self, bytes_per_second: float, *ways: Way) -> None:
        for lane in self._chosen(ways):
            lane.rate = bytes_per_second

    def silence(self, *ways: Way) -> None:
        """Half open: connections stay and new ones are accepted, but what is sent goes nowhere."""
        for lane in self._chosen(ways):
            lane.silent = True

    def cut(self) -> None:
        """Both sides of every connection at once, as a reset; new ones are made as before."""
        for link in list(self._links):
            self._links.discard(link)
            link.abort()

    def cut_after(self, number: int, *ways: Way) -> None:
        """Once, when ``number`` more bytes have passed in that direction: those pass, the next one does not."""
        for lane in self._chosen(ways):
            lane.cut_after = number

    def refuse(self) -> None:
        """Cut, and let every new connection end as soon as it is made."""
        self._refusing = True
        self.cut()

    def heal(self) -> None:
        """Forward everything again."""
        self._refusing = False
        for lane in self.lanes.values():
            lane.delay, lane.rate, lane.silent, lane.cut_after = 0.0, None, False, None
        for link in list(self._links):
            if link.lossy:
                self._links.discard(link)
                link.abort()

    def _chosen(self, ways: tuple[Way, ...]) -> list[Lane]:
        return [self.lanes[way] for way in ways or tuple(Way)]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, back)
        self._links.add(link)
        for way, source, target in ((Way.THERE, reader, back), (Way.BACK, there, writer)):
            task = asyncio.create_task(self._carry(link, self.lanes[way], source, target))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _carry(self, link: _Link, lane: Lane, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """One direction of one connection, until either side ends."""
        try:
            while block := await source.read(BLOCK):
                if lane.silent:
                    link.lossy = True
                    continue
                await asyncio.sleep(lane.delay + (len(block) / lane.rate if lane.rate else 0.0))
                if not await self._forward(link, lane, block, target):
                    return
            if lane.silent:
                # The end is not heard of either: the other side goes on believing in this connection.
                link.lossy = True
                return
        except OSError:
            pass
        self._end(link)

    async def _forward(self, link: _Link, lane: Lane, block: bytes, target: asyncio.StreamWriter) -> bool:
        """False where this block reached the cut."""
        limit = lane.cut_after
        reached = limit is not None and len(block) > limit
        passing = block[:limit] if reached else block
        if limit is not None:
            lane.cut_after = None if reached else limit - len(passing)
        target.write(passing)
        await target.drain()
        lane.carried += len(passing)
        if reached:
            # What was let through still arrives: a reset could take it back out of the other side's buffer.
            self._end(link)
            self.cut()
        return not reached

    def _end(self, link: _Link) -> None:
        self._links.discard(link)
        link.close()


@dataclass(eq=False, slots=True)
class _Link:
    """The two ends of one connection; ``lossy`` once bytes of it were swallowed."""

    client: asyncio.StreamWriter
    target: asyncio.StreamWriter
    lossy: bool = False

    def abort(self) -> None:
        for writer in (self.client, self.target):
            writer.transport.abort()

    def close(self) -> None:
        for writer in (self.client, self.target):
            writer.close()


@asynccontextmanager
async def fault_proxy(host: str, port: int) -> AsyncIterator[FaultProxy]:
    """In front of one server, for the length of the block."""
    proxy = FaultProxy(host, port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
