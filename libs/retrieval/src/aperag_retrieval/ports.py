"""What an index backend must offer: rows written in the transaction that completes a job, scores read by searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_work.database import Connection

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class IndexTarget:
    """Whose rows are written; ``generation`` is that of the index's own step."""

    document_id: str
    collection_id: str
    generation: int


@dataclass(frozen=True, eq=False)
class VectorRow:
    target: IndexTarget
    chunk_id: str
    text_hash: str
    embedding: Vector


@dataclass(frozen=True)
class TermRow:
    """``length`` counts the chunk's analysed terms, repeats included; ``weights`` maps term ids to BM25 weights."""

    target: IndexTarget
    chunk_id: str
    length: int
    weights: Mapping[int, float]


@dataclass(frozen=True, eq=False)
class VectorQuery:
    """``chat_id``: among the files of this chat; None: among all that are no chat's."""

    collection_id: str
    model: str
    embedding: Vector
    chat_id: str | None = None


@dataclass(frozen=True)
class TermQuery:
    """``terms`` are term ids with their count in the query; ``chat_id`` as for ``VectorQuery``."""

    collection_id: str
    terms: Mapping[int, int]
    chat_id: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A chunk that a search may return: its document lives and serves the generation it was found in."""

    chunk_id: str
    document_id: str
    text_hash: str
    score: float


class VectorIndex(Protocol):
    """Embeddings; scores are cosine similarities."""

    async def write(self, conn: Connection, model: str, rows: Sequence[VectorRow]) -> None:
        """Of any number of documents; all of one length."""
        ...

    async def reusable(self, conn: AsyncConnection, document_id: str, model: str) -> dict[str, Vector]:
        """Embeddings that the document already has, by text hash."""
        ...

    async def remove_stale(self, conn: Connection, targets: Sequence[IndexTarget]) -> None:
        """What these documents have of other generations."""
        ...

    async def remove(self, conn: Connection, document_id: str) -> None: ...

    async def search(self, conn: AsyncConnection, query: VectorQuery, limit: int) -> list[Candidate]: ...

    async def scores(self, conn: AsyncConnection, query: VectorQuery, chunk_ids: Sequence[str]) -> dict[str, float]:
        """Of those chunks that are served; the others are absent."""
        ...


class FulltextIndex(Protocol):
    """Analysed terms; scores are BM25 as a share of its upper bound (0..1), and a chunk without any of the query's terms is no candidate."""

    async def average_length(self, conn: AsyncConnection, collection_id: str) -> float:
        """Terms per chunk; a statistic, which may lag."""
        ...

    async def write(self, conn: Connection, rows: Sequence[TermRow]) -> None:
        """Of any number of documents."""
        ...

    async def remove_stale(self, conn: Connection, targets: Sequence[IndexTarget]) -> None:
        """What these documents have of other generations."""
        ...

    async def remove(self, conn: Connection, document_id: str) -> None: ...

    async def search(self, conn: AsyncConnection, query: TermQuery, limit: int) -> list[Candidate]: ...

    async def scores(self, conn: AsyncConnection, query: TermQuery, chunk_ids: Sequence[str]) -> dict[str, float]:
        """Of those chunks that are served; the others are absent."""
        ...
