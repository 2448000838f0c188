"""The three ways from an agent to its readers, each with its servers, under one load at a time."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import psutil
from sqlalchemy import text

from aperag_common import ids
from bench.errors import BenchError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.stack import Stack
    from bench.stream.load import Load

PATIENCE = 15.0
LINGER = 3.0


@dataclass(frozen=True, slots=True)
class Trial:
    """Latencies in milliseconds; ``whole`` turns are those whose reader got every event once and one end."""

    load: Load
    heard: int
    whole: int
    p50: float
    p99: float
    max: float
    cpu_share: float
    """Of one core, all processes but the readers'."""


class Way(Protocol):
    """``urls`` are where readers connect, in turns."""

    @property
    def name(self) -> str: ...

    @property
    def urls(self) -> Sequence[str]: ...

    @property
    def key(self) -> str: ...

    async def open_turns(self, count: int) -> list[str]: ...

    async def speak(self, plan: dict[str, Any]) -> None:
        """Returns once it has begun."""
        ...

    def pids(self) -> list[int]: ...

    async def close_turns(self, turns: list[str], /) -> None: ...


async def attempt(way: Way, load: Load) -> Trial:
    turns = await way.open_turns(load.turns)
    plan = {"turns": turns, "rate": load.rate, "seconds": load.seconds, "events": load.events, "linger": LINGER}
    reading = {**plan, "urls": way.urls, "key": way.key, "patience": PATIENCE}
    reader = await _module("bench.stream.reader", given=reading)
    assert reader.stdout is not None
    if await reader.stdout.readline() != b"ready\n":
        message = f"the readers of {way.name} did not start"
        raise BenchError(message, hint="run `just bench stream` alone")
    await way.speak(plan)
    watched = [psutil.Process(pid) for pid in way.pids()]
    before = sum(sum(it.cpu_times()[:2]) for it in watched)
    answer = await reader.stdout.readline()
    spent = sum(sum(it.cpu_times()[:2]) for it in watched if it.is_running()) - before
    await reader.wait()
    await way.close_turns(turns)
    if not answer:
        message = f"the readers of {way.name} failed"
        raise BenchError(message, hint="run `just bench stream` alone")
    found: dict[str, Any] = {
        name: value if value is not None else float("inf") for name, value in json.loads(answer).items()
    }
    return Trial(load, cpu_share=spent / load.seconds, **found)


async def _module(module: str, *arguments: str, given: dict[str, Any] | None = None) -> Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    if given is not None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(given).encode())
        process.stdin.close()
    return process


class Subjects:
    """The real gateways of a stack; the bench holds the turns, as an agent would."""

    def __init__(self, stack: Stack, engine: AsyncEngine, gateways: Sequence[str]) -> None:
        self.name = f"NATS subjects (ours), {len(gateways)} gateway{'s' if len(gateways) > 1 else ''}"
        self.urls, self.key = [stack.url_of(name) for name in gateways], stack.api_key
        self._stack, self._engine, self._gateways = stack, engine, gateways
        self._agent: Process | None = None

    async def open_turns(self, count: int) -> list[str]:
        turns = [ids.new_turn_id() for _ in range(count)]
        chat = ids.new_chat_id()
        async with self._engine.begin() as conn:
            bot = (await conn.execute(text("SELECT id, owner FROM bot ORDER BY created LIMIT 1"))).one()
            await conn.execute(
                text(
                    "INSERT INTO chat (id, owner, bot_id, title, peer_type) VALUES (:id, :owner, :bot, 'b', 'system')"
                ),
                {"id": chat, "owner": bot.owner, "bot": bot.id},
            )
            values = {"owner": bot.owner, "chat": chat, "bot": bot.id}
            for ordinal, turn in enumerate(turns):
                await conn.execute(
                    _TURN, values | {"id": turn, "message": turn, "at": ordinal, "job": ids.new_job_id()}
                )
        return turns

    async def speak(self, plan: dict[str, Any]) -> None:
        seed = str(self._stack.home / "secrets" / "agent.nk")
        url = str(self._stack.state()["nats_url"])
        self._agent = await _module("bench.stream.agent", "nats", given={**plan, "url": url, "seed": seed})

    def pids(self) -> list[int]:
        assert self._agent is not None
        return [*(int(self._stack.unit(name)["pid"]) for name in (*self._gateways, "nats")), self._agent.pid]

    async def close_turns(self, turns: list[str]) -> None:
        if self._agent is not None:
            await self._agent.wait()
        async with self._engine.begin() as conn:
            await conn.execute(text("DELETE FROM turn WHERE id = ANY(:turns)"), {"turns": turns})


_TURN = text(
    """
    WITH asked AS (
        INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, run, credential)
        VALUES (:id, :owner, :chat, :bot, :at, :message, '{}', '{}', 'bench', 1, md5(random()::text))
        RETURNING id, owner
    )
    INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status, dispatch, attempt, due_at, lease_token,
        lease_owner, lease_until)
    SELECT :job, 'turn', id, owner, 'interactive', 'present', 'CREATING', 1, 1, now() + interval '1 hour',
        md5(random()::text), 'bench', now() + interval '1 hour' FROM asked
    """
)


class _Served:
    """A server of the bench's own; turns are only names."""

    name = ""
    key = "none"

    def __init__(self, server: Process, port: int) -> None:
        self.urls = [f"http://127.0.0.1:{port}"]
        self._server = server

    async def open_turns(self, count: int) -> list[str]:
        return [ids.new_turn_id() for _ in range(count)]

    async def close_turns(self, _: list[str]) -> None:
        return None


class Queues(_Served):
    """Agent and gateway in one process, as ApeRAG has them."""

    name = "asyncio queue, one process"

    async def speak(self, plan: dict[str, Any]) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.post(f"{self.urls[0]}/speak", json=plan)).raise_for_status()

    def pids(self) -> list[int]:
        return [self._server.pid]


class Channels(_Served):
    """A channel of Redis per turn, and a server that subscribes for each reader."""

    name = "Redis pub/sub"

    def __init__(self, server: Process, port: int, redis_url: str, redis_pid: int) -> None:
        super().__init__(server, port)
        self._redis_url, self._redis_pid = redis_url, redis_pid
        self._agent: Process | None = None

    async def speak(self, plan: dict[str, Any]) -> None:
        self._agent = await _module("bench.stream.agent", "redis", given={**plan, "url": self._redis_url})

    def pids(self) -> list[int]:
        assert self._agent is not None
        return [self._server.pid, self._redis_pid, self._agent.pid]

    async def close_turns(self, _: list[str]) -> None:
        if self._agent is not None:
            await self._agent.wait()


@asynccontextmanager
async def server(*arguments: str) -> AsyncIterator[tuple[Process, int]]:
    process = await _module("bench.stream.server", *arguments)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        while (line := await process.stdout.readline()) and not line.startswith(b'{"port"'):
            pass
        yield process, int(json.loads(line)["port"])
    finally:
        process.stdin.close()
        await process.wait()
