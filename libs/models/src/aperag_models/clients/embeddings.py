"""Embeddings of any OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aperag_common import errors
from aperag_models import failures
from aperag_models.clients.asking import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_models.clients.asking import Endpoint
    from aperag_retrieval.ports import Vector

AT_ONCE = 4
"""Requests of one call: the slots of the provider are for others too."""


@dataclass(slots=True)
class RemoteEmbedder:
    """An ``aperag_retrieval.embedding.Embedder``; ``dimensions`` is what the first answer had."""

    endpoint: Endpoint
    model: str
    dimensions: int
    batch: int

    async def embed(self, texts: Sequence[str], *, as_queries: bool = False) -> Vector:  # noqa: ARG002  no difference here
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        turns = asyncio.Semaphore(AT_ONCE)

        async def part(start: int) -> Vector:
            async with turns:
                return await embeddings(self.endpoint, texts[start : start + self.batch], self.dimensions)

        try:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(part(start)) for start in range(0, len(texts), self.batch)]
        except* errors.ApeRAGError as failed:
            raise failed.exceptions[0] from None
        return np.concatenate([it.result() for it in parts])

    async def close(self) -> None:
        """The connections are the catalog's."""


async def embeddings(endpoint: Endpoint, texts: Sequence[str], dimensions: int | None = None) -> Vector:
    """Unit rows in the order of ``texts``; without ``dimensions`` the answer tells how long they are."""
    url = f"{endpoint.base_url.rstrip('/')}/embeddings"
    answer = await ask(endpoint, url, {"model": endpoint.model, "input": list(texts)})
    rows = _rows(endpoint, answer, len(texts))
    if dimensions is not None and rows.shape[1] != dimensions:
        what = f"has vectors of {rows.shape[1]} numbers, and had {dimensions} before: the model is not the same"
        raise failures.not_understood(endpoint.ref, what)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        raise failures.not_understood(endpoint.ref, "has a vector without length or direction")
    unit: Vector = rows / norms
    return unit


def _rows(endpoint: Endpoint, answer: dict[str, Any], count: int) -> Vector:
    try:
        by_index = {int(item["index"]): item["embedding"] for item in answer["data"]}
        rows = np.asarray([by_index[index] for index in range(count)], np.float32)
    except (KeyError, TypeError, ValueError) as err:
        raise failures.not_understood(endpoint.ref, f"is not one vector for each of {count} texts") from err
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise failures.not_understood(endpoint.ref, f"is not one vector for each of {count} texts")
    return rows
