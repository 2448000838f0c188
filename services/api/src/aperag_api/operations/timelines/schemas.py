"""The timeline of a document as clients see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from aperag_api.operations.timelines.decide import Reason


class FailedAttempt(BaseModel):
    """One that did not succeed; ``next_try_at`` is null where its worker was lost or nothing followed."""

    attempt: int | None = None
    worker: str | None = None
    ended: datetime | None = None
    code: str | None = None
    message: str | None = None
    next_try_at: datetime | None = None


class TurnOut(BaseModel):
    """``position`` counts from 1, in the order of release; ``in_flight`` are the owner's documents at work or queued."""

    position: int
    waiting: int
    in_flight: int
    limit: int
    owners_waiting: int


class QueueOut(BaseModel):
    """``commands`` is null where NATS did not answer."""

    consumer: str
    commands: int | None = None
    workers: int
    free_slots: int


class StageOut(BaseModel):
    """``why`` is for people, ``reason`` for programs; ``turn`` and ``queue`` are there where the stage waits for them.

    ``seconds`` is how long it took, or has taken so far, from its first attempt; ``next_at`` when it goes on by itself.
    """

    kind: str
    action: str
    state: str
    reason: Reason
    why: str
    requested: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    generation: int
    attempt: int
    max_attempts: int
    failures: int
    max_failures: int
    worker: str | None = None
    lease_until: datetime | None = None
    next_try_at: datetime | None = None
    next_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    failed_attempts: list[FailedAttempt]
    turn: TurnOut | None = None
    queue: QueueOut | None = None
    trace_id: str | None = None


class TaskSummary(BaseModel):
    id: str
    kind: str
    status: str
    created: datetime
    finished: datetime | None = None
    trace_id: str | None = None


class TimelineOut(BaseModel):
    """``settled``: nothing of it is open. ``traces`` says where its traces are read. ``dead_letters`` is for admins."""

    document_id: str
    collection_id: str
    name: str
    status: str
    summary: str
    settled: bool
    read_at: datetime
    traces: str
    stages: list[StageOut]
    tasks: list[TaskSummary]
    dead_letters: list[str] | None = None
