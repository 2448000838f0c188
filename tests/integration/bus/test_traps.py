"""What other systems on JetStream have stumbled over, on the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from nats.js.api import DiscardPolicy

from aperag_common import subjects
from aperag_common.bus import specs, topology
from aperag_common.bus.connection import connect, connect_options
from aperag_common.services import Service
from aperag_common.settings import NatsSettings, WorkSettings

if TYPE_CHECKING:
    from aperag_common.bus.connection import Bus
    from aperag_standalone.nats import NatsServer

INDEXER = [spec for stream in topology.streams() for spec in stream.consumers if spec.service is Service.INDEXER]


async def test_a_stream_with_other_limits_is_changed_in_place_and_keeps_what_it_holds(bus: Bus) -> None:
    """A small limit of an older release that stays for ever ends in lost or refused work."""
    await bus.js.publish(subjects.PARSE_DOCUMENT, b"{}", stream=subjects.COMMANDS)
    created = (await bus.js.stream_info(subjects.COMMANDS)).created
    older = topology.stream(subjects.COMMANDS).config()
    older.max_bytes = 1024 * 1024
    older.discard = DiscardPolicy.OLD
    await bus.js.update_stream(older)
    await topology.apply(bus.js)
    after = await bus.js.stream_info(subjects.COMMANDS)
    wanted = topology.stream(subjects.COMMANDS).config()
    assert (after.config.max_bytes, after.config.discard) == (wanted.max_bytes, wanted.discard)
    assert (after.created, after.state.messages) == (created, 1)


async def test_a_consumer_with_other_numbers_is_changed_in_place_and_keeps_its_place(bus: Bus) -> None:
    spec = topology.consumer("indexer-parse")
    older = spec.config()
    older.max_deliver, older.ack_wait = 3, 5
    await bus.js.add_consumer(spec.stream, older)
    await bus.js.publish(subjects.PARSE_DOCUMENT, b"{}", stream=subjects.COMMANDS)
    subscription = await bus.js.pull_subscribe_bind(spec.name, spec.stream)
    [message] = await subscription.fetch(1, timeout=30)
    before = await bus.js.consumer_info(spec.stream, spec.name)
    await topology.apply(bus.js)
    after = await bus.js.consumer_info(spec.stream, spec.name)
    wanted = spec.config()
    assert (after.config.max_deliver, after.config.ack_wait) == (wanted.max_deliver, wanted.ack_wait)
    assert (after.created, after.num_ack_pending) == (before.created, 1)
    await message.ack_sync(timeout=30)


async def test_applying_the_topology_again_changes_nothing(bus: Bus) -> None:
    async def configurations() -> list[object]:
        streams = [(await bus.js.stream_info(spec.name)).config for spec in topology.streams()]
        consumers = [
            (await bus.js.consumer_info(spec.stream, spec.name)).config
            for stream in topology.streams()
            for spec in stream.consumers
        ]
        return [*streams, *consumers]

    before = await configurations()
    await topology.apply(bus.js)
    assert await configurations() == before


@pytest.mark.parametrize("spec", INDEXER, ids=lambda spec: spec.name)
def test_several_beats_fit_into_what_a_server_and_a_lease_wait_for(spec: specs.ConsumerSpec) -> None:
    """A beat that comes after the redelivery makes every long document be worked on twice."""
    work = WorkSettings()
    assert spec.config().ack_wait == spec.ack_wait
    assert spec.beat * 3 <= spec.ack_wait
    assert work.beat * 3 <= work.lease
    assert not spec.config().backoff  # it would shorten the wait of single deliveries


async def test_a_client_never_gives_up_to_reconnect() -> None:
    """The default ends after two minutes, and a client that has given up freezes its event loop."""
    assert connect_options(NatsSettings(), service="tests", instance="tests")["max_reconnect_attempts"] == -1


async def test_a_message_above_the_servers_limit_is_refused_to_its_publisher(nats_server: NatsServer) -> None:
    """Bytes lie in the object store: a message that needs more than the limit is a defect that must be seen."""
    bus = await connect(NatsSettings(url=nats_server.url), service="tests", instance="tests")
    assert 0 < bus.nc.max_payload <= 1024 * 1024
    await bus.close()
