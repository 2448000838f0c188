"""Texts become unit vectors in which what means the same lies close."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from aperag_retrieval import embedding
from aperag_retrieval.embedding import InProcessEmbedder


@pytest_asyncio.fixture
async def embedder() -> AsyncIterator[InProcessEmbedder]:
    embedder = InProcessEmbedder()
    yield embedder
    await embedder.close()


async def test_rows_are_unit_length_and_meaning_crosses_languages(embedder: InProcessEmbedder) -> None:
    rows = await embedder.embed(["The cat sleeps.", "고양이가 잔다.", "Stock prices fell sharply.", ""])
    assert rows.shape == (4, embedder.dimensions)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2


async def test_nothing_to_embed_is_no_rows(embedder: InProcessEmbedder) -> None:
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)


async def test_a_recent_query_is_not_encoded_again(
    embedder: InProcessEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = embedding.encode

    def counting(texts: tuple[str, ...]) -> object:
        encoded.extend(texts)
        return encode(texts)

    monkeypatch.setattr(embedding, "encode", counting)
    first = await embedder.embed(["tide", "moon", "tide"])
    second = await embedder.embed(["moon"])
    assert encoded == ["tide", "moon"]
    assert np.array_equal(first[1], second[0])
    assert np.array_equal(first[0], first[2])


async def test_only_the_latest_queries_are_kept(embedder: InProcessEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "REMEMBERED_QUERIES", 2)
    rows = {text: (await embedder.embed([text]))[0] for text in ("a", "b", "c")}
    again = await embedder.embed(["c", "b", "a"])
    assert np.allclose(again, np.stack([rows["c"], rows["b"], rows["a"]]), atol=1e-6)
