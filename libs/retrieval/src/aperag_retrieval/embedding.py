"""From texts to unit vectors: who asks which model, in the indexer's processes, the gateway's thread, or elsewhere."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from aperag_common.shares import Shares
from aperag_retrieval.local import MODELS, LocalModel, encode
from aperag_retrieval.ports import Vector

if TYPE_CHECKING:
    from aperag_common.pool import ProcessPool

REMEMBERED_QUERIES = 256
QUERY_BATCH = 4
"""Texts that the gateway encodes before the next owner gets a turn."""


class Embedder(Protocol):
    """``model`` is stored with every vector: vectors of different models are never compared."""

    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Vector:
        """One unit row per text, in their order; ``as_queries`` for what is searched with, not for."""
        ...

    async def close(self) -> None: ...


class Embedders(Protocol):
    """Where the encoder of a collection comes from."""

    async def embedder(self, user_id: str, model_id: str) -> Embedder:
        """As ``user_id`` may use it; raises ``Retryable`` or ``Terminal`` with a reason for a person."""
        ...


class SharedEmbedder(Embedder, Protocol):
    """One that many use at once."""

    def of(self, owner: str) -> Embedder:
        """As this owner uses it, who shares it with the others."""
        ...


class EmbeddersBesideLocal:
    """The ``local`` encoders of this process, and of ``others`` everything else."""

    def __init__(self, local: Iterable[SharedEmbedder], others: Embedders) -> None:
        self.local = {embedder.model: embedder for embedder in local}
        self._others = others

    async def embedder(self, user_id: str, model_id: str) -> Embedder:
        local = self.local.get(model_id)
        return await self._others.embedder(user_id, model_id) if local is None else local.of(user_id)


class LocalEmbedder:
    """A local model in a pool of processes (threads lose a third to the interpreter's lock)."""

    def __init__(self, pool: ProcessPool, model: LocalModel, owner: str = "") -> None:
        """The pool is the caller's to close."""
        self.model, self.dimensions = model.id, model.dimensions
        self._pool, self._encoder, self._owner = pool, model, owner

    def of(self, owner: str) -> LocalEmbedder:
        return LocalEmbedder(self._pool, self._encoder, owner)

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Vector:
        batches = _batches(texts, self._pool.workers, self._encoder.batch)
        if not batches:
            return np.empty((0, self.dimensions), np.float32)
        encoding = (self._pool.run(encode, self.model, batch, as_queries, owner=self._owner) for batch in batches)
        return np.concatenate(await asyncio.gather(*encoding))

    async def close(self) -> None:
        return None


class InProcessEmbedder:
    """A local model in a thread: loaded by its first text, one batch at a time, recent queries kept.

    Owners take turns: a search waits for the batch under way of others, and not for their long lists.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model, self.dimensions = model.id, model.dimensions
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._turns = Shares([self._thread])
        self._recent: OrderedDict[str, Vector] = OrderedDict()

    def of(self, owner: str) -> Embedder:
        return _OneOwners(self, owner, self.model, self.dimensions)

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False, owner: str = "") -> Vector:
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        if not as_queries:
            return await self._encoded(texts, owner, as_queries=False)
        known = {text: self._recent[text] for text in texts if text in self._recent}
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            known.update(zip(missing, await self._encoded(missing, owner, as_queries=True), strict=True))
        for text, row in known.items():
            self._remember(text, row)
        return np.stack([known[text] for text in texts])

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    async def _encoded(self, texts: Sequence[str], owner: str, *, as_queries: bool) -> Vector:
        loop = asyncio.get_running_loop()
        parts: list[Vector] = []
        for batch in _batches(texts, 1, QUERY_BATCH):
            async with self._turns.taken(owner) as thread:
                parts.append(await loop.run_in_executor(thread, encode, self.model, batch, as_queries))
        return np.concatenate(parts)

    def _remember(self, text: str, row: Vector) -> None:
        self._recent[text] = row
        self._recent.move_to_end(text)
        if len(self._recent) > REMEMBERED_QUERIES:
            self._recent.popitem(last=False)


@dataclass(slots=True)
class _OneOwners:
    """The encoder of this process, as one owner sees it."""

    encoder: InProcessEmbedder
    owner: str
    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Vector:
        return await self.encoder.embed(texts, as_queries=as_queries, owner=self.owner)

    async def close(self) -> None:
        return None


def in_process() -> list[InProcessEmbedder]:
    """One for each local model; none is loaded before it is asked."""
    return [InProcessEmbedder(model) for model in MODELS.values()]


def in_pool(pool: ProcessPool) -> list[LocalEmbedder]:
    return [LocalEmbedder(pool, model) for model in MODELS.values()]


def _batches(texts: Sequence[str], workers: int, most: int) -> list[tuple[str, ...]]:
    """Equal shares for all processes, none larger than one process should hold before others get a turn."""
    size = min(most, max(1, -(-len(texts) // workers)))
    return [tuple(texts[start : start + size]) for start in range(0, len(texts), size)]
