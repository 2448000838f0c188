"""Searches over HTTP, by one client or by several at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aperag_testing.client import Client

TOPK = 10


class Leg(StrEnum):
    """What a search asks for; ``hybrid`` fuses both."""

    VECTOR = "vector"
    FULLTEXT = "fulltext"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class Load:
    """Milliseconds of each search, and the seconds that all took together."""

    searches: list[float]
    seconds: float


def body_of(leg: Leg, query: str, topk: int) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    if leg is not Leg.FULLTEXT:
        asked["vector_search"] = {"topk": topk, "similarity": 0}
    if leg is not Leg.VECTOR:
        asked["fulltext_search"] = {"topk": topk}
    return {"query": query, "save_to_history": False, **asked}


async def search(client: Client, collection: str, leg: Leg, query: str, topk: int = TOPK) -> list[dict[str, Any]]:
    """The hits; a leg that failed ends the benchmark, for its time would mean nothing."""
    answer = await client.json("POST", f"/collections/{collection}/searches", json=body_of(leg, query, topk))
    if answer["errors"]:
        message = f"the search {query!r} failed: {answer['errors']}"
        raise BenchError(message, hint="run the stack by hand (`just up`), search, and look at the gateway's log")
    return list(answer["items"])


async def load(
    client: Client, collection: str, leg: Leg, queries: Iterator[str], *, clients: int, searches: int
) -> Load:
    """Each of ``clients`` asks its next query as soon as it has an answer; ``queries`` is read on by later loads."""
    waiting = islice(queries, searches)
    taken: list[float] = []

    async def one_client() -> None:
        for query in waiting:
            begun = time.perf_counter()
            await search(client, collection, leg, query)
            taken.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    return Load(taken, time.perf_counter() - begun)
