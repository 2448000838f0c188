"""One consumer as operators see it, put together from what the database and the server count; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.operations.queues.schemas import ConsumerOut
from aperag_work.backlog import Settled, WorkState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from aperag_api.operations.queues.schemas import WorkerOut
    from aperag_common.bus.specs import ConsumerSpec
    from aperag_work.backlog import OpenWork, Took

UNCOUNTED = frozenset({"reconciler-tick", "reconciler-purge", "reconciler-user-purge", "reconciler-advisory"})
"""What they end leaves no event to count."""


@dataclass(frozen=True, slots=True)
class Held:
    """Messages of a consumer on the server."""

    ready: int
    unacked: int
    redelivered: int


@dataclass(frozen=True, slots=True)
class Counted:
    """All that the database says; ``settled`` is what ended during ``window``, and ``took`` how long it took."""

    work: Sequence[OpenWork]
    failed: Mapping[str, int]
    settled: Mapping[str, Settled]
    took: Mapping[str, Took]
    window: timedelta
    workers: Sequence[WorkerOut]


def consumer_view(spec: ConsumerSpec, counted: Counted, held: Held | None) -> ConsumerOut:
    own = [it for it in counted.work if it.consumer == spec.name]
    rows = Counter[str]()
    waiting = Counter[str]()
    for it in own:
        rows[it.state] += it.rows
        waiting[it.lane] += it.rows if it.state == WorkState.WAITING else 0
    alive = [worker for worker in counted.workers if worker.alive]
    loads = [load for worker in alive for load in worker.consumers if load.name == spec.name]
    ended = None if spec.name in UNCOUNTED else counted.settled.get(spec.name, Settled(0, 0))
    took = counted.took.get(spec.name)
    minutes = counted.window.total_seconds() / 60
    return ConsumerOut(
        name=spec.name,
        service=spec.service,
        stream=spec.stream,
        ready=held.ready if held else None,
        unacked=held.unacked if held else None,
        redelivered=held.redelivered if held else None,
        waiting=dict(+waiting),
        blocked=rows[WorkState.BLOCKED],
        queued=rows[WorkState.QUEUED],
        running=rows[WorkState.RUNNING],
        retrying=rows[WorkState.RETRYING],
        worker_lost=rows[WorkState.WORKER_LOST],
        failed=counted.failed.get(spec.name, 0),
        oldest_seconds=max((it.oldest_seconds for it in own), default=None),
        done_per_minute=round(ended.done / minutes, 1) if ended else None,
        failed_per_minute=round(ended.failed / minutes, 1) if ended else None,
        p50_seconds=round(took.p50, 3) if took else None,
        p95_seconds=round(took.p95, 3) if took else None,
        workers=len(loads),
        slots=sum(load.slots for load in loads),
        busy=sum(load.busy for load in loads),
    )
