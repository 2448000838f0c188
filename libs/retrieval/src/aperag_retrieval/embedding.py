"""From texts to unit vectors: who asks which model, in the indexer's processes, the gateway's thread, or elsewhere."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np

from aperag_retrieval.local import MODELS, LocalModel, encode
from aperag_retrieval.ports import Vector

if TYPE_CHECKING:
    from aperag_common.pool import ProcessPool

REMEMBERED_QUERIES = 256
QUERY_BATCH = 4
"""Texts that the gateway encodes before a search gets its turn."""


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


class EmbeddersBesideLocal:
    """The ``local`` encoders of this process, and of ``others`` everything else."""

    def __init__(self, local: Iterable[Embedder], others: Embedders) -> None:
        self.local = {embedder.model: embedder for embedder in local}
        self._others = others

    async def embedder(self, user_id: str, model_id: str) -> Embedder:
        return self.local.get(model_id) or await self._others.embedder(user_id, model_id)


class LocalEmbedder:
    """A local model in a pool of processes (threads lose a third to the interpreter's lock)."""

    def __init__(self, pool: ProcessPool, model: LocalModel) -> None:
        """The pool is the caller's to close."""
        self.model, self.dimensions = model.id, model.dimensions
        self._batch, self._pool = model.batch, pool

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Vector:
        batches = _batches(texts, self._pool.workers, self._batch)
        if not batches:
            return np.empty((0, self.dimensions), np.float32)
        encoding = (self._pool.run(encode, self.model, batch, as_queries) for batch in batches)
        return np.concatenate(await asyncio.gather(*encoding))

    async def close(self) -> None:
        return None


class InProcessEmbedder:
    """A local model in a thread: loaded by its first text, one encoding at a time, recent queries kept.

    Searches wait for at most one batch of a long list of texts, whoever else sends such lists.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model, self.dimensions = model.id, model.dimensions
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._one_list = asyncio.Lock()
        self._recent: OrderedDict[str, Vector] = OrderedDict()

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Vector:
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        if not as_queries:
            return await self._encoded(texts, as_queries=False)
        known = {text: self._recent[text] for text in texts if text in self._recent}
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            known.update(zip(missing, await self._encoded(missing, as_queries=True), strict=True))
        for text, row in known.items():
            self._remember(text, row)
        return np.stack([known[text] for text in texts])

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    async def _encoded(self, texts: Sequence[str], *, as_queries: bool) -> Vector:
        if len(texts) <= QUERY_BATCH:
            return await self._run(texts, as_queries=as_queries)
        async with self._one_list:
            starts = range(0, len(texts), QUERY_BATCH)
            parts = [await self._run(texts[at : at + QUERY_BATCH], as_queries=as_queries) for at in starts]
        return np.concatenate(parts)

    async def _run(self, texts: Sequence[str], *, as_queries: bool) -> Vector:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, encode, self.model, tuple(texts), as_queries)

    def _remember(self, text: str, row: Vector) -> None:
        self._recent[text] = row
        self._recent.move_to_end(text)
        if len(self._recent) > REMEMBERED_QUERIES:
            self._recent.popitem(last=False)


def in_process() -> list[InProcessEmbedder]:
    """One for each local model; none is loaded before it is asked."""
    return [InProcessEmbedder(model) for model in MODELS.values()]


def in_pool(pool: ProcessPool) -> list[LocalEmbedder]:
    return [LocalEmbedder(pool, model) for model in MODELS.values()]


def _batches(texts: Sequence[str], workers: int, most: int) -> list[tuple[str, ...]]:
    """Equal shares for all processes, none larger than one process should hold before others get a turn."""
    size = min(most, max(1, -(-len(texts) // workers)))
    return [tuple(texts[start : start + size]) for start in range(0, len(texts), size)]
