"""One document at a time on a stack that has nothing else to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.corpora.generated import page
from bench.errors import BenchError

if TYPE_CHECKING:
    from aperag_testing.client import Client

WARM_UP = 5
"""The first ones load the encoder of the gateway and the statements of every connection."""


@dataclass(frozen=True, slots=True)
class Singles:
    """Milliseconds per document: of the POST, and from its begin until a search answered with the document."""

    posts: list[float]
    ways: list[float]


async def one_at_a_time(client: Client, documents: int) -> Singles:
    collection = await client.collection("one at a time")
    for number in range(WARM_UP):
        await _one(client, collection, -1 - number)
    measured = [await _one(client, collection, number) for number in range(documents)]
    return Singles([post for post, _ in measured], [way for _, way in measured])


async def _one(client: Client, collection: str, number: int) -> tuple[float, float]:
    """The search names the document to wait for, so it is the client that sees both indexes answer."""
    token = f"token{number + WARM_UP:06d}"
    body = f"# {token}\n\n{page(number)}\n".encode()
    begun = time.perf_counter()
    (document,) = await client.upload(collection, {f"{token}.md": body})
    posted = time.perf_counter()
    hits = await client.search(collection, token, wait_for=[document["id"]])
    ended = time.perf_counter()
    if document["id"] not in {hit["metadata"]["document_id"] for hit in hits}:
        message = f"the word {token} did not find the only document that holds it"
        raise BenchError(message, hint="full-text search is broken: run `just test`")
    return (posted - begun) * 1000, (ended - begun) * 1000
