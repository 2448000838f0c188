"""A search returns what is true now: served generations of living documents, best first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.integration.retrieval.library import COLLECTION, FULLTEXT, VECTORS, Library

from aperag_common import errors
from aperag_common.db.models import (
    ChunkTerm,
    ChunkVector,
    Collection,
    CollectionStatus,
    Document,
    DocumentIndex,
    User,
)
from aperag_common.db.models.chunk_vector import USE_MODEL
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for, term_id
from aperag_retrieval.chunking import text_hash
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.embedding import EmbeddersBesideLocal, InProcessEmbedder
from aperag_retrieval.lexical import weigh
from aperag_retrieval.local import MODELS
from aperag_retrieval.ports import Candidate, IndexTarget, TermQuery, TermRow, VectorQuery, VectorRow
from aperag_retrieval.search import LegRequest, RecallType, Searcher, SearchRequest
from aperag_retrieval.statistics import CollectionStatistics
from aperag_retrieval.testing import WordEmbedders

TIDES = "Tides are caused by the gravity of the moon."
BREAD = "Bread rises because yeast makes carbon dioxide."
CLOCK = "A pendulum clock loses time when it is warm."


@pytest_asyncio.fixture
async def library(engine: AsyncEngine) -> AsyncIterator[Library]:
    embedder = InProcessEmbedder(MODELS[USE_MODEL])
    library = Library(engine, embedder, Searcher(engine, EmbeddersBesideLocal([embedder], WordEmbedders({}))))
    async with engine.begin() as conn:
        await conn.execute(insert(User).values(id="user1", username="user1", role="admin"))
    await library.collection(COLLECTION)
    yield library
    await embedder.close()


@pytest_asyncio.fixture
async def three(library: Library) -> Library:
    await library.document("tides", TIDES)
    await library.document("bread", BREAD)
    await library.document("clock", CLOCK)
    return library


LEGS = pytest.mark.parametrize(
    ("vector", "fulltext"),
    [pytest.param(5, 0, id="vector"), pytest.param(0, 5, id="fulltext"), pytest.param(5, 5, id="both")],
)


@LEGS
async def test_the_fitting_document_comes_first(three: Library, vector: int, fulltext: int) -> None:
    assert (await three.names("why does bread rise", vector=vector, fulltext=fulltext))[0] == "bread.md"


async def test_a_hit_tells_where_it_is_from(three: Library) -> None:
    (hit,) = (await three.search("yeast", fulltext=LegRequest(5))).items
    assert (hit.chunk_id, hit.document_id, hit.document_name) == ("bread-1-0", "bread", "bread.md")
    assert (hit.text, hit.recall_type) == (BREAD, RecallType.FULLTEXT)
    assert hit.details == {"titles": ["Title"], "page_idx": 0}
    assert hit.score > 0


async def test_a_vector_score_is_the_cosine_and_similarity_cuts_by_it(three: Library) -> None:
    everything = (await three.search(TIDES, vector=LegRequest(5))).items
    assert [hit.recall_type for hit in everything] == [RecallType.VECTOR] * 3
    assert everything[0].score == pytest.approx(1.0, abs=0.002)
    embedded = await three.embedder.embed([TIDES, everything[1].text])
    assert everything[1].score == pytest.approx(float(embedded[0] @ embedded[1]), abs=0.002)
    least = (everything[0].score + everything[1].score) / 2
    cut = (await three.search(TIDES, vector=LegRequest(5, similarity=least))).items
    assert [hit.document_id for hit in cut] == ["tides"]


async def test_words_found_nowhere_are_no_full_text_hits(three: Library) -> None:
    assert await three.names("quantum chromodynamics", fulltext=5) == []
    assert await three.names("the of and", fulltext=5) == []


async def test_keywords_replace_the_query_in_the_full_text_leg(three: Library) -> None:
    outcome = await three.search("moon", fulltext=LegRequest(5, keywords=("yeast",)))
    assert [hit.document_id for hit in outcome.items] == ["bread"]


async def test_topk_bounds_one_leg_and_their_sum_bounds_both(library: Library) -> None:
    for number in range(8):
        await library.document(f"d{number}", f"The moon and tide number {number}.")
    assert len(await library.names("moon tide", vector=2)) == 2
    assert len(await library.names("moon tide", fulltext=3)) == 3
    assert len(await library.names("moon tide", vector=2, fulltext=3)) == 5


async def test_fused_scores_fall_and_chunks_of_both_legs_appear_once(three: Library) -> None:
    items = (await three.search("moon gravity", vector=LegRequest(5), fulltext=LegRequest(5))).items
    assert items[0].document_id == "tides"
    assert len({hit.chunk_id for hit in items}) == len(items) == 3
    assert [hit.score for hit in items] == sorted((hit.score for hit in items), reverse=True)
    assert items[0].score == pytest.approx(1.0)


@LEGS
async def test_the_same_text_is_returned_once(library: Library, vector: int, fulltext: int) -> None:
    await library.document("one", TIDES)
    await library.document("two", TIDES)
    await library.document("other", "The moon is far away.")
    names = await library.names("moon", vector=vector, fulltext=fulltext)
    assert len(names) == 2
    assert "other.md" in names


async def test_a_question_in_another_script_is_answered_by_meaning(library: Library) -> None:
    await library.document("tides", TIDES)
    # It shares a word with the question, which would win if words counted as usual.
    await library.document("chip", "A GPU has thousands of cores.")
    names = await library.names("밀물과 썰물은 달의 중력 때문인가요? GPU", vector=5, fulltext=5)
    assert names[0] == "tides.md"


@LEGS
async def test_a_fresh_generation_is_invisible_until_it_is_served(three: Library, vector: int, fulltext: int) -> None:
    target = IndexTarget("bread", COLLECTION, 2)
    await three.index(target, ["Volcanoes erupt when magma rises."])
    assert "Volcanoes" not in await texts(three, "volcanoes magma", vector, fulltext)
    async with three.engine.begin() as conn:
        await serve(conn, "bread", 2)
    seen = await texts(three, "volcanoes magma", vector, fulltext)
    assert "Volcanoes" in seen
    assert "yeast" not in seen, "the old generation counts no longer, though its rows are still there"


@LEGS
@pytest.mark.parametrize("what", ["document", "collection", "unserved"])
async def test_what_is_gone_is_not_found_though_its_rows_are_there(
    three: Library, vector: int, fulltext: int, what: str
) -> None:
    statements = {
        "document": update(Document).where(Document.id == "tides").values(deleted_at=Document.created),
        "collection": update(Collection).values(status=CollectionStatus.DELETED),
        "unserved": delete(DocumentIndex).where(DocumentIndex.document_id == "tides"),
    }
    async with three.engine.begin() as conn:
        await conn.execute(statements[what])
    assert "tides.md" not in await three.names("moon tides gravity", vector=vector, fulltext=fulltext)


@LEGS
async def test_rows_that_count_no_more_do_not_crowd_out_those_that_do(
    library: Library, vector: int, fulltext: int
) -> None:
    for number in range(8):
        await library.document(f"old{number}", *(f"moon tide moon {number} {n}" for n in range(20)))
    await library.document("new", "A word about the moon, at length and with much else around it.")
    async with library.engine.begin() as conn:
        await conn.execute(update(Document).where(Document.id.startswith("old")).values(deleted_at=Document.created))
    assert await library.names("moon tide", vector=vector, fulltext=fulltext) == ["new.md"]


@LEGS
async def test_other_collections_are_not_searched(three: Library, vector: int, fulltext: int) -> None:
    await three.collection("col2")
    await three.document("foreign", TIDES + " Moon!", collection_id="col2")
    assert "foreign.md" not in await three.names("moon tides gravity", vector=vector, fulltext=fulltext)


class BrokenVectors(PgVectorIndex):
    async def search(self, conn: AsyncConnection, query: VectorQuery, limit: int) -> list[Candidate]:
        raise ConnectionResetError(query.collection_id)


async def test_a_failed_leg_is_named_and_the_other_one_answers(three: Library) -> None:
    searcher = Searcher(
        three.engine, EmbeddersBesideLocal([three.embedder], WordEmbedders({})), vectors=BrokenVectors()
    )
    request = SearchRequest(COLLECTION, "user1", "yeast", LegRequest(5), LegRequest(5))
    outcome = await searcher.search(request, analyzer=DEFAULT_ANALYZER, model=USE_MODEL)
    assert [hit.document_id for hit in outcome.items] == ["bread"]
    assert outcome.errors == {"vector_search": "this index could not be searched"}


async def test_an_encoder_that_does_not_answer_holds_up_nobody_for_long(three: Library) -> None:
    model = "elsewhere/silent"
    others = WordEmbedders({model: 8})
    others[model].holds = asyncio.Event()
    searcher = Searcher(three.engine, EmbeddersBesideLocal([three.embedder], others), encoding_seconds=0.05)
    request = SearchRequest(COLLECTION, "user1", "yeast", LegRequest(5), LegRequest(5))
    outcome = await searcher.search(request, analyzer=DEFAULT_ANALYZER, model=model)
    assert [hit.document_id for hit in outcome.items] == ["bread"]
    assert outcome.errors == {"vector_search": f"The embedding model {model} did not answer within 0.05 s"}


async def test_legs_say_what_they_lack(three: Library) -> None:
    outcome = await three.search(
        "yeast", vector=LegRequest(5), fulltext=LegRequest(5), model="other/model", analyzer="standard/0"
    )
    assert outcome.items == []
    assert "other/model" in outcome.errors["vector_search"]
    assert "standard/0" in outcome.errors["fulltext_search"]


async def test_an_embedding_is_reused_by_text_and_model(three: Library) -> None:
    async with three.engine.connect() as conn:
        found = await VECTORS.reusable(conn, "tides", USE_MODEL)
        assert await VECTORS.reusable(conn, "tides", "other/model") == {}
    (row,) = await three.embedder.embed([TIDES])
    assert list(found) == [text_hash(TIDES)]
    assert np.allclose(found[text_hash(TIDES)], row, atol=1e-3)


async def test_rows_of_other_generations_are_removed_and_then_all(three: Library) -> None:
    await three.index(IndexTarget("bread", COLLECTION, 2), ["first", "second"])
    for table, index in ((ChunkVector, VECTORS), (ChunkTerm, FULLTEXT)):
        generations = select(table.generation).where(table.document_id == "bread")
        async with three.engine.begin() as conn:
            await index.remove_stale(conn, [IndexTarget("bread", COLLECTION, 2)])
            assert (await conn.execute(generations)).scalars().all() == [2, 2]
            await index.remove(conn, "bread")
            assert (await conn.execute(generations)).scalars().all() == []
            others = select(table.chunk_id).where(table.document_id != "bread")
            assert len((await conn.execute(others)).all()) == 2


async def test_writing_a_generation_again_changes_nothing(three: Library) -> None:
    target = IndexTarget("tides", COLLECTION, 1)
    (row,) = await three.embedder.embed([TIDES])
    (weighed,) = weigh(analyzer_for(DEFAULT_ANALYZER), [TIDES], 200.0)
    async with three.engine.begin() as conn:
        await VECTORS.write(conn, USE_MODEL, [VectorRow(target, "tides-1-0", text_hash(TIDES), row)])
        await FULLTEXT.write(conn, [TermRow(target, "tides-1-0", weighed.length, weighed.weights)])
    assert await three.names("moon", vector=5, fulltext=5) == await three.names("moon", vector=5)


async def test_a_chunk_without_terms_or_a_document_without_chunks_can_be_written(library: Library) -> None:
    await library.document("signs", "...")
    await library.document("empty")
    assert await library.names("moon", fulltext=5) == []
    assert await library.names("moon", vector=5) == ["signs.md"]


async def test_choosing_by_rare_terms_ranks_as_reading_everything(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        words = " ".join(f"word{n}" for n in range(number % 7))
        await library.document(f"d{number}", f"moon tide{number % 5} sea {words}")
    query = "sea word3 tide2"
    read = await library.search(query, fulltext=LegRequest(5))
    monkeypatch.setattr("aperag_retrieval.lexical.FULL_SCAN", 0)
    chosen = await library.search(query, fulltext=LegRequest(5))
    assert chosen.items == read.items
    assert len(chosen.items) == 5


async def test_statistics_of_a_small_collection_are_exact_at_once(three: Library) -> None:
    statistics = CollectionStatistics()
    moon, bread = term_id("moon"), term_id("bread")
    async with three.engine.connect() as conn:
        assert await statistics.frequencies(conn, COLLECTION, [moon, bread]) == (3, {moon: 1, bread: 1})
    await three.document("lunar", "The moon again.")
    async with three.engine.connect() as conn:
        assert await statistics.frequencies(conn, COLLECTION, [moon, 5]) == (4, {moon: 2, 5: 0})
        assert await statistics.average_length(conn, "col2") == 200.0
        assert await statistics.average_length(conn, COLLECTION) < 150.0


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection of two chunks is no small one any more, and one of three is remembered for a second."""
    monkeypatch.setattr("aperag_retrieval.statistics.SMALL_COLLECTION", 2)
    monkeypatch.setattr("aperag_retrieval.statistics.CHUNKS_PER_SECOND", 3)


