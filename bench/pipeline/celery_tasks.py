"""The baseline's tasks, wired as the original's: parse, then a task that fans out, then a chord over the indexes.

Unlike the original's they pass ids, not the document's text, through Redis.
"""
# mypy: disable-error-code="untyped-decorator, import-not-found, import-untyped"

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from celery import chord
from celery.signals import worker_process_init

from aperag_common.db.session import make_engine
from aperag_common.jobs.declared import BUILT
from aperag_common.jobs.steps import StepKind
from aperag_common.objects import LocalObjectStore
from aperag_common.settings import PostgresSettings
from aperag_indexer.adapters.warm import load
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.lexical import PgFulltextIndex
from bench.celery.app import worker_app
from bench.harness.rows import MODEL
from bench.pipeline.baseline import OBJECTS, POSTGRES
from bench.pipeline.baseline_steps import BaselineSteps

app = worker_app()
app.conf.update(worker_proc_alive_timeout=60)  # each child loads the encoder before it takes work
retried: dict[str, Any] = {"autoretry_for": (Exception,), "max_retries": 3, "default_retry_delay": 60}


class Child:
    """Of a worker's child: one loop, and what the steps work with."""

    loop: asyncio.AbstractEventLoop
    steps: BaselineSteps


@worker_process_init.connect
def begin(**_: Any) -> None:
    load([MODEL.id])
    Child.loop = asyncio.new_event_loop()
    engine = make_engine(PostgresSettings(url=os.environ[POSTGRES], pool_size=1), name="baseline")
    objects = LocalObjectStore(Path(os.environ[OBJECTS]))
    Child.steps = BaselineSteps(engine, objects, PgVectorIndex(), PgFulltextIndex())


@app.task(name="parse", **retried)
def parse(document_id: str) -> str:
    Child.loop.run_until_complete(Child.steps.parse(document_id))
    return document_id


@app.task(name="fan_out")
def fan_out(document_id: str) -> None:
    chord([build.s(document_id, kind.value) for kind in BUILT])(finish.s(document_id))


@app.task(name="build", **retried)
def build(document_id: str, kind: str) -> str:
    Child.loop.run_until_complete(Child.steps.build(document_id, StepKind(kind)))
    return kind


@app.task(name="finish")
def finish(_built: list[str], document_id: str) -> None:
    Child.loop.run_until_complete(Child.steps.finish(document_id))
