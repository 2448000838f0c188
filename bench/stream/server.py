"""``python -m bench.stream.server``: what a turn's stream looks like over a queue in the process, or over Redis."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from aperag_api.conversation.turns.stream import frame_of
from aperag_common.http.server import HttpServer
from aperag_common.live.events import TERMINAL, TurnEvent, TurnEventKind
from aperag_common.settings import HttpSettings
from bench.stream.agent import STOP
from bench.stream.load import Load, speak

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response


async def _frames(events: AsyncIterator[TurnEvent]) -> AsyncIterator[bytes]:
    """The same bytes as the gateway's, so that readers have the same to do."""
    yield b"retry: 1000\n\n"
    async for event in events:
        yield frame_of(event.message, "bench")
        if event.kind in TERMINAL:
            return


def _app(follow: Callable[[str], AsyncIterator[TurnEvent]], *more: Route) -> Starlette:
    async def events(request: Request) -> Response:
        return StreamingResponse(_frames(follow(request.path_params["turn"])), media_type="text/event-stream")

    return Starlette(routes=[Route("/api/v1/turns/{turn}/events", events), *more])


def in_process() -> Starlette:
    """As ApeRAG has it: the agent runs in the gateway, and a queue lies between them. ``POST /speak`` starts it."""
    queues: dict[str, asyncio.Queue[TurnEvent]] = defaultdict(asyncio.Queue)
    speaking: set[asyncio.Task[None]] = set()

    async def follow(turn: str) -> AsyncIterator[TurnEvent]:
        while True:
            yield await queues[turn].get()

    async def speak_(request: Request) -> Response:
        task = asyncio.create_task(_speak_in_process(await request.json(), queues))
        speaking.add(task)
        return StreamingResponse(iter([b"{}"]))

    return _app(follow, Route("/speak", speak_, methods=["POST"]))


async def _speak_in_process(plan: dict[str, Any], queues: dict[str, asyncio.Queue[TurnEvent]]) -> None:
    turns, seqs = plan["turns"], [0] * len(plan["turns"])

    async def say(turn: int, words: str) -> None:
        seqs[turn] += 1
        queues[turns[turn]].put_nowait(TurnEvent(1, seqs[turn], TurnEventKind.MESSAGE, {"text": words}, 0.0))

    await speak(Load(len(turns), plan["rate"], plan["seconds"]), say)
    for turn in turns:
        queues[turn].put_nowait(TurnEvent(1, 0, TurnEventKind.STOP, STOP, 0.0))


def over_redis(url: str) -> Starlette:
    # Only where Redis is compared.
    from redis.asyncio import Redis  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    redis = Redis.from_url(url, max_connections=10_000)

    async def follow(turn: str) -> AsyncIterator[TurnEvent]:
        async with redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(turn)
            async for message in channel.listen():
                yield TurnEvent.decode(message["data"])

    return _app(follow)


async def _serve(app: Starlette) -> None:
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    sys.stdout.write(json.dumps({"port": server.port}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started it lets go
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_serve(over_redis(sys.argv[2]) if sys.argv[1] == "redis" else in_process()))
