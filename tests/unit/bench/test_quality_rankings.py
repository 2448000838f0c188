"""From hits to rankings of documents."""

from __future__ import annotations

from bench.quality.run import _documents, _sample

NAMES = {"doc1": "a", "doc2": "b"}


def test_a_document_stands_where_its_best_chunk_stands() -> None:
    hits = [{"metadata": {"document_id": document}} for document in ("doc2", "doc1", "doc2", "doc1")]
    assert list(_documents(hits, NAMES)) == ["b", "a"]


def test_a_sample_of_queries_is_the_same_each_time() -> None:
    queries = {str(number): f"query {number}" for number in range(50)}
    assert _sample(queries, 10) == _sample(queries, 10)
    assert len(_sample(queries, 10)) == 10
    assert _sample(queries, 0) == queries
    assert _sample(queries, 99).keys() == queries.keys()
