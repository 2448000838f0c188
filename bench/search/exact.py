"""How much of the exact answer the vector leg finds: its index looks at a part of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_retrieval.local import encode
from bench.harness.database import maintenance
from bench.harness.rows import MODEL
from bench.search.load import Leg, search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_testing.client import Client
    from aperag_testing.stack import Stack

DEPTH = 100
# No index is ordered by this sum, so every row is compared.
_NEAREST = """
    SELECT chunk_id FROM chunk_vector WHERE collection_id = $1 AND model = $2
    ORDER BY (embedding <=> CAST(CAST($3 AS real[]) AS halfvec)) + 0 LIMIT $4
"""


async def recalls(stack: Stack, client: Client, collection: str, queries: Sequence[str]) -> dict[str, float]:
    """The mean share of the nearest ten and hundred chunks that the leg answers with, asked for as many."""
    shares: dict[int, list[float]] = {10: [], DEPTH: []}
    vectors = encode(MODEL.id, tuple(queries), True)
    async with maintenance(stack) as connection:
        for query, vector in zip(queries, vectors, strict=True):
            rows = await connection.fetch(_NEAREST, collection, MODEL.id, vector.tolist(), DEPTH)
            exact = [row["chunk_id"] for row in rows]
            hits = await search(client, collection, Leg.VECTOR, query, topk=DEPTH)
            found = [hit["metadata"]["chunk_id"] for hit in hits]
            for depth, values in shares.items():
                values.append(len(set(exact[:depth]).intersection(found[:depth])) / len(exact[:depth]))
    return {f"recall@{depth}": sum(values) / len(values) for depth, values in shares.items()}
