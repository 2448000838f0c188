"""The database's clock is set back while work is under way (needs libfaketime: Debian's package ``faketime``)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy import text

from aperag_common.db import migrate
from aperag_standalone.postgres import PostgresServer
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aperag_standalone.process import Command

System = Any
Shelf = Any

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed: apt-get install faketime"),
]


class ClockedPostgres(PostgresServer):
    """A server whose wall clock is read through a file; its timeouts are not."""

    @property
    def clock(self) -> Path:
        return self.directory / "clock"

    def prepare(self) -> Command:
        command = super().prepare()
        self.set_clock("+0")
        faked = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return replace(command, env={**command.env, **faked})

    def set_clock(self, offset: str) -> None:
        """Relative to the real time, as in ``-1h``; counts for every process of the server at once."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{offset}\n", encoding="ascii")
        fresh.replace(self.clock)


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedPostgres]:
    server = ClockedPostgres(tmp_path_factory.mktemp("clocked"), durable=False, trust=True)
    server.start()
    asyncio.run(migrate.upgrade(server.create_database("migrated")))
    yield server
    server.stop()


@pytest.mark.long
async def test_a_clock_that_is_set_back_an_hour_holds_nothing_up(
    own_postgres: ClockedPostgres, system: System, shelf: Shelf
) -> None:
    """What was stamped before lies far ahead then: leases of a dead worker, due times, places in the queue."""
    indexer = system.services["indexer"]
    await shelf.add(40)  # more than one owner has in flight
    held = text("SELECT count(*) FROM job WHERE lease_token IS NOT NULL")

    async def killed_in_the_middle() -> bool:
        """Standing still, it is known to hold a lease when it dies."""
        indexer.pause()
        async with system.rows.connect() as conn:
            if not (await conn.execute(held)).scalar_one():
                indexer.resume()
                return False
        psutil.Process(indexer.pid).send_signal(Signals.SIGKILL)
        return True

    await until(killed_in_the_middle, within=60)
    own_postgres.set_clock("-1h")
    async with system.rows.connect() as conn:
        ahead = text("SELECT count(*) FROM job WHERE lease_until > clock_timestamp() + interval '30 min'")
        assert (await conn.execute(ahead)).scalar_one() > 0
    await system.start("indexer")
    await shelf.add(3)
    await shelf.kept()
