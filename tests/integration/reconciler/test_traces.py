"""What one request set going stays in its trace, however much later it is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aperag_common import subjects
from aperag_common.telemetry import propagate
from aperag_testing.factories import ADMISSION, KINDS, make_collection, make_user, new_document
from aperag_work import changes
from aperag_work.policy import WorkPolicy
from aperag_work.release import FairRelease
from aperag_work.sweep import OutboxSweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aperag_common.bus.connection import Bus
    from aperag_testing.steps import Steps
    from aperag_work.change import Change
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.redrive import Redrive

DOCUMENTS = 40
TRACE = "0af7651916cd43dd8448eb211c80319c"
REQUEST = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Those that this process makes; its tracer is then what it was."""
    before = propagate.provider()
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    propagate.use(provider)
    yield exporter
    propagate.use(before)
    provider.shutdown()


async def accepted(steps: Steps, *, in_flight: int) -> list[Change]:
    """All documents, in one request."""
    admission = replace(ADMISSION, in_flight_per_owner=in_flight)
    async with steps.engine.begin() as conn:
        owner = await make_user(conn)
        collection_id = await make_collection(conn, owner=owner)
        documents = [new_document(collection_id, owner) for _ in range(DOCUMENTS)]
        with propagate.tracer().start_as_current_span("request", context=propagate.context_of(REQUEST)):
            return await changes.upload(conn, documents, kinds=KINDS, admission=admission)


async def traces(bus: Bus, stream: str) -> list[str | None]:
    """The trace that each message of the stream belongs to."""
    state = (await bus.js.stream_info(stream)).state
    found = [await bus.js.get_msg(stream, sequence) for sequence in range(state.first_seq, state.last_seq + 1)]
    return [propagate.trace_id_of((message.headers or {}).get(propagate.TRACEPARENT)) for message in found]


@pytest.mark.usefixtures("spans")
@pytest.mark.parametrize("in_flight", [6, 20], ids=["one by one", "in batches"])
async def test_commands_that_fair_release_sends_belong_to_the_request(
    bus: Bus, dispatcher: Dispatcher, job_database: Database, steps: Steps, in_flight: int
) -> None:
    changed = await accepted(steps, in_flight=in_flight)
    commands = [command for change in changed for command in change.commands]
    assert await dispatcher.send(commands) == in_flight
    release = FairRelease(job_database, dispatcher, WorkPolicy(), in_flight)
    runs = 0
    while await steps.column("SELECT 1 FROM job WHERE kind = 'parse' AND dispatch = 0"):
        await steps.change("UPDATE job SET status = 'ACTIVE' WHERE kind = 'parse' AND dispatch > 0")
        assert await release.run() > 0
        runs += 1
    assert runs == (DOCUMENTS - 1) // in_flight
    assert await traces(bus, subjects.COMMANDS) == [TRACE] * DOCUMENTS


@pytest.mark.usefixtures("spans", "keeper")
async def test_events_that_the_sweep_relays_belong_to_the_request(
    bus: Bus, dispatcher: Dispatcher, job_database: Database, steps: Steps
) -> None:
    await accepted(steps, in_flight=6)  # committed, then the process died before its relay
    await steps.change("UPDATE outbox SET created = created - interval '1 minute'")
    assert await OutboxSweep(job_database, dispatcher).run() == DOCUMENTS
    assert await traces(bus, subjects.EVENTS) == [TRACE] * DOCUMENTS


async def test_a_redriven_command_has_a_trace_of_its_own_that_leads_to_the_request(
    bus: Bus, redrive: Redrive, spans: InMemorySpanExporter, steps: Steps
) -> None:
    """One trace over hours could not be read."""
    await accepted(steps, in_flight=6)
    await steps.change("UPDATE job SET due_at = clock_timestamp() WHERE dispatch > 0")
    assert await redrive.run() == 6
    made = [span for span in spans.get_finished_spans() if span.name == f"redrive {subjects.PARSE_DOCUMENT}"]
    assert [f"{link.context.trace_id:032x}" for span in made for link in span.links] == [TRACE] * 6
    own = {f"{span.context.trace_id:032x}" for span in made}
    assert len(own | {TRACE}) == 7
    assert set(await traces(bus, subjects.COMMANDS)) == own
