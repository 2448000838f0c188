"""Encoders for tests: texts that share words are near each other, whatever the model and its number of dimensions."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from aperag_common import errors
from aperag_common.db.models.chunk_vector import LOCAL_DIMENSIONS, USE_MODEL
from aperag_retrieval.embedding import Embedder
from aperag_retrieval.ports import Vector

WORD = re.compile(r"\w+")


class WordEmbedder:
    """Remembers what it embedded; raises ``failure`` instead for as long as there is one, and waits for ``holds``."""

    def __init__(self, model: str = USE_MODEL, dimensions: int = LOCAL_DIMENSIONS[USE_MODEL]) -> None:
        self.model = model
        self.dimensions = dimensions
        self.texts: list[str] = []
        self.failure: Exception | None = None
        self.holds: asyncio.Event | None = None

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Vector:  # noqa: ARG002  the port's
        if self.holds is not None:
            await self.holds.wait()
        if self.failure is not None:
            raise self.failure
        self.texts += texts
        rows = np.stack([self._row(text) for text in texts]) if texts else np.empty((0, self.dimensions), np.float32)
        unit: Vector = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit

    async def close(self) -> None:
        return None

    def _row(self, text: str) -> Vector:
        words = WORD.findall(text.lower()) or [text]
        row: Vector = np.sum([self._word(word) for word in words], axis=0)
        return row

    def _word(self, word: str) -> Vector:
        seed = int.from_bytes(hashlib.sha256(f"{self.model} {word}".encode()).digest()[:8], "big")
        row: Vector = np.random.default_rng(seed).standard_normal(self.dimensions).astype(np.float32)
        return row


class WordEmbedders:
    """Models by id, each with its number of dimensions; of others there are none."""

    def __init__(self, models: Mapping[str, int]) -> None:
        self.by_model = {model: WordEmbedder(model, dimensions) for model, dimensions in models.items()}
        self.asked: list[tuple[str, str]] = []

    def __getitem__(self, model: str) -> WordEmbedder:
        return self.by_model[model]

    async def embedder(self, user_id: str, model_id: str) -> Embedder:
        self.asked.append((user_id, model_id))
        if model_id not in self.by_model:
            message = f"The embedding model {model_id} is not available here."
            raise errors.Retryable(message, code="MODEL_UNAVAILABLE")
        return self.by_model[model_id]
