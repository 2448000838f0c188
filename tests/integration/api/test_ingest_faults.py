"""What happens to events of other services where something dies, is full, or is asked twice."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from nats.js.errors import APIError
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.integration.api.ingesting import Sender, attributes, working

from aperag_api.knowledge.ingest import cloudevents
from aperag_common.bus import topology
from aperag_common.bus.delivery import Ack, Delivery, Nak
from aperag_common.events.ingest import UPSERT
from aperag_common.jobs.declared import INGEST
from aperag_common.outbound.settings import OutboundSettings
from aperag_common.telemetry import propagate
from aperag_standalone.certificates import Certificate
from aperag_testing.factories import ADMISSION
from aperag_testing.site import open_site
from aperag_testing.waiting import until
from aperag_work import requeue
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from nats.aio.msg import Msg
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_common.bus.connection import Bus
    from aperag_standalone.nats import NatsServer
    from aperag_testing.site import Site
    from aperag_work.job import Job
    from aperag_work.runtime import Runtime

Person = Any


@pytest_asyncio.fixture
async def sender(bus: Bus, engine: AsyncEngine, alice: Person) -> Sender:
    """Nobody takes in what it sends before a test says so."""
    return Sender(bus, engine, alice.id, await alice.collection(), alice.http)


async def fetched(bus: Bus, count: int = 1) -> list[Msg]:
    pulled = await bus.js.pull_subscribe_bind("api-ingest", "APERAG_INGEST")
    messages = await pulled.fetch(count, timeout=5)
    await pulled.unsubscribe()
    return list(messages)


async def test_a_crash_between_store_and_acknowledgement_leaves_one_event(
    sender: Sender, bus: Bus, runtime: Runtime, settings: Settings, gateway: Gateway
) -> None:
    await sender.upsert("a.md", "x", id="1")
    await sender.publish(None, b"poison")
    for message in await fetched(bus, 2):
        # The end of the process is what keeps the settlement from being sent.
        await gateway.knowledge.ingest.receive.work([Delivery("api-ingest", message)])
        await message.nak()
    async with working(runtime, settings, gateway):
        assert await sender.outcome("1") == "created"

        async def all_settled() -> bool:
            info = await bus.js.stream_info("APERAG_INGEST")
            return info.state.messages == 0

        await until(all_settled, every=0.02)
    assert len(await sender.rows("SELECT id FROM ingest_event")) == 1
    assert len(await sender.rows("SELECT id FROM job WHERE kind = 'ingest'")) == 1
    assert len(await sender.rows("SELECT id FROM dead_letter")) == 1
    assert [fact["type"] for fact in await sender.facts()] == ["ingest.failed", "ingest.completed"]


async def test_a_gateway_that_dies_after_the_change_leaves_no_second_one(
    sender: Sender, runtime: Runtime, settings: Settings, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document is there and the job is not complete: whoever claims it next finds the event carried out."""
    apply = gateway.knowledge.ingest.apply
    attempts: list[str] = []

    async def dying(job: Job) -> Any:
        completion = await apply.run(job)
        attempts.append(completion.outcome)
        if len(attempts) == 1:
            raise await job.put_off(timedelta(milliseconds=10))
        return completion

    engine = runtime.job_engine(settings)
    engine.handle(INGEST, dying, gave_up=apply.failed)
    worker = runtime.worker(engine)
    worker.add(topology.consumer("api-ingest"), gateway.knowledge.ingest.receive.work, slots=8)
    await sender.upsert("a.md", "x", id="1")
    await worker.start()

    async def complete() -> bool:
        return bool(await sender.rows("SELECT 1 FROM job WHERE kind = 'ingest' AND status = 'ACTIVE'"))

    await until(complete, every=0.02)
    await worker.stop()
    assert attempts == ["created", "created"]
    assert len(await sender.documents()) == 1
    assert len(await sender.facts()) == 1


async def test_events_outlive_the_nats_server(
    sender: Sender, runtime: Runtime, settings: Settings, gateway: Gateway, nats_server: NatsServer
) -> None:
    for number in range(5):
        await sender.upsert(f"{number}.md", "x", id=str(number))
    nats_server.kill()
    nats_server.start()
    async with working(runtime, settings, gateway):
        assert {await sender.outcome(str(number)) for number in range(5)} == {"created"}


async def test_the_database_that_refuses_one_event_takes_its_neighbours(
    sender: Sender, runtime: Runtime, settings: Settings, gateway: Gateway, engine: AsyncEngine
) -> None:
    async with engine.begin() as conn:
        await conn.exec_driver_sql("ALTER TABLE ingest_event ADD CHECK (event_id <> 'bad' OR code IS NOT NULL)")
    for id_ in ("1", "bad", "2"):
        await sender.upsert(f"{id_}.md", "x", id=id_)
    async with working(runtime, settings, gateway):
        assert [await sender.outcome(id_) for id_ in ("1", "2")] == ["created", "created"]
        assert await sender.outcome("bad") == "UNSTORABLE_EVENT"


