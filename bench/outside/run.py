"""``bench outside``: another service publishes events, alone beside uploads, and by the thousand while processes die."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from aperag_common.bus.connection import connect
from aperag_common.settings import NatsSettings
from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.chaos.outside import OutsidePlan, Sent, judge_outside, make_outside_plan
from aperag_testing.chaos.rest import until_at_rest
from aperag_testing.chaos.settings import HASTE, HOUSEKEEPING
from aperag_testing.client import Client
from aperag_testing.site import open_site
from aperag_testing.waiting import until
from bench.corpora.generated import page
from bench.harness.arrivals import arrivals
from bench.harness.database import database
from bench.harness.stack import running_stack
from bench.outside.findings import Flood, Measured, Webhooks, findings
from bench.outside.observe import observe, settled
from bench.outside.receiver import Receiver
from bench.outside.sender import Sender, sending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_testing.chaos.plan import Fault
    from aperag_testing.site import Site
    from aperag_testing.stack import Stack
    from bench.harness.arrivals import Arrivals
    from bench.report.figures import Findings

SENDERS = 8
AHEAD = 64
"""Events beyond the settled ones at most, so that they come in during the whole run."""
WARM_UP = 5
REST_WITHIN = 600.0
SECONDS_PER_EVENT = 1.0
SECONDS_PER_KILL = 60.0
RECEIVED_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Options:
    """``singles`` events and uploads are measured alone; ``fast`` shortens leases and due times."""

    events: int
    kills: int
    seed: int
    singles: int
    fast: bool


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    settings = HOUSEKEEPING | (HASTE if options.fast else {}) | {"APERAG_OUTBOUND__ALLOW": '["127.0.0.1"]'}
    tell("starting a stack")
    with running_stack("--indexers", "2", settings=settings) as stack:
        async with Client(stack.url, stack.api_key) as client, database(stack) as rows, _looking(stack) as bus:
            return findings(await OutsideRun(stack, client, rows, bus, options, tell).run())


@asynccontextmanager
async def _looking(stack: Stack) -> AsyncIterator[Bus]:
    """As the reconciler, who may look at every stream and consumer."""
    settings = NatsSettings(url=stack.state()["nats_url"], seed_file=stack.home / "secrets" / "reconciler.nk")
    bus = await connect(settings, service="reconciler", instance="bench")
    try:
        yield bus
    finally:
        await bus.close()


@dataclass(slots=True)
class OutsideRun:
    """One run against one stack."""

    stack: Stack
    client: Client
    rows: AsyncEngine
    bus: Bus
    options: Options
    tell: Callable[[str], None]
    struck: list[Fault] = field(default_factory=list)

    async def run(self) -> Measured:
        receiver = Receiver()
        async with open_site() as site:
            await self._hook(receiver, site)
            uploads, events = await self._singles()
            quick = list(receiver.seconds.values())
            self.tell(f"{self.options.events} events, and nothing dies")
            calm = await self._flood(make_outside_plan(self.options.seed, events=self.options.events, kills=0))
            plan = make_outside_plan(self.options.seed + 1, events=self.options.events, kills=self.options.kills)
            self.tell(f"{self.options.events} events, {len(plan.faults)} faults")
            hurt = await self._flood(plan)
            webhooks = await self._delivered(receiver, quick)
        return Measured(uploads, events, self.options.events, calm, hurt, self.struck, webhooks)

    async def _singles(self) -> tuple[list[float], list[float]]:
        """Seconds from the request to the event that tells the end; the two ways in turns."""
        self.tell(f"{self.options.singles} uploads and as many events, one at a time")
        collection = await self.client.collection("singles")
        uploads: list[float] = []
        events: list[float] = []
        async with self._sender(collection) as sender, arrivals(self.client) as told:
            for number in range(WARM_UP + self.options.singles):
                took = await self._upload(collection, number, told), await self._event(sender, number, told)
                if number >= WARM_UP:
                    uploads.append(took[0])
                    events.append(took[1])
        return uploads, events

    async def _upload(self, collection: str, number: int, told: Arrivals) -> float:
        begun = time.perf_counter()
        (document,) = await self.client.upload(collection, {f"upload-{number}.md": page(2 * number).encode()})
        await told.all_of([document["task_id"]])
        return told.ended[document["task_id"]] - begun

    async def _event(self, sender: Sender, number: int, told: Arrivals) -> float:
        id_ = f"single-{number}"
        begun = time.perf_counter()
        await sender.send(Sent(id_, f"event-{number}.md", datetime.now(UTC), page(2 * number + 1)))
        task = await told.task_of(id_)
        await told.all_of([task])
        return told.ended[task] - begun

    @asynccontextmanager
    async def _sender(self, collection: str) -> AsyncIterator[Sender]:
        async with sending(self.client, collection) as sender:
            yield sender

    async def _flood(self, plan: OutsidePlan) -> Flood:
        collection = await self.client.collection("flood")
        begun = time.perf_counter()
        async with self._sender(collection) as sender:
            went_through = await self._sent(plan, sender, collection)
            rest = await until_at_rest(self.bus, self.rows, collection, within=REST_WITHIN)
        seconds = time.perf_counter() - begun
        seen = await observe(self.client, self.rows, self.bus, collection, plan)
        at_rest = went_through and rest.reached is not None
        return Flood(len(plan.events) / seconds, sender.repeated, judge_outside(seen, plan), at_rest)

    async def _sent(self, plan: OutsidePlan, sender: Sender, collection: str) -> bool:
        """Until every event is settled and every fault has struck; False where that takes too long."""
        waiting, free, faults = iter(plan.events), asyncio.Semaphore(AHEAD), list(plan.faults)
        within = 120 + SECONDS_PER_EVENT * len(plan.events) + SECONDS_PER_KILL * len(plan.faults)
        done = 0

        async def send() -> None:
            for event in waiting:
                await free.acquire()
                await sender.send(event)

        async def look() -> bool:
            nonlocal done
            before, done = done, max(done, await settled(self.rows, collection))
            for _ in range(done - before):
                free.release()
            if faults and done >= faults[0].after and self.stack.unit(faults[0].unit)["status"] == "ready":
                self.struck.append(faults.pop(0))
                await asyncio.to_thread(self.stack.kill, self.struck[-1].unit)
            return done == len(plan.events) and not faults

        try:
            async with asyncio.timeout(within), asyncio.TaskGroup() as group:
                for _ in range(SENDERS):
                    group.create_task(send())
                await until(look, within=math.inf, every=0.05)
        except TimeoutError:
            return False
        return True

    async def _hook(self, receiver: Receiver, site: Site) -> None:
        """The ends of all tasks that end well are delivered from now on; the service for it is up when this returns."""
        body = {"url": receiver.serve(site), "types": ["document.indexed"]}
        made = await self.client.json("POST", "/webhooks", json=body, expect=HTTPStatus.CREATED)
        receiver.secret = made["secret"]
        await self.client.json("POST", f"/webhooks/{made['id']}/test", expect=HTTPStatus.ACCEPTED)

        async def came() -> bool:
            return bool(receiver.ids)

        await until(came, within=RECEIVED_WITHIN)
        receiver.forget()

    async def _delivered(self, receiver: Receiver, quick: list[float]) -> Webhooks:
        """Wait until every end of a task has been delivered."""
        self.tell("until every webhook has come")
        wanted = await self._ended()

        async def all_came() -> bool:
            return wanted <= receiver.events.keys()

        broken: list[Finding] = []
        try:
            await until(all_came, within=RECEIVED_WITHIN)
        except AssertionError:
            broken += [Finding(Wrong.LOST, "no webhook came", id_) for id_ in wanted - receiver.events.keys()]
        broken += [Finding(Wrong.LOST, "its signature did not verify", id_) for id_ in receiver.unsigned]
        broken += [Finding(Wrong.DUPLICATED, "delivered under two ids", id_) for id_ in receiver.under_two_ids]
        repeated = sum(receiver.ids.values()) - len(receiver.ids)
        return Webhooks(quick, len(receiver.events), repeated, broken)

    async def _ended(self) -> set[str]:
        async with self.rows.connect() as conn:
            query = "SELECT id::text FROM outbox WHERE payload ->> 'type' = 'document.indexed'"
            return {row[0] for row in await conn.exec_driver_sql(query)}
