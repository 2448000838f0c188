"""``bench fairness``: one person's documents by the thousand in the queue, and another's single one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_testing.client import Client
from bench.corpora.generated import page
from bench.errors import BenchError
from bench.fairness.findings import Measured, Trial, findings
from bench.fairness.stages import backlog, stages
from bench.harness.database import database
from bench.harness.people import another_key
from bench.harness.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from bench.report.figures import Findings

WARM_UP = 5
"""The first ones load the encoders and the statements of every connection."""
PER_REQUEST = 50
"""Enough for the gateway to take them as bulk work."""


@dataclass(frozen=True, slots=True)
class Options:
    """``queued`` documents of one owner, ``trials`` of another, one after the other."""

    queued: int
    trials: int
    indexers: int


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    tell("starting a stack")
    with running_stack("--indexers", str(options.indexers)) as stack:
        async with (
            database(stack) as engine,
            Client(stack.url, stack.api_key) as many,
            Client(stack.url, await another_key(stack, engine)) as one,
        ):
            return findings(await _measure(Fairness(engine, many, one), options, tell))


@dataclass(frozen=True, slots=True)
class Fairness:
    """``many`` is whose documents stand in the queue, ``one`` who comes with a single one."""

    engine: AsyncEngine
    many: Client
    one: Client

    async def queue(self, collection: str, documents: int) -> None:
        """Answered when all are accepted."""
        for first in range(0, documents, PER_REQUEST):
            numbers = range(first, min(first + PER_REQUEST, documents))
            await self.many.upload(collection, {f"{number}.md": page(number).encode() for number in numbers})

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


async def _measure(bench: Fairness, options: Options, tell: Callable[[str], None]) -> Measured:
    own = await bench.one.collection("one")
    tell(f"{options.trials} documents while nobody else has work")
    for number in range(WARM_UP):
        await bench.trial(own, number)
    alone = [await bench.trial(own, WARM_UP + number) for number in range(options.trials)]
    tell(f"queueing {options.queued} documents")
    large = await bench.many.collection("many")
    begun = time.perf_counter()
    await bench.queue(large, options.queued)
    queueing = time.perf_counter() - begun
    before = await backlog(bench.engine, large)
    tell(f"{options.trials} documents beside {before.waiting} that wait")
    begun = time.perf_counter()
    first = WARM_UP + options.trials
    beside = [await bench.trial(own, first + number) for number in range(options.trials)]
    seconds = time.perf_counter() - begun
    after = await backlog(bench.engine, large)
    if not after.waiting:
        message = f"the {options.queued} documents were worked off before the trials ended"
        raise BenchError(message, hint="queue more, or try less often")
    worked_off = before.waiting + before.released - after.waiting - after.released
    return Measured(options.queued, queueing, before, after, alone, beside, worked_off / seconds)
