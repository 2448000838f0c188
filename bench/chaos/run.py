"""``bench chaos``: an ingest over HTTP while processes are killed, and what an outsider finds when it is over."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.bus.connection import Bus, connect
from aperag_common.settings import NatsSettings
from aperag_retrieval.chunking import ChunkPolicy, ParsedDocument, chunk_document
from aperag_testing.chaos.ingest import Ingest
from aperag_testing.chaos.judge import judge
from aperag_testing.chaos.observe import Observer
from aperag_testing.chaos.plan import Plan, make_plan, make_texts
from aperag_testing.chaos.rest import until_at_rest
from aperag_testing.chaos.settings import HASTE, HOUSEKEEPING
from aperag_testing.client import Client
from bench.chaos.evidence import save
from bench.chaos.findings import Hurt, Pace, findings
from bench.harness.database import database
from bench.harness.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.chaos.finding import Finding
    from aperag_testing.chaos.observation import Accepted
    from aperag_testing.client import EventLog
    from aperag_testing.stack import Stack
    from bench.report.figures import Findings

PATIENCE = 300.0
REST_WITHIN = 1200.0
"""Twice the longest time after which a command counts as lost."""
SECONDS_PER_DOCUMENT = 5.0
SECONDS_PER_KILL = 60.0
CALM = 100
UNDISTURBED_SEARCHED = 200

_BUILT_AFTER = text(
    """
    SELECT count(*) FROM workflow WHERE collection_id = :collection AND kind IN ('upload', 'rebuild')
        AND status = 'SUCCESS' AND finished > to_timestamp(:at)
    """
)
_PACE = text(
    """
    SELECT (SELECT count(*) FROM job WHERE collection_id = :collection AND attempt > 1) AS again,
        (SELECT count(*) FROM dead_letter WHERE collection_id IS NULL) AS letters,
        extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY finished - created))::float AS median,
        extract(epoch FROM max(finished - created))::float AS longest
    FROM workflow WHERE collection_id = :collection AND kind = 'upload' AND status = 'SUCCESS'
    """
)


@dataclass(frozen=True, slots=True)
class Options:
    """``fast`` shortens leases and due times; ``keep`` takes the evidence where a promise was broken."""

    documents: int
    kills: int
    seed: int
    wipe: bool
    fast: bool
    keep: Path | None


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    plan = make_plan(options.seed, documents=options.documents, kills=options.kills, wipe=options.wipe)
    settings = HOUSEKEEPING | (HASTE if options.fast else {})
    tell("starting a stack with two of every worker")
    with running_stack("--indexers", "2", "--reconcilers", "2", settings=settings) as stack:
        async with Client(stack.url, stack.api_key) as client, database(stack) as rows:
            bus = await connect(_as_reconciler(stack), service="reconciler", instance="bench")
            try:
                return findings(await Chaos(stack, client, rows, bus, plan, options, tell).run())
            finally:
                await bus.close()


def _as_reconciler(stack: Stack) -> NatsSettings:
    """Who may look at every stream and consumer."""
    return NatsSettings(url=stack.state()["nats_url"], seed_file=stack.home / "secrets" / "reconciler.nk")


def pieces(body: str) -> frozenset[tuple[int, str]]:
    """The chunks that one indexer makes of a text which nobody disturbs."""
    drafts = chunk_document(ParsedDocument(body), ChunkPolicy())
    return frozenset((draft.ordinal, draft.text_hash) for draft in drafts)


@dataclass(frozen=True, slots=True)
class Chaos:
    """One run against one stack."""

    stack: Stack
    client: Client
    rows: AsyncEngine
    bus: Bus
    plan: Plan
    options: Options
    tell: Callable[[str], None]

    async def run(self) -> Hurt:
        collection = await self.client.collection("chaos")
        async with self.client.events() as log:
            self.tell(f"{self.options.documents} documents, {len(self.plan.faults)} faults")
            ingest = self._ingest(collection, self.plan)
            went_through = await ingest.run()
            self.tell("every upload has ended; until the rest has")
            rest = await until_at_rest(self.bus, self.rows, collection, within=REST_WITHIN)
            self.tell("looking from outside")
            broken = await self._judged(collection, ingest, log)
        built_after, pace = await self._built(collection, ingest)
        refused = dict(self.client.refused)
        settings = "fast" if self.options.fast else "production"
        calm = await self._calm_rate()
        return Hurt(self.plan, settings, ingest.struck, went_through, rest, broken, built_after, calm, pace, refused)

    def _ingest(self, collection: str, plan: Plan) -> Ingest:
        within = 120 + SECONDS_PER_DOCUMENT * len(plan.texts) + SECONDS_PER_KILL * len(plan.faults)
        return Ingest(self.stack, self.client, self.rows, collection, plan, pieces, PATIENCE, within)

    async def _judged(self, collection: str, ingest: Ingest, log: EventLog) -> list[Finding]:
        accepted = list(ingest.accepted.values())
        observer = Observer(self.stack, self.client, self.rows, self.bus, log, collection)
        broken = judge(await observer.observe(accepted, _searched(accepted)), accepted)
        if broken and self.options.keep is not None:
            await save(self.stack, self.rows, broken, self.options.keep)
        return broken

    async def _built(self, collection: str, ingest: Ingest) -> tuple[int, Pace]:
        at = ingest.struck[-1].at if ingest.struck else time.time()
        async with self.rows.connect() as conn:
            built = (await conn.execute(_BUILT_AFTER, {"collection": collection, "at": at})).scalar_one()
            pace = (await conn.execute(_PACE, {"collection": collection})).one()
        return int(built), Pace(pace.median, pace.longest, pace.again, pace.letters)

    async def _calm_rate(self) -> float:
        """Documents per second of the same stack and client when nothing dies; two batches bring the pool to life."""
        texts = make_texts(random.Random(self.options.seed), min(CALM, self.options.documents), prefix="calm")
        self.tell(f"{len(texts)} documents, and nothing dies")
        await self._ingest(await self.client.collection("warm"), Plan(texts, [], {})).run()
        collection = await self.client.collection("calm")
        begun = time.perf_counter()
        await self._ingest(collection, Plan(texts, [], {})).run()
        return len(texts) / (time.perf_counter() - begun)


def _searched(accepted: list[Accepted]) -> list[Accepted]:
    """All that were disturbed, and as many of the others as can be asked for in a minute."""
    disturbed = [document for document in accepted if document.asked]
    others = [document for document in accepted if not document.asked]
    return disturbed + others[:: max(1, len(others) // UNDISTURBED_SEARCHED)]
