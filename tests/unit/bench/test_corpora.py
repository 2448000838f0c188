"""What is uploaded: real sets in BEIR's layout, documents of a folder, generated ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bench.corpora import beir
from bench.corpora.choose import LONG_CHUNKS, corpus
from bench.corpora.document import CorpusDocument, take
from bench.errors import BenchError

from aperag_retrieval.chunking import chunk_document

if TYPE_CHECKING:
    from pathlib import Path


def write_set(folder: Path, judgements: str) -> None:
    corpus_rows = [{"_id": "d1", "title": "Tides", "text": "The moon."}, {"_id": "d/2", "text": "Bread."}]
    queries = [{"_id": "q1", "text": "moon"}, {"_id": "q2", "text": "nobody judged this"}, {"_id": "q3", "text": "no"}]
    (folder / "qrels").mkdir()
    for name, rows in (("corpus.jsonl", corpus_rows), ("queries.jsonl", queries)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgements}", encoding="utf-8")


def test_a_set_is_read_with_its_judged_queries_only(tmp_path: Path) -> None:
    write_set(tmp_path, "q1\td1\t2\nq1\td/2\t0\nq3\td1\t0\n")
    found = beir.read(tmp_path)
    assert found.texts == {"d1": "Tides\n\nThe moon.", "d/2": "Bread."}
    assert found.queries == {"q1": "moon"}
    assert found.gains == {"q1": {"d1": 2, "d/2": 0}}


def test_a_set_that_nobody_judged_is_refused_with_a_hint(tmp_path: Path) -> None:
    write_set(tmp_path, "")
    with pytest.raises(BenchError) as raised:
        beir.read(tmp_path)
    assert "qrels" in raised.value.hint


def test_a_set_is_a_corpus_of_text_documents(tmp_path: Path) -> None:
    write_set(tmp_path, "")
    _, documents = corpus(str(tmp_path), 0)
    assert documents == [CorpusDocument("d1.txt", b"Tides\n\nThe moon."), CorpusDocument("d_2.txt", b"Bread.")]


def test_a_folder_is_a_corpus_of_its_documents(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_bytes(b"b")
    (tmp_path / "a.PDF").write_bytes(b"a")
    (tmp_path / "deeper").mkdir()
    _, documents = corpus(str(tmp_path), 0)
    assert documents == [CorpusDocument("a.PDF", b"a"), CorpusDocument("b.md", b"b")]
    assert documents[0].suffix == ".pdf"


def test_a_corpus_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no corpus is called"):
        corpus(str(tmp_path / "nowhere"), 0)


def test_a_small_corpus_is_repeated_under_other_names() -> None:
    documents = [CorpusDocument("a.md", b"a"), CorpusDocument("b.md", b"b")]
    taken = take(documents, 5)
    assert [document.body for document in taken] == [b"a", b"b", b"a", b"b", b"a"]
    assert len({document.name for document in taken}) == 5
    assert all(document.suffix == ".md" for document in taken)


def test_a_part_of_a_corpus_is_its_beginning() -> None:
    documents = [CorpusDocument(f"{n}.md", b"") for n in range(9)]
    assert take(documents, 4) == documents[:4]
    assert take(documents, 0) == documents


def test_generated_documents_are_the_same_each_time_and_all_different() -> None:
    _, first = corpus("generated", 20)
    _, second = corpus("generated", 20)
    assert first == second
    assert len({document.body for document in first}) == 20


def test_long_documents_have_as_many_chunks_as_promised() -> None:
    _, documents = corpus("long", 3)
    assert len({document.name for document in documents}) == 3
    assert all(len(chunk_document(document.body.decode())) >= LONG_CHUNKS for document in documents)
