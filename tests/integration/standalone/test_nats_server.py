"""The NATS server of one machine keeps what it acked, on the same port, and lets each service touch only its subjects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nats
import psutil
import pytest

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.bus.connection import connect
from aperag_common.bus.permissions import inbox_prefix
from aperag_common.services import Service
from aperag_common.settings import NatsSettings
from aperag_standalone import accounts, process
from aperag_standalone.errors import PortTaken, StartFailed
from aperag_standalone.nats import NatsServer, make_keys, users_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as running:
        yield running


async def test_acked_messages_survive_kill_and_restart_on_the_same_port(server: NatsServer) -> None:
    port = server.port
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
    await client.jetstream().publish("kept.one", b"1")
    await client.close()
    server.kill()
    server.start()
    assert server.port == port
    client = await nats.connect(server.url)
    assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
    await client.close()


def test_every_publish_is_fsynced_before_its_ack(server: NatsServer) -> None:
    assert server.config()["jetstream"]["sync_interval"] == "always"


def test_seeds_are_private_and_made_once(tmp_path: Path) -> None:
    first = {service: path.read_bytes() for service, path in make_keys(tmp_path).items()}
    again = make_keys(tmp_path)
    assert {service: path.read_bytes() for service, path in again.items()} == first
    assert {path.stat().st_mode & 0o777 for path in again.values()} == {0o600}
    assert len(set(first.values())) == len(Service)


async def test_a_service_is_refused_what_its_list_does_not_name(tmp_path: Path) -> None:
    seeds = make_keys(tmp_path / "keys")
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def note(error: Exception) -> None:
        refused.put_nowait(str(error))

    with NatsServer(tmp_path / "nats", users=users_of(seeds)) as server:
        client = await nats.connect(
            server.url,
            nkeys_seed_str=seeds[Service.INDEXER].read_text(encoding="ascii"),
            inbox_prefix=inbox_prefix(Service.INDEXER),
            error_cb=note,
        )
        await client.publish(subjects.tick("outbox"), b"{}")
        await client.flush()
        assert "permissions violation for publish" in (await asyncio.wait_for(refused.get(), 5)).lower()
        await client.close()


async def test_nobody_connects_without_a_key_once_there_are_users(tmp_path: Path) -> None:
    seeds = make_keys(tmp_path / "keys")
    with (
        NatsServer(tmp_path / "nats", users=users_of(seeds)) as server,
        pytest.raises(nats.errors.Error, match="(?i)authorization"),
    ):
        await nats.connect(server.url, allow_reconnect=False)


def test_a_stray_of_a_killed_parent_is_ended_before_the_next_start(tmp_path: Path) -> None:
    abandoned = NatsServer(tmp_path / "nats")
    abandoned.start()
    stray = psutil.Process(abandoned.pid)
    with NatsServer(tmp_path / "nats", port=abandoned.port, monitor_port=abandoned.monitor_port) as successor:
        assert successor.pid != stray.pid
        abandoned.stop()
        assert not stray.is_running()
        assert successor.ready()


def test_a_taken_port_is_named_with_its_holder_and_the_option_that_changes_it(
    server: NatsServer, tmp_path: Path
) -> None:
    with pytest.raises(PortTaken, match=rf"port {server.port} .*nats-server \(pid {server.pid}\)") as caught:
        NatsServer(tmp_path / "other", port=server.port).start()
    assert "--nats-port" in caught.value.hint


def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = NatsServer(tmp_path / "nats")
    monkeypatch.setattr(broken, "prepare", lambda: process.Command(("/bin/sh", "-c", "echo no such luck; exit 3")))
    broken.directory.mkdir()
    with pytest.raises(StartFailed, match="ended with code 3") as caught:
        broken.start()
    assert "no such luck" in caught.value.hint


async def stored(server: NatsServer, seeds: dict[Service, Path] | None) -> tuple[int, int, list[str]]:
    """Messages of the commands and of the events, and the first stream's consumers."""
    seed = None if seeds is None else seeds[Service.API]
    bus = await connect(NatsSettings(url=server.url, seed_file=seed), service="api", instance="t")
    try:
        found = [await bus.js.stream_info(name) for name in (subjects.COMMANDS, subjects.EVENTS)]
        consumer = await bus.js.consumer_info(subjects.COMMANDS, "indexer-parse")
        return found[0].state.messages, found[1].state.messages, [consumer.name]
    finally:
        await bus.close()


async def test_a_store_from_before_there_were_accounts_is_the_services(tmp_path: Path) -> None:
    """Without that its streams would not be found, and open work, events and consumers would have to be made again."""
    with NatsServer(tmp_path / "nats") as before:
        bus = await connect(NatsSettings(url=before.url), service="api", instance="t")
        await topology.apply(bus.js)
        for number in range(3):
            await bus.js.publish(subjects.PARSE_DOCUMENT, str(number).encode(), stream=subjects.COMMANDS)
        await bus.js.publish(subjects.event("u1", "document", "indexed"), b"{}", stream=subjects.EVENTS)
        await bus.close()
        assert await stored(before, None) == (3, 1, ["indexer-parse"])
    seeds = make_keys(tmp_path / "keys")
    created = []
    for _ in range(2):  # the second start finds nothing to move
        with NatsServer(tmp_path / "nats", users=users_of(seeds)) as server:
            assert await stored(server, seeds) == (3, 1, ["indexer-parse"])
            bus = await connect(NatsSettings(url=server.url, seed_file=seeds[Service.API]), service="api", instance="t")
            created.append((await bus.js.stream_info(subjects.EVENTS)).created)
            await bus.close()
    assert created[0] == created[1]
    assert sorted(it.name for it in (tmp_path / "nats" / "jetstream" / "jetstream").iterdir()) == ["APP"]


def test_a_store_moves_over_an_empty_one_and_never_over_one_that_has_streams(tmp_path: Path) -> None:
    before, now = tmp_path / "$G" / "streams" / "OLD", tmp_path / "APP"
    accounts.adopt_store(tmp_path)
    assert not now.exists()
    before.mkdir(parents=True)
    (now / "streams").mkdir(parents=True)
    accounts.adopt_store(tmp_path)
    assert [it.name for it in (now / "streams").iterdir()] == ["OLD"]
    before.mkdir(parents=True)
    accounts.adopt_store(tmp_path)
    assert before.exists()
    assert [it.name for it in (now / "streams").iterdir()] == ["OLD"]
