"""Retrieval sets in BEIR's layout: corpus.jsonl, queries.jsonl and judgements in qrels/*.tsv."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CORPUS, QUERIES, JUDGEMENTS = "corpus.jsonl", "queries.jsonl", "qrels"


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """``texts`` by document, ``queries`` by query, ``gains`` by query and document; a gain of 0 is irrelevant."""

    texts: dict[str, str]
    queries: dict[str, str]
    gains: dict[str, dict[str, int]]


def is_retrieval_set(folder: Path) -> bool:
    return (folder / CORPUS).is_file()


def read_texts(folder: Path) -> dict[str, str]:
    """Title and text, the title on a line of its own."""
    return {row["_id"]: f"{row.get('title', '')}\n\n{row['text']}".strip() for row in _rows(folder / CORPUS)}


def read_queries(folder: Path) -> dict[str, str]:
    return {row["_id"]: row["text"] for row in _rows(folder / QUERIES)}


def read(folder: Path) -> RetrievalSet:
    """All judgements of the folder together; queries that nobody judged are left out."""
    gains: dict[str, dict[str, int]] = defaultdict(dict)
    for path in sorted((folder / JUDGEMENTS).glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                gains[row["query-id"]][row["corpus-id"]] = int(row["score"])
    judged = {name: text for name, text in read_queries(folder).items() if any(gains.get(name, {}).values())}
    if not judged:
        message = f"{folder} holds no query with a relevant document"
        raise BenchError(message, hint=f"it needs {QUERIES} and {JUDGEMENTS}/*.tsv (query-id, corpus-id, score)")
    return RetrievalSet(read_texts(folder), judged, {name: gains[name] for name in judged})


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except OSError as err:
        message = f"cannot read {path}: {err.strerror}"
        raise BenchError(message, hint="name a folder in the layout of BEIR") from err
