"""What the tasks of the Celery baseline write, without Celery: the rows of our engine, which our reconciler leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bench.pipeline import baseline_rows
from bench.pipeline.accept import once
from bench.pipeline.baseline_steps import BaselineSteps
from sqlalchemy import text

from aperag_common.jobs.declared import BUILT
from aperag_common.jobs.steps import StepKind
from aperag_common.objects import LocalObjectStore
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.lexical import PgFulltextIndex
from aperag_testing.audit import BROKEN_BY
from aperag_testing.factories import make_collection, make_user, new_document
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.release import FairRelease

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_work.accepting import NewDocument
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher

BODY = b"# Tides\n\nThe moon raises two tides a day in the old harbour of this town.\n"
OPENS_NO_WORKFLOW = {"every document has one workflow, which succeeded"}


@pytest.fixture
def steps(engine: AsyncEngine, tmp_path: Path) -> BaselineSteps:
    return BaselineSteps(engine, LocalObjectStore(tmp_path), PgVectorIndex(), PgFulltextIndex())


async def accept(steps: BaselineSteps) -> NewDocument:
    async with steps.engine.begin() as conn:
        owner = await make_user(conn)
        document = new_document(await make_collection(conn, owner=owner), owner, name="tides.md", body=BODY)
        await steps.objects.put(document.object_path, once(BODY))
        await baseline_rows.add(conn, document)
    return document


async def test_each_task_delivered_twice_leaves_the_rows_of_our_engine_once(steps: BaselineSteps) -> None:
    document = await accept(steps)
    for _ in range(2):
        await steps.parse(document.id)
    for kind in (*BUILT, *BUILT):
        await steps.build(document.id, kind)
    await steps.finish(document.id)
    async with steps.engine.connect() as conn:
        for promise, query in BROKEN_BY.items():
            if promise not in OPENS_NO_WORKFLOW:
                assert (await conn.execute(text(query), {"collection": document.collection_id})).all() == [], promise
        served = await conn.execute(text("SELECT kind, data ->> 'chunks' AS chunks FROM document_index ORDER BY kind"))
        assert [tuple(row) for row in served] == [("fulltext", "1"), ("parse", "1"), ("vector", "1")]


async def test_the_reconciler_leaves_the_baselines_jobs_alone(
    steps: BaselineSteps, job_database: Database, dispatcher: Dispatcher
) -> None:
    redrive = Redrive(job_database, dispatcher, WorkPolicy())
    release = FairRelease(job_database, dispatcher, WorkPolicy(), 16)
    document = await accept(steps)
    assert (await redrive.run(), await release.run()) == (0, 0)
    await steps.parse(document.id)
    assert (await redrive.run(), await release.run()) == (0, 0)


async def test_a_task_whose_document_was_changed_meanwhile_serves_nothing(steps: BaselineSteps) -> None:
    document = await accept(steps)
    async with steps.engine.begin() as conn:
        claimed = await baseline_rows.claim(conn, document.id, StepKind.PARSE)
        assert claimed is not None
        await conn.execute(text("UPDATE job SET generation = generation + 1"))
        assert not await baseline_rows.settle(conn, claimed.row, {})
        assert (await conn.execute(text("SELECT count(*) FROM document_index"))).scalar_one() == 0
