"""Texts become unit vectors in which what means the same lies close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from aperag_common.db.models.chunk_vector import USE_MODEL
from aperag_retrieval import embedding
from aperag_retrieval.embedding import QUERY_BATCH, InProcessEmbedder
from aperag_retrieval.local import MODELS, encode


@pytest_asyncio.fixture(params=MODELS)
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[InProcessEmbedder]:
    embedder = InProcessEmbedder(MODELS[request.param])
    yield embedder
    await embedder.close()


@pytest_asyncio.fixture
async def quick() -> AsyncIterator[InProcessEmbedder]:
    embedder = InProcessEmbedder(MODELS[USE_MODEL])
    yield embedder
    await embedder.close()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were encoded, in their order."""
    told: list[str] = []

    def counting(model: str, texts: tuple[str, ...], *rest: bool) -> object:
        told.extend(texts)
        return encode(model, texts, *rest)

    monkeypatch.setattr(embedding, "encode", counting)
    return told


async def test_rows_are_unit_length_and_meaning_crosses_languages(embedder: InProcessEmbedder) -> None:
    rows = await embedder.embed(["The cat sleeps.", "고양이가 잔다.", "Stock prices fell sharply.", ""])
    assert rows.shape == (4, embedder.dimensions)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    [cats] = await embedder.embed(["고양이는 무엇을 하나요?"], as_queries=True)
    assert rows[0] @ cats > rows[2] @ cats + 0.05


async def test_nothing_to_embed_is_no_rows(embedder: InProcessEmbedder) -> None:
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)


async def test_a_vector_is_the_same_whatever_its_text_is_encoded_with(embedder: InProcessEmbedder) -> None:
    texts = ["Tea.", "차는 따뜻하다. " * 40, "The tide rises. " * 60, "茶" * 300]
    together = await embedder.embed(texts)
    alone = np.concatenate([await embedder.embed([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-4)


async def test_a_recent_query_is_not_encoded_again(quick: InProcessEmbedder, encoded: list[str]) -> None:
    first = await quick.embed(["tide", "moon", "tide"], as_queries=True)
    second = await quick.embed(["moon"], as_queries=True)
    assert encoded == ["tide", "moon"]
    assert np.array_equal(first[1], second[0])
    assert np.array_equal(first[0], first[2])


async def test_only_the_latest_queries_are_kept(quick: InProcessEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "REMEMBERED_QUERIES", 2)
    rows = {text: (await quick.embed([text], as_queries=True))[0] for text in ("a", "b", "c")}
    again = await quick.embed(["c", "b", "a"], as_queries=True)
    assert np.allclose(again, np.stack([rows["c"], rows["b"], rows["a"]]), atol=1e-6)


async def test_who_encodes_much_holds_up_nobody_who_asks_little(quick: InProcessEmbedder, encoded: list[str]) -> None:
    """The attack: long lists of texts, and many questions, before one question of somebody else."""
    mallory = quick.of("mallory")
    lists = [[f"passage {number}-{part}" for part in range(5 * QUERY_BATCH)] for number in range(3)]
    questions = [[f"question {number}"] for number in range(9)]
    attack = [asyncio.create_task(mallory.embed(texts)) for texts in lists]
    attack += [asyncio.create_task(mallory.embed(texts, as_queries=True)) for texts in questions]
    await asyncio.sleep(0)
    await quick.of("alice").embed(["moon"], as_queries=True)
    assert encoded.index("moon") == QUERY_BATCH, "behind the batch under way, before all that wait"
    await asyncio.gather(*attack)
    assert len(encoded) == sum(map(len, (*lists, *questions))) + 1
