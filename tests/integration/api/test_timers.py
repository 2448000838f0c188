"""Timers for administrators: what each last did, and running one now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.events.ticks import TimerName

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_standalone.nats import NatsServer

Person = Any

RUN = """
    INSERT INTO timer (name, period_seconds, worker, started_at, finished_at, outcome, error_message, runs, failures)
    VALUES ('outbox', 5, 'reconciler', clock_timestamp() - interval '2 s', clock_timestamp(), :outcome, :error, 7, 1)
"""


@pytest.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person("admin")


async def execute(engine: AsyncEngine, sql: str, **parameters: Any) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql), parameters)


async def outbox(admin: Person) -> dict[str, Any]:
    items = (await admin.http.get("/admin/timers")).json()["items"]
    return next(dict(it) for it in items if it["name"] == "outbox")


async def test_only_administrators_see_and_run_timers(alice: Person, bus: Bus) -> None:
    assert (await alice.http.get("/admin/timers")).status_code == 403
    assert (await alice.http.post("/admin/timers/outbox/run")).status_code == 403
    assert (await bus.js.stream_info(subjects.TICKS)).state.messages == 0


async def test_every_timer_is_listed_also_before_its_first_run(admin: Person) -> None:
    items = (await admin.http.get("/admin/timers")).json()["items"]
    assert [it["name"] for it in items] == list(TimerName)
    assert {it["state"] for it in items} == {"never"}


@pytest.mark.parametrize(("outcome", "error"), [("ok", None), ("failed", "OSError: away")])
async def test_a_timer_tells_of_its_last_run(
    admin: Person, engine: AsyncEngine, outcome: str, error: str | None
) -> None:
    await execute(engine, RUN, outcome=outcome, error=error)
    told = await outbox(admin)
    assert (told["state"], told["error_message"], told["runs"], told["failures"]) == (outcome, error, 7, 1)
    assert told["duration_seconds"] == pytest.approx(2, abs=1)
    await execute(engine, "UPDATE timer SET started_at = clock_timestamp()")
    told = await outbox(admin)
    assert (told["state"], told["duration_seconds"]) == ("running", None)


async def test_running_a_timer_publishes_one_tick_and_says_when_one_waits(
    admin: Person, engine: AsyncEngine, bus: Bus
) -> None:
    await execute(engine, RUN, outcome="ok", error=None)
    first, *others = [(await admin.http.post("/admin/timers/outbox/run")).json() for _ in range(3)]
    assert (first["published"], first["runs"]) == (True, 7)
    assert [it["published"] for it in others] == [False, False]
    assert all("already" in it["message"] for it in others)
    found = await bus.js.stream_info(subjects.TICKS, subjects_filter=subjects.ALL_TICKS)
    assert found.state.subjects == {subjects.tick("outbox"): 1}


async def test_an_unknown_timer_is_not_found_and_nothing_is_published(admin: Person, bus: Bus) -> None:
    answer = await admin.http.post("/admin/timers/midnight/run")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_NOT_FOUND")
    assert answer.json()["message"].startswith("Timer midnight not found; there are: ")
    assert "collection-gc" in answer.json()["message"]
    assert (await bus.js.stream_info(subjects.TICKS)).state.messages == 0


async def test_without_nats_a_run_is_refused_and_may_be_asked_for_again(admin: Person, nats_server: NatsServer) -> None:
    await admin.http.get("/admin/timers")
    await asyncio.to_thread(nats_server.kill)
    answer = await admin.http.post("/admin/timers/outbox/run")
    assert answer.status_code == 503
    assert (await admin.http.get("/admin/timers")).status_code == 200
