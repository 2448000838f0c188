"""How much of a collection a search reads, and in how many statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio
from sqlalchemy import event, insert
from tests.integration.retrieval.library import COLLECTION, Library

from aperag_common.db.models import User
from aperag_common.db.models.chunk_vector import LOCAL_DIMENSIONS, USE_MODEL
from aperag_retrieval.dense import SIZE_SECONDS, CollectionSizes
from aperag_retrieval.embedding import EmbeddersBesideLocal
from aperag_retrieval.search import LegRequest, Searcher
from aperag_retrieval.testing import WordEmbedders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_retrieval.ports import Vector

DOCUMENTS = 12
HYBRID = {"vector": LegRequest(5), "fulltext": LegRequest(5)}
MOST_STATEMENTS = 6


class Scattered:
    """Vectors that depend on nothing but the text."""

    model = USE_MODEL
    dimensions = LOCAL_DIMENSIONS[USE_MODEL]

    async def embed(self, texts: Sequence[str], **_: Any) -> Vector:
        rows = [np.random.default_rng(list(it.encode())).standard_normal(self.dimensions) for it in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def of(self, owner: str) -> Scattered:
        return self

    async def close(self) -> None:
        return None


@pytest_asyncio.fixture
async def library(engine: AsyncEngine) -> Library:
    embedder: Any = Scattered()
    library = Library(engine, embedder, Searcher(engine, EmbeddersBesideLocal([embedder], WordEmbedders({}))))
    async with engine.begin() as conn:
        await conn.execute(insert(User).values(id="user1", username="user1", role="admin"))
    await library.collection(COLLECTION)
    for number in range(DOCUMENTS):
        await library.document(f"d{number}", f"The moon and tide {number} of the sea.")
    return library


@pytest.fixture
def statements(engine: AsyncEngine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(" ".join(statement.split()))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine.sync_engine, "before_cursor_execute", note)


@pytest.mark.parametrize(("most", "small"), [(DOCUMENTS, True), (DOCUMENTS - 1, False)])
async def test_a_collection_is_small_up_to_a_number_of_vectors(
    library: Library, monkeypatch: pytest.MonkeyPatch, most: int, *, small: bool
) -> None:
    monkeypatch.setattr("aperag_retrieval.dense.EXACT_VECTORS", most)
    async with library.engine.connect() as conn:
        assert await CollectionSizes().small(conn, COLLECTION, USE_MODEL) is small
        assert await CollectionSizes().small(conn, COLLECTION, "another/model") is True


async def test_a_size_is_counted_again_after_a_while(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aperag_retrieval.dense.EXACT_VECTORS", DOCUMENTS)
    now = 0.0
    sizes = CollectionSizes(clock=lambda: now)
    async with library.engine.connect() as conn:
        assert await sizes.small(conn, COLLECTION, USE_MODEL)
    await library.document("one-more", "The moon once more.")
    async with library.engine.connect() as conn:
        assert await sizes.small(conn, COLLECTION, USE_MODEL)
        now = SIZE_SECONDS
        assert not await sizes.small(conn, COLLECTION, USE_MODEL)


async def test_a_large_collection_is_searched_by_its_index_and_a_small_one_is_not(
    library: Library, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = await library.search("the moon", vector=LegRequest(5))
    compared = [it for it in statements if "<=>" in it]
    assert len(compared) == 1
    assert ") + " in compared[0]  # no index is ordered by a sum
    statements.clear()
    monkeypatch.setattr("aperag_retrieval.dense.EXACT_VECTORS", 0)
    library.searcher._vectors._sizes._known.clear()  # type: ignore[attr-defined]
    by_index = await library.search("the moon", vector=LegRequest(5))
    assert next(it for it in statements if "<=>" in it) != compared[0]
    assert {hit.chunk_id for hit in by_index.items} == {hit.chunk_id for hit in exact.items}


async def test_a_search_by_both_legs_takes_few_statements(library: Library, statements: list[str]) -> None:
    await library.search("moon tide", **HYBRID)
    statements.clear()
    assert (await library.search("sea and tide 3", **HYBRID)).items
    assert len(statements) <= MOST_STATEMENTS, statements
