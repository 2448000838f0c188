"""``bench ingest``: one document at a time, then many at once, beside the same work without services."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_api.knowledge.uploads.names import SUFFIXES
from aperag_common.db.models.workflow import WorkflowStatus
from aperag_indexer.settings import PoolSettings
from aperag_testing.client import Client
from bench.corpora.choose import corpus
from bench.corpora.document import CorpusDocument
from bench.corpora.generated import page
from bench.errors import BenchError
from bench.harness.database import chunks_of, database, owner_and_analyzer
from bench.harness.stack import running_stack
from bench.harness.upload import upload_all
from bench.ingest.findings import Bulk, findings
from bench.ingest.idle import one_at_a_time
from bench.ingest.pure import Place, Pure, pure
from bench.measure.processes import StackProcesses, cpu_between

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aperag_testing.stack import Stack
    from bench.report.figures import Findings


@dataclass(frozen=True, slots=True)
class Options:
    """``documents`` 0 takes the whole corpus, None what is usual; ``singles`` are uploaded one at a time before it."""

    corpus: str
    documents: int | None
    singles: int
    concurrency: int
    indexers: int


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    name, found = corpus(options.corpus, options.documents)
    documents = [document for document in found if document.suffix in SUFFIXES]
    if not documents:
        message = f"the gateway accepts no document of {options.corpus}"
        raise BenchError(message, hint=f"supported are {' '.join(sorted(SUFFIXES))}")
    tell("starting a stack")
    with running_stack("--indexers", str(options.indexers)) as stack:
        async with Client(stack.url, stack.api_key) as client:
            tell(f"{options.singles} documents, one at a time")
            singles = await one_at_a_time(client, options.singles)
            workers = PoolSettings().workers * options.indexers
            tell(f"{len(documents)} documents without services, in {workers} processes")
            baseline = await _pure(stack, client, documents, workers=workers)
            tell(f"{len(documents)} documents, {options.concurrency} uploads at a time")
            bulk = await _bulk(stack, client, documents, concurrency=options.concurrency)
    return findings(name, options.concurrency, singles, bulk, baseline)


async def _pure(stack: Stack, client: Client, documents: Sequence[CorpusDocument], *, workers: int) -> Pure:
    collection = await client.collection("without services")
    async with database(stack) as engine:
        owner, analyzer = await owner_and_analyzer(engine, collection)
    with tempfile.TemporaryDirectory(prefix="aperag-bench-") as folder:
        place = Place(collection, owner, analyzer)
        return await pure(stack, place, documents, workers=workers, folder=Path(folder))


async def _bulk(stack: Stack, client: Client, documents: Sequence[CorpusDocument], *, concurrency: int) -> Bulk:
    # As many as bring every process of the pool to life, which the run without services has done before its clock too.
    warming = [CorpusDocument(f"warm-{number}.md", page(-number).encode()) for number in range(4 * concurrency)]
    await upload_all(client, await client.collection("warm"), warming, concurrency=concurrency)
    collection = await client.collection("bulk")
    processes = StackProcesses(stack)
    before = processes.cpu_seconds()
    uploaded = await upload_all(client, collection, documents, concurrency=concurrency)
    spent = cpu_between(before, processes.cpu_seconds())
    async with database(stack) as engine:
        chunks = await chunks_of(engine, collection)
    failed = sum(document.outcome != WorkflowStatus.SUCCESS for document in uploaded)
    return Bulk(uploaded, failed, chunks, spent, processes.pss_mb())
