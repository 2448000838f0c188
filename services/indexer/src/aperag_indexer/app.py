"""The indexer's composition root."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.bus import subjects
from aperag_common.bus.worker import Worker, make_broker
from aperag_common.events.commands import BuildIndex, ParseDocument, RemoveDocument, RemoveIndex, SummarizeCollection
from aperag_common.health import HealthServer
from aperag_common.objects import LocalObjectStore
from aperag_common.pool import ProcessPool
from aperag_common.process import until_stopped
from aperag_common.runtime import Runtime, open_runtime
from aperag_common.work.claims import Claims
from aperag_common.work.driven import DrivenRows
from aperag_common.work.failures import record_poison
from aperag_common.work.policy import WorkPolicy
from aperag_common.work.presence import present
from aperag_indexer.adapters.kreuzberg import KreuzbergParser, ReadLimits
from aperag_indexer.adapters.warm import load
from aperag_indexer.indexing.handlers import FulltextStep, VectorStep
from aperag_indexer.parsing.handlers import ParseStep
from aperag_indexer.removal.handlers import RemoveStep
from aperag_indexer.settings import Settings
from aperag_indexer.summarizing.handlers import SummarizeStep
from aperag_indexer.summarizing.leads import ExtractiveSummarizer
from aperag_models.catalog import Models
from aperag_retrieval.chunking import ChunkDraft, ChunkPolicy, ParsedDocument, chunk_document
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.embedding import EmbeddersBesideLocal, LocalEmbedder
from aperag_retrieval.lexical import PgFulltextIndex

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from aperag_retrieval.embedding import Embedders

SERVICE = "indexer"


def make_worker(runtime: Runtime, settings: Settings, claims: Claims, pool: ProcessPool, models: Embedders) -> Worker:
    """One consume loop per step."""
    objects = LocalObjectStore(settings.objects.directory)
    vectors, fulltext = PgVectorIndex(), PgFulltextIndex()
    bounds = settings.parse
    limits = ReadLimits(bounds.unpacked, bounds.pixels, bounds.recognised_pages, bounds.memory)
    parser = KreuzbergParser(pool, timeout=bounds.timeout, limits=limits)
    policy = ChunkPolicy(settings.chunks.size, settings.chunks.overlap)
    parse = ParseStep(claims, objects, parser, policy, partial(_chunk, pool, bounds.timeout.total_seconds()))
    vector = VectorStep(claims, vectors, EmbeddersBesideLocal(LocalEmbedder(pool), models))
    fulltext_step = FulltextStep(claims, fulltext)
    remove = RemoveStep(claims, objects, vectors, fulltext)

    async def parse_document(command: ParseDocument) -> None:
        await parse.handle(command)

    async def build_vector_index(command: BuildIndex) -> None:
        await vector.handle(command)

    async def build_fulltext_index(command: BuildIndex) -> None:
        await fulltext_step.handle(command)

    async def remove_step(command: RemoveDocument | RemoveIndex) -> None:
        await remove.handle(command)

    poison = partial(record_poison, runtime.engine, runtime.metrics)
    beat = settings.work.beat.total_seconds()
    worker = Worker(make_broker(settings.nats.url), runtime.bus, runtime.metrics, poison, beat=beat)
    worker.subscribe("indexer-parse", parse_document, slots=settings.slots.parse)
    worker.subscribe("indexer-vector", build_vector_index, slots=settings.slots.vector)
    worker.subscribe("indexer-fulltext", build_fulltext_index, slots=settings.slots.fulltext)
    worker.subscribe("indexer-remove", remove_step, slots=settings.slots.remove)
    subscribe_summaries(worker, runtime, settings)
    return worker


async def _chunk(pool: ProcessPool, seconds: float, document: ParsedDocument, policy: ChunkPolicy) -> list[ChunkDraft]:
    try:
        return await pool.run(chunk_document, document, policy, seconds=seconds)
    except TimeoutError as err:
        message = f"Cutting the document took longer than {seconds:.0f} s. Split it and upload the parts."
        raise errors.CorruptDocument(message) from err


def subscribe_summaries(worker: Worker, runtime: Runtime, settings: Settings) -> None:
    policy = WorkPolicy.of(settings.work)
    rows = DrivenRows(runtime.engine, runtime.courier, policy, runtime.metrics, runtime.instance, source=SERVICE)
    summarize = SummarizeStep(rows, ExtractiveSummarizer())

    async def summarize_collection(command: SummarizeCollection) -> None:
        await summarize.handle(command)

    worker.subscribe("indexer-summarize", summarize_collection, slots=settings.slots.summarize)


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM, then finishes or gives back what it holds."""
    async with open_runtime(settings, service=SERVICE) as runtime:
        policy = WorkPolicy.of(settings.work)
        claims = Claims(runtime.engine, runtime.courier, policy, runtime.metrics, runtime.instance)
        pool = ProcessPool(settings.pool.workers, idle_seconds=settings.pool.idle.total_seconds())
        models = Models.of(runtime.engine, settings)
        worker = make_worker(runtime, settings, claims, pool, models)

        async def on_cancel(message: Msg) -> None:
            claims.cancel_task(subjects.parse_cancel_task(message.subject))

        await runtime.bus.nc.subscribe(subjects.ALL_TASK_CANCELS, cb=on_cancel)
        runtime.health.add("consumers", worker.moving)
        server = HealthServer(settings.http, runtime.health, runtime.metrics)
        await server.start()
        await worker.start()
        warming = asyncio.create_task(pool.run(load))
        async with present(runtime.engine, SERVICE, runtime.instance, worker.loads):
            await until_stopped()
        warming.cancel()
        await worker.stop()
        await models.close()
        await pool.close()
        await server.stop()
