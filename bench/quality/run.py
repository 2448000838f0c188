"""``bench quality``: rankings of a retrieval set's queries, judged as its makers did, through the HTTP API."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from aperag_testing.client import Client
from bench.corpora import beir
from bench.errors import BenchError
from bench.harness.arrivals import arrivals
from bench.harness.stack import running_stack
from bench.measure.ranking import ndcg, recall
from bench.report.figures import Findings, Row, Section, Target, at_least
from bench.search.load import Leg, search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.corpora.beir import RetrievalSet

PER_REQUEST = 20
UPLOADS = 4
SEARCHES = 8
DEPTH = 100
TARGETS = {"scifact": {Leg.FULLTEXT: 0.675, Leg.HYBRID: 0.725}, "cmrc": {Leg.FULLTEXT: 0.975, Leg.HYBRID: 0.99}}
"""nDCG@10 with the embedded defaults, by the folder's name."""


@dataclass(frozen=True, slots=True)
class Options:
    """``queries`` 0 asks all, else a sample of so many."""

    folder: Path
    queries: int


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    judged = beir.read(options.folder)
    tell("starting a stack")
    with running_stack() as stack:
        async with Client(stack.url, stack.api_key) as client:
            collection = await client.collection(options.folder.name)
            tell(f"uploading {len(judged.texts)} documents")
            names = await _upload(client, collection, judged.texts)
            asked = _sample(judged.queries, options.queries)
            rows: dict[Leg, Row] = {}
            for leg in Leg:
                tell(f"{len(asked)} searches, {leg}")
                rows[leg] = await _judge(client, collection, leg, asked, judged, names)
    found = [{"leg": leg, "queries": len(asked), **row} for leg, row in rows.items()]
    title = f"{options.folder.name}: {len(judged.texts)} documents"
    return Findings([Section(title, found)], _targets(options.folder.name, rows))


def _sample(queries: Mapping[str, str], wanted: int) -> dict[str, str]:
    """The same ones each time, from all over the set: neighbours in it often ask of one document."""
    names = random.Random(0).sample(list(queries), min(wanted, len(queries))) if wanted else list(queries)
    return {name: queries[name] for name in names}


async def _upload(client: Client, collection: str, texts: Mapping[str, str]) -> dict[str, str]:
    """By document id the name in the set; every document is searchable then."""
    slots = asyncio.Semaphore(UPLOADS)
    names: dict[str, str] = {}
    tasks: list[str] = []

    async def send(number: int, part: Sequence[str]) -> None:
        # Names in the set may hold what a document's name may not.
        bodies = {f"{number * PER_REQUEST + place}.txt": texts[name].encode() for place, name in enumerate(part)}
        async with slots:
            accepted = await client.upload(collection, bodies)
        names.update((document["id"], name) for document, name in zip(accepted, part, strict=True))
        tasks.extend(document["task_id"] for document in accepted)

    async with arrivals(client) as told:
        await asyncio.gather(*(send(number, part) for number, part in enumerate(_parts(texts))))
        await told.all_of(tasks)
    failed = [task for task in tasks if told.outcomes[task] != "SUCCESS"]
    if failed:
        message = f"{len(failed)} of {len(tasks)} documents did not become searchable"
        raise BenchError(message, hint="empty texts cannot be indexed: leave them out of corpus.jsonl")
    return names


async def _judge(
    client: Client,
    collection: str,
    leg: Leg,
    asked: Mapping[str, str],
    judged: RetrievalSet,
    names: Mapping[str, str],
) -> Row:
    slots = asyncio.Semaphore(SEARCHES)

    async def one(query: str, text: str) -> tuple[float, float]:
        async with slots:
            hits = await search(client, collection, leg, text, topk=DEPTH)
        ranked = list(_documents(hits, names))
        return ndcg(ranked, judged.gains[query]), recall(ranked, judged.gains[query], DEPTH)

    scores = await asyncio.gather(*(one(query, text) for query, text in asked.items()))
    return {
        "nDCG@10": sum(score for score, _ in scores) / len(scores),
        f"Recall@{DEPTH}": sum(score for _, score in scores) / len(scores),
    }


def _documents(hits: Iterable[Mapping[str, object]], names: Mapping[str, str]) -> Iterator[str]:
    """Each document at the place of its best chunk."""
    found = (hit["metadata"]["document_id"] for hit in hits)  # type: ignore[index]
    return (names[document] for document in dict.fromkeys(found))


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    names = iter(texts)
    while part := list(islice(names, PER_REQUEST)):
        yield part


def _targets(name: str, rows: Mapping[Leg, Row]) -> list[Target]:
    limits = TARGETS.get(name, {})
    return [at_least(f"{leg}, nDCG@10", float(rows[leg]["nDCG@10"] or 0), limit) for leg, limit in limits.items()]
