"""``bench pipeline``: documents through our services and through Celery, and what becomes of them after kill -9."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import text

from aperag_indexer.settings import PoolSettings
from aperag_standalone.ports import free_port
from aperag_testing.client import Client
from bench.celery.app import require
from bench.corpora.choose import corpus
from bench.corpora.document import CorpusDocument
from bench.corpora.generated import page
from bench.harness.database import database, owner_and_analyzer
from bench.harness.stack import running_stack
from bench.ingest.pure import Place, Pure, pure
from bench.measure.processes import POSTGRES, StackProcesses, cpu_between, tree_cpu_seconds
from bench.pipeline import watch
from bench.pipeline.accept import Intake
from bench.pipeline.baseline import running_baseline
from bench.pipeline.findings import Ran, Recovery, findings
from bench.pipeline.ours import our_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.stack import Stack
    from bench.pipeline.accept import Side
    from bench.report.figures import Findings

WARM_UP = 32
OURS, BASELINE = "ours", "celery"
CALLER = "caller"


@dataclass(frozen=True, slots=True)
class Options:
    """``cap``: seconds without a document that ends, after which nobody waits for the rest."""

    corpus: str
    documents: int | None
    celery: bool
    cap: float
    visibility: float


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    if options.celery:
        require()
    name, documents = corpus(options.corpus, options.documents)
    nats_port = free_port()
    tell("starting a stack")
    with running_stack("--nats-port", str(nats_port)) as stack, tempfile.TemporaryDirectory() as folder:
        async with Client(stack.url, stack.api_key) as client, database(stack) as engine:
            bench = Pipeline(stack, client, engine, Path(folder), documents, options, tell)
            baseline = await bench.pure()
            runs, recoveries = await bench.ours(nats_port)
            if options.celery:
                baseline_runs, baseline_recoveries = await bench.baseline()
                runs, recoveries = [*runs, *baseline_runs], [*recoveries, *baseline_recoveries]
    return findings(name, baseline, runs, recoveries)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One run of the benchmark. Every part begins with tables that hold no document."""

    stack: Stack
    client: Client
    engine: AsyncEngine
    folder: Path
    documents: Sequence[CorpusDocument]
    options: Options
    tell: Callable[[str], None]

    async def pure(self) -> Pure:
        workers = PoolSettings().workers
        self.tell(f"{len(self.documents)} documents without services, in {workers} processes")
        place = await self._place("without services")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            return await pure(self.stack, place, self.documents, workers=workers, folder=Path(folder))

    async def ours(self, nats_port: int) -> tuple[list[Ran], list[Recovery]]:
        stack = StackProcesses(self.stack)
        async with our_side(self.stack, self.engine, nats_port) as side:
            await self._warm(side)
            ran = await self._measure(OURS, side, stack.cpu_seconds)
            killed = await self._kill(OURS, side, lambda: self.stack.kill("indexer"), ran)
        return [ran], [killed]

    async def baseline(self) -> tuple[list[Ran], list[Recovery]]:
        runs: list[Ran] = []
        recoveries: list[Recovery] = []
        visibilities = (("an hour, the default", None), (f"{self.options.visibility:.0f} s", self.options.visibility))
        for number, (told, visibility) in enumerate(visibilities):
            folder = self.folder / f"baseline-{number}"
            folder.mkdir()
            processes = PoolSettings().workers
            with running_baseline(
                self.stack, self.engine, folder, processes=processes, visibility_seconds=visibility
            ) as baseline:
                await self._warm(baseline)
                name = f"{BASELINE}, visibility {told}"

                def cpu_seconds() -> dict[str, float]:
                    servers = {POSTGRES: StackProcesses(self.stack).cpu_seconds()[POSTGRES]}
                    return servers | {
                        "workers": baseline.processes.cpu_seconds(),
                        "redis": tree_cpu_seconds(baseline.redis.pid),
                    }

                if not runs:
                    runs.append(await self._measure(BASELINE, baseline, cpu_seconds))
                recoveries.append(await self._kill(name, baseline, baseline.processes.kill_one, runs[0]))
        return runs, recoveries

    async def _warm(self, side: Side) -> None:
        """Until every process that works on documents has done so."""
        place = await self._place("warm")
        pages = [CorpusDocument(f"warm-{number}.md", page(-number).encode()) for number in range(WARM_UP)]
        await Intake(side, place, self.stack.objects).accept_all(pages)
        await watch.all_ended(self.engine, place.collection, len(pages))

    async def _measure(self, name: str, side: Side, cpu_seconds: Callable[[], dict[str, float]]) -> Ran:
        self.tell(f"{len(self.documents)} documents, {name}")
        place = await self._place(name)
        before, own, begun = cpu_seconds(), _own_cpu_seconds(), time.perf_counter()
        await Intake(side, place, self.stack.objects).accept_all(self.documents)
        accepted = time.perf_counter() - begun
        await watch.all_ended(self.engine, place.collection, len(self.documents))
        seconds = time.perf_counter() - begun
        spent = cpu_between(before, cpu_seconds()) | {CALLER: _own_cpu_seconds() - own}
        indexed, _ = await watch.complete(self.engine, place.collection)
        return Ran(name, len(self.documents), indexed, accepted, seconds, spent)

    async def _kill(self, name: str, side: Side, kill: Callable[[], object], ran: Ran) -> Recovery:
        """When half of the documents have ended."""
        self.tell(f"{len(self.documents)} documents, {name}, a worker killed")
        place = await self._place(f"{name}, killed")
        wanted = len(self.documents)
        await Intake(side, place, self.stack.objects).accept_all(self.documents)
        await watch.all_ended(self.engine, place.collection, wanted // 2)
        kill()
        killed = time.perf_counter()
        _, ended = await watch.complete(self.engine, place.collection)
        recovered = await watch.ended(self.engine, place.collection, wanted, within=self.options.cap)
        seconds = time.perf_counter() - killed
        indexed, _ = await watch.complete(self.engine, place.collection)
        return Recovery(
            name, wanted - ended, (wanted - ended) / ran.rate, seconds if recovered else None, wanted - indexed
        )

    async def _place(self, title: str) -> Place:
        """A collection of its own in emptied tables: rows that others wrote make inserts into an index slower."""
        async with self.engine.begin() as conn:
            await conn.execute(text("TRUNCATE document, job CASCADE"))
        collection = await self.client.collection(title)
        owner, analyzer = await owner_and_analyzer(self.engine, collection)
        return Place(collection, owner, analyzer)


def _own_cpu_seconds() -> float:
    own = psutil.Process().cpu_times()
    return own.user + own.system
