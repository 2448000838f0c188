"""``python -m bench.stream.agent``: plays the agents of many turns on NATS, or on Redis' channels."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from aperag_agent.live.publisher import TurnPublisher
from aperag_agent.live.sender import Sender
from aperag_common.bus import connection
from aperag_common.live.events import TurnEvent, TurnEventKind
from aperag_common.settings import NatsSettings
from bench.stream.load import Load, speak

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

STOP = {"outcome": "answered", "usage": {}, "references": []}


async def by_nats(plan: dict[str, Any]) -> None:
    """As an agent does it, but that nothing is held back for the piece that may follow: each is one event."""
    settings = NatsSettings(url=plan["url"], seed_file=plan["seed"])
    bus = await connection.connect(settings, service="agent", instance="bench")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)
        sender = Sender(bus.nc)
        stack.push_async_callback(sender.close)
        told = [await stack.enter_async_context(TurnPublisher(sender, turn, 1, coalesce=0.0)) for turn in plan["turns"]]

        async def say(turn: int, words: str) -> None:
            await told[turn].put({"type": "message", "data": {"text": words}})

        await _speak(plan, say)
        for each in told:
            await each.put({"type": "stop", "data": STOP})
        await sender.close()
        await bus.nc.flush()
        await asyncio.sleep(plan["linger"])  # whoever missed something asks now


async def by_redis(plan: dict[str, Any]) -> None:
    # Only where Redis is compared.
    from redis.asyncio import Redis  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    redis = Redis.from_url(plan["url"])
    sending = _Pipelined(redis)

    async def say(turn: int, words: str) -> None:
        sending.put(plan["turns"][turn], event_of(words))

    await _speak(plan, say)
    for turn in plan["turns"]:
        sending.put(turn, TurnEvent(1, 0, TurnEventKind.STOP, STOP, 0.0).encode())
    await sending.close()
    await redis.aclose()


class _Pipelined:
    """What comes while a batch is on its way goes with the next one, as with our own sender."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._waiting: list[tuple[str, bytes]] = []
        self._sending: asyncio.Task[None] | None = None

    def put(self, channel: str, payload: bytes) -> None:
        self._waiting.append((channel, payload))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def close(self) -> None:
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            together = self._redis.pipeline(transaction=False)
            for channel, payload in batch:
                together.publish(channel, payload)
            await together.execute()


def event_of(words: str) -> bytes:
    return TurnEvent(1, 0, TurnEventKind.MESSAGE, {"text": words}, 0.0).encode()


async def _speak(plan: dict[str, Any], say: Callable[[int, str], Awaitable[None]]) -> None:
    await speak(Load(len(plan["turns"]), plan["rate"], plan["seconds"]), say)


def main(arguments: Sequence[str]) -> None:
    plan = json.loads(sys.stdin.read())
    asyncio.run(by_nats(plan) if arguments == ["nats"] else by_redis(plan))


if __name__ == "__main__":
    main(sys.argv[1:])
