"""The webhooks service's composition root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common.bus import topology
from aperag_common.jobs.declared import WEBHOOK_DELIVER
from aperag_common.outbound.client import OutboundClient
from aperag_common.version import VERSION
from aperag_models.keys import vault_of
from aperag_webhooks.fanout.handlers import FanOut
from aperag_webhooks.sending.handlers import Deliver
from aperag_webhooks.sending.sender import Sender
from aperag_work.runtime import Runtime, open_runtime

if TYPE_CHECKING:
    from aperag_common.bus.worker import Worker
    from aperag_webhooks.settings import Settings
    from aperag_work.engine import Engine

SERVICE = "webhooks"
EVENTS = "webhooks-events"
EVENTS_AT_ONCE = 256


def make_engine(runtime: Runtime, settings: Settings, client: OutboundClient) -> Engine:
    engine = runtime.job_engine(settings)
    sender = Sender(client, vault_of(settings), settings.answer_within)
    deliver = Deliver(engine, sender, disable_after=settings.disable_after, source=SERVICE)
    slots = settings.deliveries_at_once
    engine.handle(WEBHOOK_DELIVER, deliver.run, write=deliver.write, lock=deliver.lock, slots=slots)
    return engine


def make_worker(runtime: Runtime, settings: Settings, engine: Engine) -> Worker:
    worker = runtime.worker(engine)
    work = settings.work
    fan_out = FanOut(runtime.database, runtime.dispatcher, work.in_flight_per_owner, work.first_due, SERVICE)
    worker.add(topology.consumer(EVENTS), fan_out.run, slots=EVENTS_AT_ONCE)
    return worker


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM; what is being sent then is finished, or sent again by the next process."""
    async with open_runtime(settings, service=SERVICE) as runtime:
        client = OutboundClient(settings.outbound, user_agent=f"ApeRAG-Webhooks/{VERSION}")
        engine = make_engine(runtime, settings, client)
        await runtime.work_until_stopped(settings, engine, make_worker(runtime, settings, engine))
        await client.close()
