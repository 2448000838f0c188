"""Events of other services as the gateway takes them, put together; and the worker that does it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aperag_api.knowledge.ingest.apply import Apply
from aperag_api.knowledge.ingest.content import Contents
from aperag_api.knowledge.ingest.intake import Intake
from aperag_api.knowledge.ingest.receive import Receive
from aperag_api.knowledge.ingest.references import References
from aperag_api.knowledge.ingest.service import IngestService
from aperag_common.bus.topology import consumer
from aperag_common.db.models import Lane
from aperag_common.jobs.declared import INGEST
from aperag_work.opening import Admission

if TYPE_CHECKING:
    from aperag_api.knowledge.ingest.settings import IngestSettings
    from aperag_api.knowledge.uploads.service import UploadService
    from aperag_common.bus.worker import Worker
    from aperag_common.outbound.client import OutboundClient
    from aperag_common.settings import WorkSettings
    from aperag_work.engine import Engine
    from aperag_work.runtime import Runtime
    from aperag_work.scheduler import TaskScheduler

CONSUMER = "api-ingest"


def open_ingest(
    runtime: Runtime,
    settings: IngestSettings,
    work: WorkSettings,
    *,
    scheduler: TaskScheduler,
    uploads: UploadService,
    client: OutboundClient,
) -> IngestService:
    intake = Intake(
        runtime.database,
        uploads.objects,
        runtime.dispatcher,
        uploads.arrivals,
        work.in_flight_per_owner,
        work.first_due,
        settings.max_pending,
    )
    references = References(
        client,
        settings.reference_timeout.total_seconds(),
        settings.max_reference,
        asyncio.Semaphore(settings.fetches),
    )
    admission = Admission(Lane.BULK, work.in_flight_per_owner, work.first_due)
    contents = Contents(uploads.objects, references)
    return IngestService(
        runtime.engine,
        intake,
        Receive(intake, runtime.database, runtime.dispatcher, runtime.metrics, settings.max_content),
        Apply(runtime.engine, runtime.dispatcher, scheduler, uploads, contents, admission),
        settings,
    )


def make_worker(runtime: Runtime, engine: Engine, ingest: IngestService) -> Worker:
    """What this gateway does besides answering requests."""
    apply = ingest.apply
    engine.handle(INGEST, apply.run, lock=apply.lock, gave_up=apply.failed, slots=ingest.settings.apply)
    worker = runtime.worker(engine)
    worker.add(consumer(CONSUMER), ingest.receive.work, slots=ingest.settings.receive)
    return worker
