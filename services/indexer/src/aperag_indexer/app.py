"""The indexer's composition root."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

import structlog

from aperag_common import errors, subjects
from aperag_common.jobs.declared import COLLECTION_SUMMARY, INDEXES, PARSE
from aperag_common.jobs.kind import Wanted
from aperag_common.jobs.steps import StepKind
from aperag_common.objects import LocalObjectStore, ObjectStore
from aperag_common.pool import ProcessPool
from aperag_indexer.adapters.kreuzberg import KreuzbergParser, ReadLimits
from aperag_indexer.adapters.recognition import installed_recognition
from aperag_indexer.adapters.warm import load
from aperag_indexer.indexing.handlers import BuildFulltext, BuildVectors
from aperag_indexer.parsing.handlers import Parse
from aperag_indexer.reading.bounds import Bounds
from aperag_indexer.removal.handlers import RemoveDocument, RemoveIndex
from aperag_indexer.settings import Settings
from aperag_indexer.summarizing.handlers import Summarize
from aperag_indexer.summarizing.leads import ExtractiveSummarizer
from aperag_models.catalog import Models
from aperag_retrieval.chunking import ChunkDraft, ChunkPolicy, ParsedDocument, chunk_document
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.embedding import EmbeddersBesideLocal, in_pool
from aperag_retrieval.lexical import PgFulltextIndex
from aperag_retrieval.local import default_model
from aperag_retrieval.used import local_models_used
from aperag_work.engine import Engine
from aperag_work.runtime import Runtime, open_runtime

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from aperag_retrieval.embedding import Embedders
    from aperag_retrieval.ports import FulltextIndex, VectorIndex

log = structlog.get_logger(__name__)

SERVICE = "indexer"


def make_engine(runtime: Runtime, settings: Settings, pool: ProcessPool, models: Embedders) -> Engine:
    """Every kind of job that this service works on, with its handler."""
    engine = runtime.job_engine(settings)
    objects = LocalObjectStore(settings.objects.directory)
    vector_index, fulltext_index = PgVectorIndex(), PgFulltextIndex()
    vectors = BuildVectors(runtime.engine, vector_index, EmbeddersBesideLocal(in_pool(pool), models))
    fulltext = BuildFulltext(runtime.engine, fulltext_index)
    summarize = Summarize(ExtractiveSummarizer(), SERVICE)
    parse = make_parse(runtime, settings, pool, objects)
    slots = settings.slots
    engine.handle(PARSE, parse.run, write=parse.write, slots=slots.parse)
    engine.handle(INDEXES[StepKind.VECTOR], vectors.run, write=vectors.write, slots=slots.vector)
    engine.handle(INDEXES[StepKind.FULLTEXT], fulltext.run, write=fulltext.write, slots=slots.fulltext)
    engine.handle(COLLECTION_SUMMARY, summarize.run, write=summarize.write, lock=summarize.lock, slots=slots.summarize)
    remove = RemoveDocument(objects)
    engine.handle(PARSE, remove.run, wanted=Wanted.ABSENT, write=remove.write, slots=slots.remove)
    indexes: dict[StepKind, VectorIndex | FulltextIndex] = {
        StepKind.VECTOR: vector_index,
        StepKind.FULLTEXT: fulltext_index,
    }
    for kind, backend in indexes.items():
        gone = RemoveIndex(backend)
        engine.handle(INDEXES[kind], gone.run, wanted=Wanted.ABSENT, write=gone.write, slots=slots.remove)
    return engine


def make_parse(runtime: Runtime, settings: Settings, pool: ProcessPool, objects: ObjectStore) -> Parse:
    bounds = settings.parse
    limits = ReadLimits(
        unpacked=bounds.unpacked,
        pixels=bounds.pixels,
        recognised_pages=bounds.recognised_pages,
        memory=bounds.memory,
        cpu_seconds=math.ceil(bounds.cpu.total_seconds()),
        bounds=Bounds(bounds.pages, bounds.cells, bounds.characters),
    )
    parser = KreuzbergParser(pool, timeout=bounds.timeout, limits=limits)
    policy = ChunkPolicy(settings.chunks.size, settings.chunks.overlap)
    chunk = partial(_chunk, pool, bounds.timeout.total_seconds())
    return Parse(runtime.engine, objects, parser, policy, chunk)


async def _chunk(
    pool: ProcessPool, seconds: float, owner: str, document: ParsedDocument, policy: ChunkPolicy
) -> list[ChunkDraft]:
    try:
        return await pool.run(chunk_document, document, policy, seconds=seconds, owner=owner)
    except TimeoutError as err:
        message = f"Cutting the document took longer than {seconds:.0f} s. Split it and upload the parts."
        raise errors.CorruptDocument(message) from err


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM, then finishes or gives back what it holds."""
    async with open_runtime(settings, service=SERVICE) as runtime:
        log.info("recognition.found", languages=installed_recognition().version)
        pool = ProcessPool(settings.pool.workers, guests=True, idle_seconds=settings.pool.idle.total_seconds())
        models = Models.of(runtime.engine, settings)
        engine = make_engine(runtime, settings, pool, models)

        async def on_cancel(message: Msg) -> None:
            engine.cancel_task(subjects.parse_cancel_task(message.subject))

        await runtime.bus.nc.subscribe(subjects.ALL_TASK_CANCELS, cb=on_cancel)
        used = await local_models_used(runtime.engine, default_model(fast=settings.models.fast))
        warming = asyncio.create_task(pool.run(load, used))
        await runtime.work_until_stopped(settings, engine, runtime.worker(engine))
        warming.cancel()
        await models.close()
        await pool.close()
