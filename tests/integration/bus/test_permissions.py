"""Every service can do what it must, and nothing else: asked of the real server with the real identities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nats
import pytest
import pytest_asyncio

from aperag_common.bus import subjects, topology
from aperag_common.bus.connection import Bus, connect, connect_options
from aperag_common.bus.topology import Service
from aperag_common.settings import NatsSettings
from aperag_standalone.nats import NatsServer, make_keys, users_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aperag_common.metrics import Metrics


@pytest_asyncio.fixture
async def buses(tmp_path: Path, metrics: Metrics) -> AsyncIterator[dict[Service, Bus]]:
    (tmp_path / "keys").mkdir()
    keys = make_keys(tmp_path / "keys")
    server = NatsServer(tmp_path / "nats", users=users_of(keys))
    server.start()
    found = {
        service: await connect(
            NatsSettings(url=server.url, seed_file=keys[service]), service=service, instance="t", metrics=metrics
        )
        for service in Service
    }
    await topology.apply(found[Service.RECONCILER].js)
    yield found
    for bus in found.values():
        await bus.close()
    server.stop()


async def test_every_service_can_publish_to_the_streams_it_feeds(buses: dict[Service, Bus]) -> None:
    samples = {
        subjects.COMMANDS: subjects.PARSE_DOCUMENT,
        (Service.INDEXER, subjects.COMMANDS): subjects.build_index("vector"),
        subjects.TURNS: subjects.RUN_TURN,
        # A stream of ticks takes one per subject.
        (Service.API, subjects.TICKS): subjects.tick("api"),
        (Service.RECONCILER, subjects.TICKS): subjects.tick("reconciler"),
        subjects.EVENTS: subjects.event("user1", "document", "uploaded"),
        subjects.SPANS: subjects.span("0" * 32),
    }
    for stream in topology.STREAMS:
        for service in stream.publishers:
            subject = samples.get((service, stream.name)) or samples[stream.name]
            ack = await buses[service].js.publish(subject, b"{}", stream=stream.name)
            assert ack.stream == stream.name


async def feed(buses: dict[Service, Bus], stream: topology.StreamSpec, spec: topology.ConsumerSpec) -> None:
    if stream.publishers:
        subject = spec.filters[0].replace(">", "outbox")
        await buses[stream.publishers[0]].js.publish(subject, b"{}", stream=stream.name)
    else:  # the server itself: a message is ended instead of acknowledged
        parse = topology.consumer("indexer-parse")
        await buses[Service.API].js.publish(subjects.PARSE_DOCUMENT, b"{}", stream=parse.stream)
        subscription = await buses[Service.INDEXER].js.pull_subscribe_bind(parse.name, parse.stream)
        [message] = await subscription.fetch(1, timeout=5)
        await message.term()


async def test_the_reconciler_can_look_at_a_message_and_take_it_out_of_a_work_queue(buses: dict[Service, Bus]) -> None:
    js = buses[Service.RECONCILER].js
    for stream, subject in ((subjects.COMMANDS, subjects.PARSE_DOCUMENT), (subjects.TICKS, subjects.tick("outbox"))):
        ack = await js.publish(subject, b"{}", stream=stream)
        assert (await js.get_msg(stream, ack.seq)).data == b"{}"
        assert await js.delete_msg(stream, ack.seq)
        assert (await js.stream_info(stream)).state.messages == 0


async def test_every_service_can_fetch_and_ack_from_its_consumers(buses: dict[Service, Bus]) -> None:
    for stream in topology.STREAMS:
        for spec in stream.consumers:
            await feed(buses, stream, spec)
            worker = buses[spec.service]
            assert (await worker.js.consumer_info(spec.stream, spec.name)).name == spec.name
            subscription = await worker.js.pull_subscribe_bind(spec.name, spec.stream)
            [message] = await subscription.fetch(1, timeout=5)
            await message.in_progress()
            await message.ack_sync(timeout=5)


async def test_the_gateway_can_look_at_every_queue(buses: dict[Service, Bus]) -> None:
    js = buses[Service.API].js
    for stream in topology.STREAMS:
        assert (await js.stream_info(stream.name)).config.name == stream.name
        for spec in stream.consumers:
            assert (await js.consumer_info(spec.stream, spec.name)).name == spec.name


async def refused(bus: Bus, metrics: Metrics, attempt: Callable[[], Awaitable[object]]) -> bool:
    """Whether the server reports a violation: a forbidden core publish raises nothing by itself."""
    before = metrics.permission_violations._value.get()
    await attempt()
    for _ in range(50):  # the complaint is sent before the answer to a flush, but read by a task of its own
        await bus.nc.flush(timeout=5)
        if metrics.permission_violations._value.get() > before:
            return True
    return False


FORBIDDEN = [
    (Service.INDEXER, subjects.tick("outbox")),
    (Service.INDEXER, "$JS.API.STREAM.DELETE.APERAG_COMMANDS"),
    (Service.INDEXER, "$JS.API.STREAM.UPDATE.APERAG_COMMANDS"),
    (Service.INDEXER, "$JS.API.CONSUMER.MSG.NEXT.APERAG_TICKS.reconciler-tick"),
    (Service.INDEXER, "$JS.ACK.APERAG_TICKS.reconciler-tick.1.1.1.1.0"),
    (Service.INDEXER, subjects.cancel_task("wf1")),
    (Service.API, "$JS.API.STREAM.PURGE.APERAG_EVENTS"),
    (Service.API, "$JS.API.CONSUMER.MSG.NEXT.APERAG_COMMANDS.indexer-parse"),
    (Service.RECONCILER, "$JS.API.STREAM.DELETE.APERAG_EVENTS"),
    (Service.RECONCILER, "$JS.API.STREAM.CREATE.ELSEWHERE"),
    (Service.RECONCILER, "$JS.API.CONSUMER.MSG.NEXT.APERAG_COMMANDS.indexer-parse"),
    (Service.RECONCILER, "_INBOX_api.stolen"),
    (Service.INDEXER, "$JS.API.STREAM.MSG.DELETE.APERAG_COMMANDS"),
    (Service.API, "$JS.API.STREAM.MSG.GET.APERAG_COMMANDS"),
    (Service.RECONCILER, "$JS.API.STREAM.MSG.DELETE.APERAG_EVENTS"),
    (Service.API, "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.APERAG_COMMANDS.indexer-parse"),
]


@pytest.mark.parametrize(("service", "subject"), FORBIDDEN, ids=lambda v: str(v))
async def test_a_publish_outside_the_list_is_refused(
    buses: dict[Service, Bus], metrics: Metrics, service: Service, subject: str
) -> None:
    bus = buses[service]
    assert await refused(bus, metrics, lambda: bus.nc.publish(subject, b"{}"))


async def test_an_allowed_publish_is_not_reported(buses: dict[Service, Bus], metrics: Metrics) -> None:
    bus = buses[Service.API]
    assert not await refused(bus, metrics, lambda: bus.nc.publish(subjects.cancel_task("wf1"), b"{}"))


@pytest.mark.parametrize(
    ("service", "subject"),
    [
        (Service.API, "aperag.cmd.>"),
        (Service.API, "_INBOX_indexer.>"),
        (Service.INDEXER, "aperag.evt.>"),
        (Service.INDEXER, "_INBOX_api.>"),
        (Service.RECONCILER, ">"),
        (Service.RECONCILER, "$JS.EVENT.ADVISORY.>"),
    ],
    ids=lambda v: str(v),
)
async def test_a_subscription_outside_the_list_is_refused(
    buses: dict[Service, Bus], metrics: Metrics, service: Service, subject: str
) -> None:
    bus = buses[service]
    assert await refused(bus, metrics, lambda: bus.nc.subscribe(subject))


async def test_nobody_gets_in_without_an_identity(buses: dict[Service, Bus]) -> None:
    url = buses[Service.API].nc.connected_url
    assert url is not None
    options = connect_options(NatsSettings(url=url.geturl()), service="stranger", instance="t")
    options |= {"max_reconnect_attempts": 1, "allow_reconnect": False}
    with pytest.raises(nats.errors.Error):
        await nats.connect(**options)
