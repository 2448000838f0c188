"""What is searched: real chunks with their vectors, and as many near copies of them as make a large collection."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np

from aperag_common.pool import ProcessPool
from aperag_indexer.settings import PoolSettings
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for
from aperag_retrieval.chunking import ChunkDraft, chunk_document, text_hash
from aperag_retrieval.lexical import Weighed, weigh
from bench.corpora import beir, generated
from bench.corpora.choose import SCIFACT
from bench.harness.rows import embed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aperag_retrieval.ports import Vector

CHUNKS_PER_DOCUMENT = 50
AVERAGE_LENGTH = 200.0
KEPT_WORDS = 0.9
"""Of each word of a copy: its text, and so its terms, are its own."""
NOISE = 0.5
"""Length of what is added to a copy's unit vector: a copy's cosine to its original is about 0.9."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """As many as one document holds; ``vectors`` are unit rows."""

    drafts: list[ChunkDraft]
    vectors: Vector
    terms: list[Weighed]


async def originals(wanted: int) -> list[Chunks]:
    """The first ``wanted`` chunks of the corpus, embedded in a pool of processes."""
    texts = list(islice(_texts(), wanted))
    parts = [texts[start : start + CHUNKS_PER_DOCUMENT] for start in range(0, len(texts), CHUNKS_PER_DOCUMENT)]
    pool = ProcessPool(PoolSettings().workers)
    try:
        return list(await asyncio.gather(*(pool.run(make, part) for part in parts)))
    finally:
        await pool.close()


def make(texts: Sequence[str]) -> Chunks:
    """Runs in a process of the pool."""
    return Chunks(_drafts(texts), embed(texts), _weighed(texts))


def copy(chunks: Chunks, number: int) -> Chunks:
    """Runs in a process of the pool; the same ``number`` gives the same copy."""
    chance = random.Random(f"{number} {chunks.drafts[0].text_hash}")
    texts = [_thinned(draft.text, chance) for draft in chunks.drafts]
    noise = np.random.default_rng(chance.getrandbits(64)).standard_normal(chunks.vectors.shape).astype(np.float32)
    moved = chunks.vectors + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return Chunks(_drafts(texts), moved / np.linalg.norm(moved, axis=1, keepdims=True), _weighed(texts))


def queries() -> list[str]:
    """In an order that mixes them: the claims of the corpus and its titles, so that no query need come twice."""
    if beir.is_retrieval_set(SCIFACT):
        found = list(beir.read_queries(SCIFACT).values())
        found += [text.partition("\n")[0] for text in beir.read_texts(SCIFACT).values()]
    else:
        found = [generated.question(number) for number in range(5000)]
    found = [query for query in dict.fromkeys(found) if query.strip()]
    random.Random(0).shuffle(found)
    return found


def _texts() -> Iterator[str]:
    """Chunks without end; after the last real one, those of generated pages."""
    if beir.is_retrieval_set(SCIFACT):
        for text in beir.read_texts(SCIFACT).values():
            yield from (draft.text for draft in chunk_document(text))
    for number in count():
        yield from (draft.text for draft in chunk_document(generated.page(number)))


def _drafts(texts: Sequence[str]) -> list[ChunkDraft]:
    return [ChunkDraft(ordinal, text, text_hash(text), {"titles": []}) for ordinal, text in enumerate(texts)]


def _weighed(texts: Sequence[str]) -> list[Weighed]:
    return weigh(analyzer_for(DEFAULT_ANALYZER), texts, AVERAGE_LENGTH)


def _thinned(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    return " ".join(word for word in words if chance.random() < KEPT_WORDS) or text
