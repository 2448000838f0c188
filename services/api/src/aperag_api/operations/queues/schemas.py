"""Queues, workers and open work as operators see them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class ConsumerOut(BaseModel):
    """``ready``, ``unacked`` and ``redelivered`` are the NATS server's, null where it did not answer; the rest is the
    database's. ``waiting`` counts by lane what is not released yet, ``blocked`` what waits for another row,
    ``failed`` what stands given up. Rates are those of the last minutes, and ``p50_seconds`` and ``p95_seconds`` how
    long jobs took that ended then, from their first claim on; null where nobody counts them, or none ended.
    """

    name: str
    service: str
    stream: str
    ready: int | None = None
    unacked: int | None = None
    redelivered: int | None = None
    waiting: dict[str, int]
    blocked: int = 0
    queued: int = 0
    running: int = 0
    retrying: int = 0
    worker_lost: int = 0
    failed: int = 0
    oldest_seconds: float | None = None
    done_per_minute: float | None = None
    failed_per_minute: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    workers: int
    slots: int
    busy: int


class RunningOut(BaseModel):
    """A job that a worker has leased; ``since`` is the start of this attempt."""

    consumer: str
    worker: str | None
    owner: str
    collection_id: str | None = None
    document_id: str | None = None
    name: str | None = None
    attempt: int
    since: datetime
    seconds: float


class WorkerLoad(BaseModel):
    name: str
    slots: int
    busy: int


class WorkerOut(BaseModel):
    """``alive``: it was seen within the last 30 seconds."""

    service: str
    instance: str
    version: str
    started: datetime
    seen: datetime
    alive: bool
    consumers: list[WorkerLoad]


class StreamOut(BaseModel):
    """``max_bytes`` is null where there is no limit."""

    name: str
    messages: int
    bytes: int
    max_bytes: int | None = None


class OpenTasksOut(BaseModel):
    kind: str
    tasks: int
    oldest_seconds: float


class QueuesOut(BaseModel):
    """``nats`` is null where NATS answered, else a sentence; ``running`` holds the longest-running 200."""

    read_at: datetime
    nats: str | None
    consumers: list[ConsumerOut]
    running: list[RunningOut]
    workers: list[WorkerOut]
    streams: list[StreamOut]
    tasks: list[OpenTasksOut]
    open_dead_letters: int
    unrelayed_events: int
    oldest_unrelayed_seconds: float
    oldest_due_seconds: float
