"""An OpenAI-compatible provider under test, over real HTTP: it answers what a test scripts, also what breaks clients."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings

KEY = "sk-of-the-tests-0123456789"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model asks for; ``arguments`` may also be text that is no JSON."""

    tool: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """How one request is answered.

    ``gate`` is waited for before the last piece, ``hold`` before the head; ``cut``: the connection ends after so many
    pieces. A ``status`` other than 200 is an error with ``message``, or the raw ``body``.
    """

    pieces: Sequence[str] = ()
    calls: Sequence[Call] = ()
    thinking: Sequence[str] = ()
    status: int = 200
    message: str = "refused"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    hold: asyncio.Event | None = None
    gate: asyncio.Event | None = None
    cut: int | None = None
    usage: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def texts(self) -> list[str]:
        """What the conversation holds, in order."""
        return [str(message.get("content") or "") for message in self.body.get("messages", ())]

    @property
    def tools(self) -> set[str]:
        """Names of the tools that the model is offered."""
        return {tool["function"]["name"] for tool in self.body.get("tools", ())}


@dataclass(slots=True)
class Provider:
    """``decide`` answers a completion, else ``replies`` in their order, else a fixed sentence.

    ``failures`` are used up first, whatever is asked for. ``most`` is how many requests were under way at a time.
    """

    url: str = ""
    replies: deque[Reply] = field(default_factory=deque)
    decide: Callable[[Asked], Reply | None] | None = None
    failures: deque[Reply] = field(default_factory=deque)
    dimensions: int = 8
    asked: list[Asked] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    def to(self, path: str) -> list[Asked]:
        return [it for it in self.asked if it.path == path]

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self._completion, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/rerank", self._rerank, methods=["POST"]),
            Route("/api/v1/services/rerank/text-rerank/text-rerank", self._rerank, methods=["POST"]),
        ]

    async def _begin(self, request: Request) -> tuple[Asked, Reply | None]:
        asked = Asked(request.url.path, dict(request.headers), await request.json())
        self.asked.append(asked)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return asked, self.failures.popleft() if self.failures else None

    async def _completion(self, request: Request) -> Response:
        asked, reply = await self._begin(request)
        reply = reply or (self.decide(asked) if self.decide else None)
        reply = reply or (self.replies.popleft() if self.replies else Reply(["It is ", "so."]))
        if reply.hold is not None:
            await reply.hold.wait()
        if reply.status != 200 or reply.body is not None:
            return self._failed(reply)
        if asked.body.get("stream"):
            return StreamingResponse(self._stream(asked, reply), media_type="text/event-stream")
        self.under_way -= 1
        return JSONResponse(_whole(asked, reply))

    async def _stream(self, asked: Asked, reply: Reply) -> AsyncIterator[bytes]:
        try:
            deltas = _deltas(reply)
            for sent, delta in enumerate(deltas):
                if reply.cut is not None and sent >= reply.cut:
                    raise ConnectionAbortedError
                if reply.gate is not None and delta is deltas[-1]:
                    await reply.gate.wait()
                yield _line(_chunk(asked, delta, None))
            yield _line(_chunk(asked, {}, "tool_calls" if reply.calls else "stop"))
            if reply.usage and (asked.body.get("stream_options") or {}).get("include_usage"):
                yield _line({**_chunk(asked, {}, None), "choices": [], "usage": _usage(asked, reply)})
            yield b"data: [DONE]\n\n"
        finally:
            self.under_way -= 1

    async def _embeddings(self, request: Request) -> Response:
        asked, failed = await self._begin(request)
        if failed is not None:
            return self._failed(failed)
        self.under_way -= 1
        texts = asked.body["input"]
        rows = [self.vector(text) for text in ([texts] if isinstance(texts, str) else texts)]
        data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
        return JSONResponse({"object": "list", "data": data[::-1], "model": asked.body["model"], "usage": {}})

    async def _rerank(self, request: Request) -> Response:
        """By the words that query and document share."""
        asked, failed = await self._begin(request)
        if failed is not None:
            return self._failed(failed)
        self.under_way -= 1
        given = asked.body.get("input", asked.body)
        words = set(given["query"].lower().split())
        scores = [len(words & set(text.lower().split())) / max(1, len(words)) for text in given["documents"]]
        ranked = sorted(enumerate(scores), key=lambda it: -it[1])
        results = [{"index": at, "relevance_score": score} for at, score in ranked]
        return JSONResponse({"output": {"results": results}} if "input" in asked.body else {"results": results})

    def vector(self, text: str) -> list[float]:
        """Texts that share words are near each other; not of length one."""
        rows = [self._word(word) for word in text.lower().split() or [text]]
        summed: list[float] = np.sum(rows, axis=0).tolist()
        return summed

    def _word(self, word: str) -> Any:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimensions)

    def _failed(self, reply: Reply) -> Response:
        self.under_way -= 1
        if reply.body is not None:
            return Response(reply.body, reply.status, dict(reply.headers))
        return JSONResponse({"error": {"message": reply.message}}, reply.status, dict(reply.headers))


def _deltas(reply: Reply) -> list[dict[str, Any]]:
    """Tool calls come in pieces, as providers send them."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in reply.thinking]
    deltas += [{"content": piece} for piece in reply.pieces]
    for at, call in enumerate(reply.calls):
        text = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
        named = {"index": at, "id": f"call-{at}", "type": "function", "function": {"name": call.tool, "arguments": ""}}
        deltas.append({"tool_calls": [named]})
        for part in (text[: len(text) // 2], text[len(text) // 2 :]):
            deltas.append({"tool_calls": [{"index": at, "function": {"arguments": part}}]})
    return deltas


def _whole(asked: Asked, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(reply.pieces)}
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": f"call-{at}",
                "type": "function",
                "function": {"name": it.tool, "arguments": json.dumps(it.arguments)},
            }
            for at, it in enumerate(reply.calls)
        ]
    reason = "tool_calls" if reply.calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    whole = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": asked.body["model"]}
    return {**whole, "choices": [choice], "usage": _usage(asked, reply)}


def _chunk(asked: Asked, delta: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    whole = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": asked.body["model"]}
    return {**whole, "choices": [choice]}


def _usage(asked: Asked, reply: Reply) -> dict[str, int]:
    prompt, completion = sum(len(text) for text in asked.texts) // 4, len(reply.pieces)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _line(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


@asynccontextmanager
async def providing(**given: Any) -> AsyncIterator[Provider]:
    """A provider that listens; ``given`` are its fields."""
    provider = Provider(**given)
    server = HttpServer(HttpSettings(port=0), Starlette(routes=provider.routes()))
    await server.start()
    provider.url = f"http://127.0.0.1:{server.port}/v1"
    try:
        yield provider
    finally:
        await server.stop()
