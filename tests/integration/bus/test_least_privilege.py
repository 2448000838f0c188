"""Every subject of the system × every service: the server refuses whatever is not that service's own work."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import nats
import pytest
import pytest_asyncio

from aperag_api.operations.events.reader import OrderedReader
from aperag_api.operations.traces.reader import read_trace
from aperag_common import subjects
from aperag_common.bus import accounts, specs, topology
from aperag_common.bus.connection import Bus, connect, connect_options
from aperag_common.bus.permissions import inbox_prefix
from aperag_common.bus.pull import Pull
from aperag_common.events import facts
from aperag_common.jobs.declared import BUILT
from aperag_common.services import Service
from aperag_common.settings import NatsSettings
from aperag_standalone.nats import NatsServer, make_keys, users_of
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from nats.aio.msg import Msg

    from aperag_common.metrics import Metrics

AGENT, API, INDEXER, RECONCILER = Service.AGENT, Service.API, Service.INDEXER, Service.RECONCILER
WEBHOOKS = Service.WEBHOOKS
ALL = frozenset(Service)
NOBODY: frozenset[Service] = frozenset()
JS = "$JS.API"
SENTINEL = "nobody.may.publish.this"
REFUSED = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)

Table = dict[str, frozenset[Service]]


@dataclass(slots=True)
class Line:
    """One service's connection, and every violation that the server told it of."""

    bus: Bus
    refused: set[tuple[str, str]] = field(default_factory=set)

    async def told_of(self, verb: str, subject: str) -> None:
        """Violations come in the order of what was forbidden: all before this one are known then."""

        async def told() -> bool:
            return (verb, subject) in self.refused

        await until(told, every=0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    (tmp_path / "keys").mkdir()
    with NatsServer(tmp_path / "nats", users=users_of(make_keys(tmp_path / "keys"))) as running:
        yield running


@pytest_asyncio.fixture
async def lines(server: NatsServer, tmp_path: Path) -> AsyncIterator[dict[Service, Line]]:
    async with AsyncExitStack() as stack:
        made: dict[Service, Line] = {}
        for service in Service:
            refused: set[tuple[str, str]] = set()

            async def on_error(err: Exception, refused: set[tuple[str, str]] = refused) -> None:
                found = REFUSED.search(str(err))
                assert found is not None, err
                refused.add((found[1].lower(), found[2]))

            settings = NatsSettings(url=server.url, seed_file=tmp_path / "keys" / f"{service}.nk")
            nc = await nats.connect(**connect_options(settings, service=service, instance="t"), error_cb=on_error)
            stack.push_async_callback(nc.close)
            made[service] = Line(Bus(nc, nc.jetstream(timeout=5)), refused)
        await topology.apply(made[RECONCILER].bus.js)
        yield made


STREAMS = topology.streams()
ADVISED = {spec.name for spec in topology.advised()}
"""The reconciler retires consumers that an older version left there, and takes messages out."""


def messages() -> Table:
    """What travels on streams, and what does not."""
    table: Table = {"aperag.cmd.document.unheard-of": NOBODY, "aperag.turn.other": NOBODY, "elsewhere.subject": NOBODY}
    # An indexer's parse lets indexes begin; a summary that is asked for while one is made begins at its end.
    begun = {subjects.SUMMARIZE_COLLECTION, *(subjects.build_index(kind) for kind in BUILT)}
    for spec in topology.stream(subjects.COMMANDS).consumers:
        for command in spec.filters:
            table[command] = frozenset({API, RECONCILER, INDEXER} if command in begun else {API, RECONCILER})
    table[subjects.DELIVER_WEBHOOK] = frozenset({API, RECONCILER, WEBHOOKS})  # events bring deliveries
    table[subjects.RUN_TURN] = frozenset({API, RECONCILER})
    table[subjects.turn_event("t1")] = frozenset({AGENT})
    table |= dict.fromkeys((subjects.cancel_turn("t1"), subjects.turn_snapshot("t1")), frozenset({API}))
    table[subjects.tick("outbox")] = frozenset({API, RECONCILER})
    for fact in facts.FACTS:  # the reconciler relays what others have left
        subject = subjects.event("user1", *fact.type_name.split("."))
        table[subject] = frozenset({RECONCILER, *fact.makers})
    forged = ("document.unheard-of", "unheard-of.uploaded", "document", "document.uploaded.again")
    table |= dict.fromkeys((f"{subjects.ROOT}.evt.user1.{it}" for it in forged), NOBODY)
    table[f"{subjects.ROOT}.evt.document.uploaded"] = NOBODY  # without an owner
    table[subjects.ingest("user1", "col1")] = NOBODY
    table[subjects.span("0" * 32)] = ALL
    table[subjects.cancel_task("wf1")] = frozenset({API})
    table[subjects.wake(RECONCILER)] = ALL
    table |= dict.fromkeys((subjects.wake(API), subjects.wake(INDEXER), "aperag.live.turn.t1.other"), NOBODY)
    for kind in subjects.AdvisoryKind:
        table[f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.{subjects.COMMANDS}.indexer-parse"] = NOBODY
    return table


def streams() -> Table:
    table: Table = {}
    for name in [spec.name for spec in STREAMS]:
        table[f"{JS}.STREAM.INFO.{name}"] = frozenset({API, RECONCILER})
        table |= {f"{JS}.STREAM.{verb}.{name}": frozenset({RECONCILER}) for verb in ("CREATE", "UPDATE")}
        forbidden = ("DELETE", "PURGE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN", "PEER.REMOVE")
        table |= {f"{JS}.STREAM.{verb}.{name}": NOBODY for verb in forbidden}
        advised = frozenset({RECONCILER}) if name in ADVISED else NOBODY
        for verb in ("GET", "DELETE"):
            table[f"{JS}.STREAM.MSG.{verb}.{name}"] = advised
        table[f"{JS}.DIRECT.GET.{name}"] = frozenset({API}) if name == subjects.SPANS else NOBODY
        table[f"{JS}.DIRECT.GET.{name}.aperag.anything"] = NOBODY
        table[f"{JS}.CONSUMER.CREATE.{name}"] = NOBODY
        table[f"{JS}.CONSUMER.NAMES.{name}"] = frozenset({API}) if name == subjects.EVENTS else NOBODY
        table[f"{JS}.CONSUMER.LIST.{name}"] = advised
    for verb in ("INFO", "CREATE", "UPDATE", "DELETE", "PURGE"):
        table[f"{JS}.STREAM.{verb}.ELSEWHERE"] = NOBODY
    server_wide = ("INFO", "STREAM.NAMES", "STREAM.LIST", "META.LEADER.STEPDOWN", "ACCOUNT.PURGE.$G")
    return table | {f"{JS}.{verb}": NOBODY for verb in server_wide}


def consumers() -> Table:
    table: Table = {}
    for spec in (it for stream in STREAMS for it in stream.consumers):
        own, where = frozenset({spec.service}), f"{spec.stream}.{spec.name}"
        table[f"{JS}.CONSUMER.MSG.NEXT.{where}"] = own
        table[f"$JS.ACK.{where}.1.1.1.1.0"] = own
        table[f"{JS}.CONSUMER.INFO.{where}"] = own | {API, RECONCILER}
        table[f"{JS}.CONSUMER.DURABLE.CREATE.{where}"] = frozenset({RECONCILER})
        table[f"{JS}.CONSUMER.DELETE.{where}"] = frozenset({RECONCILER}) if spec.stream in ADVISED else NOBODY
        forbidden = ("CREATE", "PAUSE", "UNPIN", "LEADER.STEPDOWN", "RESET")
        table |= {f"{JS}.CONSUMER.{verb}.{where}": NOBODY for verb in forbidden}
        table[f"{JS}.CONSUMER.CREATE.{where}.{spec.filters[0]}"] = NOBODY
    return table


def readers() -> Table:
    """Consumers of readers, and of other services' subscriptions: the gateway's on the events, nobody's on anything else."""
    table: Table = {}
    for name in [spec.name for spec in STREAMS]:
        allowed = frozenset({API}) if name == subjects.EVENTS else NOBODY
        table[f"{JS}.CONSUMER.MSG.NEXT.{name}.read-1"] = allowed
        table[f"{JS}.CONSUMER.DELETE.{name}.read-1"] = allowed | (
            frozenset({RECONCILER}) if name in ADVISED else NOBODY
        )
        table[f"{JS}.CONSUMER.CREATE.{name}.read-1.{subjects.owner_events('user1')}"] = allowed
        table |= {f"{JS}.CONSUMER.{verb}.{name}.sub-1": allowed for verb in ("INFO", "DURABLE.CREATE")}
        table[f"{JS}.CONSUMER.CREATE.{name}.read-1"] = NOBODY
        table[f"{JS}.CONSUMER.CREATE.{name}.read-1.aperag.cmd.document.parse"] = NOBODY
        table[f"$JS.ACK.{name}.read-1.1.1.1.1.0"] = NOBODY
        table[f"$JS.FC.{name}.read-1.x"] = NOBODY
    return table


def system() -> Table:
    inboxes = [f"{inbox_prefix(service)}.stolen" for service in Service]
    others = ("$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ", accounts.CALLOUT)
    table: Table = dict.fromkeys((*others, "$SYS._INBOX.x", "$KV.x.y", *inboxes, "_INBOX.x", accounts.NOBODY), NOBODY)
    # Who lets outsiders in answers for them, and ends their connections.
    for subject in (accounts.CONNECTIONS, accounts.kick("SERVER"), "$SYS._INBOX.x.y"):
        table[subject] = frozenset({API})
    table |= dict.fromkeys(("$SYS.REQ.ACCOUNT.APP.CONNZ", "$SYS.REQ.SERVER.x.RELOAD"), NOBODY)
    return table


def subscriptions() -> Table:
    table: Table = {f"{inbox_prefix(service)}.>": frozenset({service}) for service in Service}
    table[subjects.ALL_TASK_CANCELS] = frozenset({INDEXER})
    table |= dict.fromkeys((subjects.ALL_TURN_EVENTS, accounts.CALLOUT), frozenset({API}))
    table |= dict.fromkeys((subjects.ALL_TURN_CANCELS, subjects.ALL_TURN_SNAPSHOTS), frozenset({AGENT}))
    table[subjects.wake(RECONCILER)] = frozenset({RECONCILER})
    everything = (
        subjects.ALL_INGEST,
        accounts.NOBODY,
        ">",
        "*.>",
        "aperag.>",
        "aperag.live.>",
        "_INBOX.>",
        "$SYS.>",
        "$JS.>",
        "$JS.API.>",
        "$JS.ACK.>",
    )
    table |= dict.fromkeys((*everything, "$JS.EVENT.>", "$KV.>", subjects.wake(API), "aperag.live.task.>"), NOBODY)
    for stream in STREAMS:
        table |= dict.fromkeys(stream.accepts, NOBODY)
        for spec in stream.consumers:
            table |= dict.fromkeys(spec.filters, NOBODY)
    return table


def wrong(line: Line, table: Table, service: Service) -> list[str]:
    """The client tells subjects in lower case; no two of ours differ in their case only."""
    refused = {subject for _, subject in line.refused}
    return [
        f"{subject} was {'refused' if subject.lower() in refused else 'allowed'}"
        for subject, allowed in table.items()
        if (subject.lower() in refused) is (service in allowed)
    ]


PUBLISHES = {
    name: table()
    for name, table in (
        ("messages", messages),
        ("streams", streams),
        ("consumers", consumers),
        ("readers", readers),
        ("system", system),
    )
}


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize("kind", PUBLISHES)
async def test_a_service_publishes_what_it_must_and_nothing_else(
    lines: dict[Service, Line], kind: str, service: Service
) -> None:
    line, table = lines[service], PUBLISHES[kind]
    for subject in table:
        # Empty: what is allowed is looked at by the server, found to be no request, and changes nothing.
        await line.bus.nc.publish(subject, b"")
    await line.bus.nc.publish(SENTINEL, b"")
    await line.told_of("publish", SENTINEL)
    assert wrong(line, table, service) == []


async def test_what_a_service_may_publish_is_kept_by_its_stream(lines: dict[Service, Line]) -> None:
    kept = {stream.name: 0 for stream in STREAMS}
    for subject, allowed in messages().items():
        for stream in (it for it in STREAMS if any(fnmatch(subject, of.replace(">", "*")) for of in it.accepts)):
            for service in allowed:
                # A stream of ticks takes one of each subject.
                own = subjects.tick(service) if stream.name == subjects.TICKS else subject
                await lines[service].bus.js.publish(own, b"{}", stream=stream.name)
                kept[stream.name] += 1
    # The server and other services publish there.
    assert {it for it, count in kept.items() if not count} == {subjects.ADVISORIES, subjects.INGEST}
    for name, count in kept.items():
        assert (await lines[RECONCILER].bus.js.stream_info(name)).state.messages == count


@pytest.mark.parametrize("service", Service)
async def test_a_service_subscribes_to_what_it_must_and_nothing_else(
    lines: dict[Service, Line], service: Service
) -> None:
    line, table = lines[service], subscriptions()
    for subject in table:
        await line.bus.nc.subscribe(subject)
    await line.bus.nc.subscribe(SENTINEL)
    await line.told_of("subscription", SENTINEL)
    assert wrong(line, table, service) == []


async def sample(lines: dict[Service, Line], spec: specs.ConsumerSpec) -> None:
    """A message that this consumer gets."""
    if spec.stream == subjects.ADVISORIES:
        parse = topology.consumer("indexer-parse")
        await lines[API].bus.js.publish(subjects.PARSE_DOCUMENT, b"{}", stream=parse.stream)
        message = await pulled(lines[INDEXER].bus, parse)
        await message.term()
    elif spec.stream == subjects.EVENTS:
        subject = subjects.event("user1", "document", "indexed")
        await lines[INDEXER].bus.js.publish(subject, b"{}", stream=spec.stream)
    else:
        await lines[API].bus.js.publish(spec.filters[0].replace(">", "outbox"), b"{}", stream=spec.stream)


async def pulled(bus: Bus, spec: specs.ConsumerSpec) -> Msg:
    pull = await Pull.open(bus, spec.stream, spec.name)
    try:
        for _ in range(30):
            for message in await pull.next(1):
                return message
    finally:
        await pull.close()
    pytest.fail(f"{spec.name} brought nothing")


# Only other services publish what `api-ingest` takes: tests/integration/api/outside has it.
CONSUMERS = {spec.name: spec for stream in STREAMS if stream.name != subjects.INGEST for spec in stream.consumers}


@pytest.mark.parametrize("name", CONSUMERS)
async def test_every_consumer_feeds_its_service_which_can_beat_and_ack(lines: dict[Service, Line], name: str) -> None:
    spec = CONSUMERS[name]
    await sample(lines, spec)
    line = lines[spec.service]
    message = await pulled(line.bus, spec)
    await message.in_progress()
    await message.ack_sync(timeout=30)
    assert (await line.bus.js.consumer_info(spec.stream, spec.name)).num_ack_pending == 0
    assert line.refused == set()


async def test_the_gateway_reads_events_and_spans_and_watches_every_queue(lines: dict[Service, Line]) -> None:
    bus = lines[API].bus
    for owner in ("user1", "user2", "user1"):
        await lines[INDEXER].bus.js.publish(subjects.event(owner, "document", "indexed"), b"{}", stream=subjects.EVENTS)
    for subject, expected in ((subjects.ALL_EVENTS, 3), (subjects.owner_events("user1"), 2)):
        reader = OrderedReader(bus, subjects.EVENTS, subject)
        assert await reader.open(1) == expected
        async with aclosing(reader.read()) as read:
            assert [(await anext(read)).subject for _ in range(expected)]
        await reader.close()
    assert await read_trace(bus.js, "0" * 32) == []
    for stream in STREAMS:
        await bus.js.stream_info(stream.name)
        for spec in stream.consumers:
            await bus.js.consumer_info(spec.stream, spec.name)
    assert lines[API].refused == set()


async def test_the_reconciler_owns_the_topology_and_takes_out_what_was_given_up(lines: dict[Service, Line]) -> None:
    bus = lines[RECONCILER].bus
    assert (await topology.apply(bus.js)).created.keys() == {stream.name for stream in STREAMS}
    for stream in STREAMS:
        await bus.js.update_stream(stream.config())
    for name, subject in ((subjects.COMMANDS, subjects.PARSE_DOCUMENT), (subjects.TICKS, subjects.tick("outbox"))):
        ack = await lines[API].bus.js.publish(subject, b"{}", stream=name)
        assert (await bus.js.get_msg(name, ack.seq)).data == b"{}"
        assert await bus.js.delete_msg(name, ack.seq)
    assert lines[RECONCILER].refused == set()


async def test_a_cancel_reaches_the_indexer_and_a_wake_the_reconciler(lines: dict[Service, Line]) -> None:
    cancels = await lines[INDEXER].bus.nc.subscribe(subjects.ALL_TASK_CANCELS)
    wakes = await lines[RECONCILER].bus.nc.subscribe(subjects.wake(RECONCILER), queue="reconciler")
    for line in (lines[INDEXER], lines[RECONCILER]) * 2:  # the first may end with the answer to an earlier ping
        await line.bus.nc.flush()
    await lines[API].bus.nc.publish(subjects.cancel_task("wf1"), b"{}")
    assert (await cancels.next_msg(timeout=30)).subject == subjects.cancel_task("wf1")
    for service in Service:
        await lines[service].bus.nc.publish(subjects.wake(RECONCILER))
        await wakes.next_msg(timeout=30)


async def test_an_agent_answers_a_gateway_that_asks_and_tells_nobody_else(lines: dict[Service, Line]) -> None:
    agent, gateway = lines[AGENT].bus.nc, lines[API].bus.nc
    heard = await gateway.subscribe(subjects.turn_event("t1"))
    await gateway.flush()

    async def answer(asked: Msg) -> None:
        await asked.respond(b"so far")
        await agent.publish(subjects.turn_event("t1"), b"more")

    await agent.subscribe(subjects.turn_snapshot("t1"), cb=answer)
    await agent.flush()
    assert (await gateway.request(subjects.turn_snapshot("t1"), b"{}", timeout=30)).data == b"so far"
    assert (await heard.next_msg(timeout=30)).data == b"more"
    stolen = f"{inbox_prefix(API)}.stolen"
    await agent.publish(stolen, b"unasked")
    await lines[AGENT].told_of("publish", stolen.lower())
    assert lines[API].refused == set()


async def test_a_violation_is_counted_and_what_is_allowed_is_not(
    server: NatsServer, lines: dict[Service, Line], tmp_path: Path, metrics: Metrics
) -> None:
    settings = NatsSettings(url=server.url, seed_file=tmp_path / "keys" / f"{API}.nk")
    bus = await connect(settings, service=API, instance="t", metrics=metrics)

    async def counted() -> float:
        return float(metrics.permission_violations._value.get())

    await bus.nc.publish(subjects.cancel_task("wf1"), b"{}")
    await bus.nc.publish(SENTINEL, b"")  # told of after whatever came before
    assert await until(counted, every=0.01) == 1
    await bus.nc.subscribe(SENTINEL)

    async def counted_again() -> bool:
        return await counted() == 2

    await until(counted_again, every=0.01)
    await bus.close()


async def test_whoever_has_no_identity_or_another_installations_gets_in_nowhere(
    server: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    foreign = make_keys(tmp_path / "foreign")[API]
    for seed in (None, foreign):
        options = connect_options(NatsSettings(url=server.url, seed_file=seed), service="mcp", instance="t")
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            await nats.connect(**(options | {"allow_reconnect": False, "max_reconnect_attempts": 1}))
