"""A service that runs only while the database holds something for it to do."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import structlog

from aperag_common.tasks import end_tasks, repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aperag_standalone.supervisor.unit import Unit

log = structlog.get_logger(__name__)

HAS_WEBHOOKS = "SELECT EXISTS (SELECT FROM webhook_endpoint)"
LOOK_SECONDS = 1.0
STATEMENT_SECONDS = 5.0
AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class Looking:
    """One connection that asks the same question again and again: a tenth of a millisecond each time."""

    def __init__(self, dsn: str, question: str) -> None:
        self._dsn = dsn
        self._question = question
        self._conn: asyncpg.Connection[asyncpg.Record] | None = None

    async def look(self) -> bool | None:
        """None where the database does not answer."""
        try:
            if self._conn is None or self._conn.is_closed():
                self._conn = await asyncpg.connect(
                    self._dsn, timeout=STATEMENT_SECONDS, server_settings={"application_name": "aperag-supervisor"}
                )
            return bool(await self._conn.fetchval(self._question, timeout=STATEMENT_SECONDS))
        except AWAY as err:
            log.warning("demand.unknown", error=repr(err))
            self._drop()
            return None

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._conn is not None:
            self._conn.terminate()
        self._conn = None


class OnDemand:
    """Each start is a unit of its own, which is restarted like any other while it is wanted."""

    def __init__(
        self,
        make: Callable[[], Unit],
        looking: Callable[[], Looking],
        changed: Callable[[], None],
        *,
        start_timeout: float,
    ) -> None:
        self._make = make
        self._make_looking = looking
        self._changed = changed
        self._start_timeout = start_timeout
        self._unit: Unit | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def units(self) -> Sequence[Unit]:
        """None or one."""
        return () if self._unit is None else (self._unit,)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="on demand")

    async def stop(self) -> None:
        if self._task is not None:
            await end_tasks(self._task)
        await self._end()

    async def _run(self) -> None:
        looking = self._make_looking()
        try:
            await repeat(partial(self._look, looking), every=LOOK_SECONDS, failed="demand.not_met")
        finally:
            looking.close()

    async def _look(self, looking: Looking) -> None:
        wanted = await looking.look()
        if wanted is not None:
            await self._agree(wanted=wanted)

    async def _agree(self, *, wanted: bool) -> None:
        if wanted and self._unit is None:
            self._unit = self._make()
            try:
                await self._unit.start(within=self._start_timeout)
            except Exception as err:  # noqa: BLE001  whatever kept it from starting, the next look tries again
                log.error("unit.not_started", unit=self._unit.state.name, error=str(err))  # noqa: TRY400  its log says more
                await self._end()
        elif not wanted:
            await self._end()

    async def _end(self) -> None:
        if self._unit is not None:
            unit, self._unit = self._unit, None
            await unit.stop()
            self._changed()
