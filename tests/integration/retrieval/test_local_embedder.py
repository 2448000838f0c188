"""The encoder gives the same vectors in many processes as in one thread."""

from __future__ import annotations

import numpy as np
import pytest

from aperag_common.pool import ProcessPool
from aperag_retrieval.embedding import InProcessEmbedder, LocalEmbedder, encode


@pytest.mark.parametrize("count", [0, 1, 3, 70])
async def test_vectors_keep_their_texts_order_whatever_process_made_them(count: int) -> None:
    texts = [f"Tide table of day {number}." for number in range(count)]
    pool, alone = ProcessPool(2), InProcessEmbedder()
    rows = await LocalEmbedder(pool).embed(texts)
    assert rows.shape == (count, 512)
    assert rows.dtype == np.float32
    assert np.allclose(rows, await alone.embed(texts), atol=1e-4)
    await pool.close()
    await alone.close()


async def test_the_model_stays_loaded_between_calls() -> None:
    pool = ProcessPool(1)
    first = await pool.run(encode, ("moon",))
    assert np.array_equal(await pool.run(encode, ("moon",)), first)
    assert await pool.run(loads) == 1
    await pool.close()


def loads() -> int:
    """How often this process has loaded the model."""
    from aperag_retrieval import embedding

    misses: int = embedding._encoder.cache_info().misses
    return misses
