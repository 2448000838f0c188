"""Timelines as clients see them, made of facts and verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.operations.timelines.decide import DocumentFacts, Verdict, decide, moment, next_try, summary
from aperag_api.operations.timelines.facts import Queue
from aperag_api.operations.timelines.schemas import FailedAttempt, QueueOut, StageOut, TaskSummary, TimelineOut, TurnOut
from aperag_common.services import Service
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_api.operations.timelines.facts import StepFacts, Turn
    from aperag_api.operations.timelines.repository import DocumentRow, Process


@dataclass(frozen=True, slots=True)
class Stage:
    facts: StepFacts
    turn: Turn | None
    queue: Queue | None
    verdict: Verdict


def stage_of(
    facts: StepFacts, turn: Turn | None, pending: Mapping[str, int | None], processes: Sequence[Process]
) -> Stage:
    consumer = facts.work.consumer
    queue = _queue(consumer, pending.get(consumer), processes) if facts.open else None
    verdict = decide(facts, turn=turn, queue=queue)
    return Stage(facts, turn, queue if facts.published else None, verdict)


def _queue(consumer: str, pending: int | None, processes: Sequence[Process]) -> Queue:
    loads = [load for process in processes for load in process.consumers if load.get("name") == consumer]
    free = sum(max(int(load.get("slots", 0)) - int(load.get("busy", 0)), 0) for load in loads)
    reconcilers = sum(process.service == Service.RECONCILER for process in processes)
    return Queue(consumer, len(loads), free, reconcilers, pending)


def timeline(
    found: DocumentRow,
    stages: Sequence[Stage],
    tasks: Sequence[dict[str, Any]],
    letters: list[str] | None,
    traces: str,
) -> TimelineOut:
    facts = DocumentFacts(found.status, deleted=found.deleted)
    return TimelineOut(
        document_id=found.id,
        collection_id=found.collection_id,
        name=found.name,
        status="DELETED" if found.deleted else found.status,
        summary=summary(facts, [(stage.facts, stage.verdict) for stage in stages]),
        settled=not any(stage.facts.open for stage in stages),
        read_at=found.now,
        traces=traces,
        stages=[_shown(stage) for stage in stages],
        tasks=[_task(task) for task in tasks],
        dead_letters=letters,
    )


def _shown(stage: Stage) -> StageOut:
    facts, verdict = stage.facts, stage.verdict
    ended = facts.settled_at
    seconds = ((ended or facts.now) - facts.started_at).total_seconds() if facts.started_at else None
    return StageOut(
        kind=facts.kind,
        action="remove" if facts.removing else "parse" if facts.kind == "parse" else "build",
        state=facts.status,
        reason=verdict.reason,
        why=verdict.sentence,
        requested=facts.requested,
        started=facts.started_at,
        ended=ended,
        seconds=None if seconds is None else round(max(seconds, 0.0), 3),
        generation=facts.generation,
        attempt=facts.attempt,
        max_attempts=facts.max_attempts,
        failures=facts.failures,
        max_failures=facts.max_failures,
        worker=facts.worker,
        lease_until=facts.lease_until,
        next_try_at=next_try(facts) if facts.open else None,
        next_at=verdict.next_at,
        error_code=facts.error_code,
        error_message=facts.error_message,
        failed_attempts=[_attempt(attempt) for attempt in facts.failed_attempts if isinstance(attempt, dict)],
        turn=_shown_turn(stage.turn),
        queue=_shown_queue(stage.queue),
        trace_id=propagate.trace_id_of(facts.traceparent),
    )


def _shown_turn(turn: Turn | None) -> TurnOut | None:
    if turn is None:
        return None
    return TurnOut(
        position=turn.position,
        waiting=turn.waiting,
        in_flight=turn.in_flight,
        limit=turn.limit,
        owners_waiting=turn.owners,
    )


def _shown_queue(queue: Queue | None) -> QueueOut | None:
    if queue is None:
        return None
    return QueueOut(consumer=queue.consumer, commands=queue.pending, workers=queue.workers, free_slots=queue.free)


def _attempt(noted: dict[str, Any]) -> FailedAttempt:
    """What stands in the row's JSON, as far as it is what it should be."""
    number = noted.get("attempt")
    told = {name: noted[name] for name in ("worker", "code", "message") if isinstance(noted.get(name), str)}
    return FailedAttempt(
        attempt=number if isinstance(number, int) else None,
        ended=moment(noted.get("ended")),
        next_try_at=moment(noted.get("next_try_at")),
        **told,
    )


def _task(row: dict[str, Any]) -> TaskSummary:
    values = dict(row)
    return TaskSummary(trace_id=propagate.trace_id_of(values.pop("traceparent")), **values)