async def test_an_event_that_breaks_its_reader_is_refused_alone(
    sender: Sender, runtime: Runtime, settings: Settings, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = cloudevents.from_nats

    def broken(headers: dict[str, str], body: bytes) -> cloudevents.Event:
        event = read(headers, body)
        if event.id == "bad":
            raise ZeroDivisionError
        return event

    monkeypatch.setattr(cloudevents, "from_nats", broken)
    for id_ in ("1", "bad", "2"):
        await sender.upsert(f"{id_}.md", "x", id=id_)
    async with working(runtime, settings, gateway):
        wanted = {"1": "created", "bad": "INVALID_EVENT", "2": "created"}
        assert {id_: await sender.outcome(id_) for id_ in wanted} == wanted


async def test_a_full_stream_refuses_the_publish_and_says_so(sender: Sender, bus: Bus) -> None:
    config = topology.stream("APERAG_INGEST").config()
    config.max_msgs_per_subject = 3
    await bus.js.update_stream(config)
    for number in range(3):
        await sender.upsert(f"{number}.md", "x")
    with pytest.raises(APIError, match="maximum messages per subject exceeded"):
        await sender.upsert("3.md", "x")
    other = Sender(bus, sender.engine, sender.owner, "col0123456789abcdef", sender.http)
    await other.upsert("a.md", "x")
    config.max_bytes = 1024 * 1024
    await bus.js.update_stream(config)
    with pytest.raises(APIError, match="maximum bytes exceeded"):
        for number in range(3):
            await replace(other, collection=f"col{number}").upsert("a.md", "x" * 500_000)


@pytest.mark.parametrize("settings", [{"ingest": {"max_pending": 1}}], indirect=True)
async def test_events_beyond_what_may_wait_stay_with_the_server(
    sender: Sender, bus: Bus, gateway: Gateway, mallory: Person
) -> None:
    other = Sender(bus, sender.engine, mallory.id, await mallory.collection(), mallory.http)
    await sender.upsert("a.md", "x", id="1")
    await sender.upsert("b.md", "x", id="2")
    await other.upsert("c.md", "x", id="3")
    told: list[Ack | Nak] = []
    for message in await fetched(bus, 3):

        def settled(_: Delivery, settlement: Ack | Nak) -> None:
            told.append(settlement)

        await gateway.knowledge.ingest.receive.work([Delivery("api-ingest", message, settled)])
    assert [it.outcome for it in told] == ["done", "full", "done"]
    answer = await sender.http.post(
        "/ingest/events",
        params={"collection": sender.collection},
        headers={"ce-specversion": "1.0", "ce-id": "4", "ce-source": "/wiki", "ce-type": UPSERT, "ce-subject": "d.md"},
        json={"content": "x"},
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")


@pytest.mark.parametrize("settings", [{"ingest": {"max_pending": 1}}], indirect=True)
async def test_an_event_beyond_what_may_wait_is_not_read_and_comes_back_less_and_less_often(
    sender: Sender, bus: Bus, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand of them must not keep the gateway busy with reading what it cannot take."""
    await sender.upsert("a.md", "x", id="1")
    await sender.upsert("b.md", "x", id="2")
    first, second = await fetched(bus, 2)
    receive = gateway.knowledge.ingest.receive
    await receive.work([Delivery("api-ingest", first)])
    monkeypatch.setattr(cloudevents, "from_nats", None)
    delays: list[timedelta] = []
    for number in (1, 2, 3, 20):
        monkeypatch.setattr(Delivery, "number", number)

        def settled(_: Delivery, settlement: Ack | Nak) -> None:
            assert isinstance(settlement, Nak)
            delays.append(settlement.delay)

        await receive.work([Delivery("api-ingest", second, settled)])
    assert [delay.total_seconds() for delay in delays] == [5, 10, 20, 60]


async def test_a_failed_event_is_carried_out_when_it_is_requeued(
    sender: Sender, runtime: Runtime, settings: Settings, gateway: Gateway, engine: AsyncEngine, alice: Person
) -> None:
    taken = await alice.uploaded(sender.collection, "a.md", "by hand")
    async with working(runtime, settings, gateway):
        assert await sender.outcome(await sender.upsert("a.md", "x", id="1")) == "DOCUMENT_NAME_CONFLICT"
        await alice.http.delete(f"/collections/{sender.collection}/documents/{taken['id']}")
        letters = [row.id for row in await sender.rows("SELECT id FROM dead_letter")]
        async with engine.begin() as conn:
            again = await requeue.requeue(conn, letters, ADMISSION)
        runtime.dispatcher.deliver(*again.changes)

        async def carried_out() -> bool:
            return (await sender.look("1"))["status"] == "COMPLETED"

        await until(carried_out, every=0.02)
    told = await sender.look("1")
    assert (told["outcome"], told["code"]) == ("created", None)


async def test_a_job_that_was_given_up_elsewhere_shows_its_event_failed(
    sender: Sender, bus: Bus, gateway: Gateway, engine: AsyncEngine
) -> None:
    await sender.upsert("a.md", "x", id="1")
    [message] = await fetched(bus)
    await gateway.knowledge.ingest.receive.work([Delivery("api-ingest", message)])
    assert (await sender.look("1"))["status"] == "PENDING"
    async with engine.begin() as conn:
        await conn.exec_driver_sql(
            "UPDATE job SET status = 'FAILED', error_code = 'MAX_DELIVERIES', error_message = 'given up'"
        )
    told = await sender.look("1")
    assert (told["status"], told["code"], told["message"]) == ("FAILED", "MAX_DELIVERIES", "given up")


async def test_workers_that_die_over_an_event_fail_it(
    sender: Sender, bus: Bus, runtime: Runtime, gateway: Gateway, engine: AsyncEngine
) -> None:
    await sender.upsert("a.md", "x", id="1")
    [message] = await fetched(bus)
    await gateway.knowledge.ingest.receive.work([Delivery("api-ingest", message)])
    async with engine.begin() as conn:
        await conn.exec_driver_sql("UPDATE job SET attempt = 12")
    worker = Engine(runtime.database, runtime.dispatcher, WorkPolicy(), runtime.metrics, "tests", source="api")
    handling = worker.handle(INGEST, gateway.knowledge.ingest.apply.run, gave_up=gateway.knowledge.ingest.apply.failed)
    found = await worker.claims.found(
        [worker.claims.asked(row.id, 1) for row in await sender.rows("SELECT id FROM job")]
    )
    for lost in found.values():
        await handling.give_up_lost(lost)
    assert await sender.outcome("1") == "WORKER_LOST"


THEIRS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CARRIER = "00-11111111111111111111111111111111-2222222222222222-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    before = propagate.provider()
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    propagate.use(provider)
    yield exporter
    propagate.use(before)
    provider.shutdown()


async def test_a_strangers_trace_is_linked_and_never_joined(
    sender: Sender, runtime: Runtime, settings: Settings, gateway: Gateway, spans: InMemorySpanExporter
) -> None:
    async with working(runtime, settings, gateway):
        named = attributes("1", "a.md", UPSERT, traceparent=THEIRS)
        headers = {f"ce-{name}": value for name, value in named.items()}
        await sender.publish({**headers, "content-type": "text/markdown", "traceparent": CARRIER}, b"x")
        await sender.settled("1")
    foreign = {int(it.split("-")[1], 16) for it in (THEIRS, CARRIER)}
    made = spans.get_finished_spans()
    [received] = [span for span in made if span.name == f"receive {UPSERT}"]
    assert {link.context.trace_id for link in received.links} == foreign
    assert received.parent is None
    assert not [span.name for span in made if span.context.trace_id in foreign]
    ours = {span.name for span in made if span.context.trace_id == received.context.trace_id}
    assert {
        "publish aperag.cmd.ingest.apply",
        "process aperag.cmd.ingest.apply",
        "publish aperag.cmd.document.parse",
    } <= ours


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """With TLS, as references want it."""
    made = Certificate.of(tmp_path / "tls", ["127.0.0.1"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.certificate, made.key)
    async with open_site(tls=tls) as site:
        yield site


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    if "site" not in request.fixturenames:
        return settings
    made = Certificate.of(tmp_path / "tls", ["127.0.0.1"])
    outbound = OutboundSettings(allow=("127.0.0.1",), ca_file=made.authority)
    ingest = settings.ingest.model_copy(update={"max_reference": 1000})
    return settings.model_copy(update={"outbound": outbound, "ingest": ingest})


async def test_a_reference_is_fetched_and_its_failures_have_codes(
    sender: Sender, runtime: Runtime, settings: Settings, gateway: Gateway, site: Site
) -> None:
    tls = site.url.replace("http:", "https:")
    site.page("/tea.md", b"# Tea", "text/markdown")
    site.page("/large.md", b"x" * 2000, "text/markdown")
    site.page("/gone.md", b"", status=410)
    site.redirect("/away.md", f"{site.url}/tea.md")
    wanted = {
        "tea.md": "created",
        "large.md": "CONTENT_TOO_LARGE",
        "gone.md": "REFERENCE_REFUSED",
        "none.md": "REFERENCE_REFUSED",
        "away.md": "REFERENCE_UNSUPPORTED",
    }
    async with working(runtime, settings, gateway):
        for name in wanted:
            await sender.send(UPSERT, name, {"reference": f"{tls}/{name}"}, id=name)
        await sender.send(UPSERT, "inside.md", {"reference": "https://10.0.0.1/x.md"}, id="inside")
        assert {name: await sender.outcome(name) for name in wanted} == wanted
        assert await sender.outcome("inside") == "BLOCKED_ADDRESS"
    [document] = await sender.documents()
    assert await sender.content(document["id"]) == b"# Tea"
