"""An encoder gives the same vectors in many processes as in one thread."""

from __future__ import annotations

import numpy as np
import pytest

from aperag_common.db.models.chunk_vector import USE_MODEL
from aperag_common.pool import ProcessPool
from aperag_retrieval.embedding import InProcessEmbedder, LocalEmbedder
from aperag_retrieval.local import MODELS, encode


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [0, 1, 3, 70])
async def test_vectors_keep_their_texts_order_whatever_process_made_them(count: int, model: str) -> None:
    texts = [f"Tide table of day {number}." for number in range(count)]
    pool, alone = ProcessPool(2), InProcessEmbedder(MODELS[model])
    rows = await LocalEmbedder(pool, MODELS[model]).embed(texts)
    assert rows.shape == (count, MODELS[model].dimensions)
    assert rows.dtype == np.float32
    assert np.allclose(rows, await alone.embed(texts), atol=1e-4)
    await pool.close()
    await alone.close()


async def test_the_model_stays_loaded_between_calls() -> None:
    pool = ProcessPool(1)
    first = await pool.run(encode, USE_MODEL, ("moon",))
    assert np.array_equal(await pool.run(encode, USE_MODEL, ("moon",)), first)
    assert await pool.run(loads) == 1
    await pool.close()


def loads() -> int:
    """How often this process has loaded the model."""
    from aperag_retrieval import local

    misses: int = local._encoder.cache_info().misses
    return misses
