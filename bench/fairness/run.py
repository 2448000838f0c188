"""``bench fairness``: one person's work by the thousand in the queue, and another's single document."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_testing.client import Client
from bench.corpora.generated import page
from bench.errors import BenchError
from bench.fairness.findings import Measured, Trial, findings
from bench.fairness.loads import Deliveries, Documents
from bench.fairness.stages import stages
from bench.harness.database import database
from bench.harness.people import another_key
from bench.harness.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from bench.fairness.loads import Load
    from bench.report.figures import Findings

WARM_UP = 5
"""The first ones load the encoders and the statements of every connection."""
ALLOWED = {"APERAG_OUTBOUND__ALLOW": '["127.0.0.1"]'}


@dataclass(frozen=True, slots=True)
class Options:
    """``queued`` documents of one owner, or with ``failing`` so many webhook deliveries that fail instead; ``trials``
    documents of another, one after the other.
    """

    queued: int
    trials: int
    indexers: int
    failing: int = 0


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    tell("starting a stack")
    with running_stack("--indexers", str(options.indexers), settings=ALLOWED) as stack:
        async with (
            database(stack) as engine,
            Client(stack.url, stack.api_key) as many,
            Client(stack.url, await another_key(stack, engine)) as one,
        ):
            load = (
                Deliveries(engine, many, options.failing)
                if options.failing
                else Documents(engine, many, options.queued)
            )
            return findings(await _measure(Fairness(engine, one), load, options.trials, tell))


@dataclass(frozen=True, slots=True)
class Fairness:
    """``one`` is who comes with single documents."""

    engine: AsyncEngine
    one: Client

    async def trial(self, collection: str, number: int) -> Trial:
        token = f"token{number:06d}"
        body = f"# {token}\n\n{page(number)}\n".encode()
        begun, clock = time.time(), time.perf_counter()
        (document,) = await self.one.upload(collection, {f"{token}.md": body})
        hits = await self.one.search(collection, token, wait_for=[document["id"]])
        seconds = time.perf_counter() - clock
        if document["id"] not in {hit["metadata"]["document_id"] for hit in hits}:
            message = f"the word {token} did not find the only document that holds it"
            raise BenchError(message, hint="full-text search is broken: run `just test`")
        parts = await stages(self.engine, document["id"], begun=begun, ended=begun + seconds)
        return Trial(seconds, parts)


async def _measure(bench: Fairness, load: Load, trials: int, tell: Callable[[str], None]) -> Measured:
    own = await bench.one.collection("one")
    tell(f"{trials} documents while nobody else has work")
    for number in range(WARM_UP):
        await bench.trial(own, number)
    alone = [await bench.trial(own, WARM_UP + number) for number in range(trials)]
    tell(f"queueing {load.size} {load.things}")
    begun = time.perf_counter()
    await load.queue()
    queueing = time.perf_counter() - begun
    before = await load.backlog()
    tell(f"{trials} documents beside {before.waiting} {load.things} that wait")
    begun = time.perf_counter()
    first = WARM_UP + trials
    beside = [await bench.trial(own, first + number) for number in range(trials)]
    seconds = time.perf_counter() - begun
    after = await load.backlog()
    if not after.waiting:
        message = f"the {load.size} {load.things} were worked off before the trials ended"
        raise BenchError(message, hint="queue more, or try less often")
    return Measured(load, queueing, before, after, alone, beside, (after.worked_off - before.worked_off) / seconds)