@pytest.mark.usefixtures("remembered")
async def test_statistics_of_a_larger_collection_are_remembered_for_a_while(three: Library) -> None:
    now = 0.0
    statistics = CollectionStatistics(clock=lambda: now)
    async with three.engine.begin() as conn:
        assert await statistics.frequencies(conn, COLLECTION, []) == (3, {})
        await conn.execute(delete(ChunkTerm))
        now = 0.9
        assert await statistics.frequencies(conn, COLLECTION, []) == (3, {})
        now = 1.1
        assert await statistics.frequencies(conn, COLLECTION, []) == (0, {})


@pytest.mark.usefixtures("remembered")
async def test_frequencies_are_counted_again_when_enough_has_changed_or_time_has_passed(
    three: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aperag_retrieval.statistics.CHANGED", 0.4)
    now = 0.0
    statistics = CollectionStatistics(clock=lambda: now)
    moon = term_id("moon")

    async def holding() -> tuple[int, int]:
        async with three.engine.connect() as conn:
            chunks, frequencies = await statistics.frequencies(conn, COLLECTION, [moon])
        return chunks, frequencies[moon]

    assert await holding() == (3, 1)
    await three.document("lunar", "The moon again.")
    now = 2.0
    assert await holding() == (4, 1)  # a third more, but not four tenths
    await three.document("lunatic", "The moon, once more.")
    now = 4.0
    assert await holding() == (5, 3)
    await three.document("eclipse", "The moon is dark.")
    now = 6.0
    assert await holding() == (6, 3)
    now = 700.0
    assert await holding() == (6, 4)


async def test_scores_by_id_equal_those_of_the_search(three: Library) -> None:
    (row,) = await three.embedder.embed(["moon"])
    dense = VectorQuery(COLLECTION, USE_MODEL, row)
    lexical = TermQuery(COLLECTION, {term_id("moon"): 1})
    async with three.engine.connect() as conn:
        found = {c.chunk_id: c.score for c in await VECTORS.search(conn, dense, 5)}
        assert await VECTORS.scores(conn, dense, list(found)) == pytest.approx(found)
        words = {c.chunk_id: c.score for c in await FULLTEXT.search(conn, lexical, 5)}
        scores = await FULLTEXT.scores(conn, lexical, list(found))
    assert scores == pytest.approx({"bread-1-0": 0.0, "clock-1-0": 0.0} | words)


async def texts(library: Library, query: str, vector: int, fulltext: int) -> str:
    outcome = await library.search(
        query,
        vector=LegRequest(vector) if vector else None,
        fulltext=LegRequest(fulltext) if fulltext else None,
    )
    return " ".join(hit.text for hit in outcome.items)


async def serve(conn: AsyncConnection, document_id: str, generation: int) -> None:
    await conn.execute(
        update(DocumentIndex).where(DocumentIndex.document_id == document_id).values(served_generation=generation)
    )


async def test_an_error_of_ours_is_told_in_its_words(three: Library) -> None:
    class Busy(PgVectorIndex):
        async def search(self, conn: AsyncConnection, query: VectorQuery, limit: int) -> list[Candidate]:
            raise errors.Busy("the encoder is busy")

    searcher = Searcher(three.engine, EmbeddersBesideLocal([three.embedder], WordEmbedders({})), vectors=Busy())
    request = SearchRequest(COLLECTION, "user1", "yeast", LegRequest(5))
    outcome = await searcher.search(request, analyzer=DEFAULT_ANALYZER, model=USE_MODEL)
    assert (outcome.items, outcome.errors) == ([], {"vector_search": "the encoder is busy"})
