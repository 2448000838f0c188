"""Why a step is where it is: from facts to a code for programs and sentences for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from aperag_api.operations.timelines.facts import REMOVED
from aperag_api.operations.timelines.words import doing, ordinal, plural, span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from aperag_api.operations.timelines.facts import Queue, StepFacts, Turn

CANCELLED = "CANCELLED"


class Reason(StrEnum):
    """What a step waits for, or why it waits no more."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WORKING = "working"
    WORKER_LOST = "worker_lost"
    WAITS_FOR_TURN = "waits_for_turn"
    WAITS_FOR_PARSE = "waits_for_parse"
    RETRY = "retry"
    QUEUED = "queued"
    OVERDUE = "overdue"
    NO_WORKER = "no_worker"
    NO_RECONCILER = "no_reconciler"
    NATS_AWAY = "nats_away"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``short`` is for the summary of a document, ``next_at`` when the step goes on by itself, where that is known."""

    reason: Reason
    sentence: str
    short: str
    next_at: datetime | None = None


def decide(step: StepFacts, *, turn: Turn | None = None, queue: Queue | None = None) -> Verdict:
    """Never fails: facts that contradict each other are ``UNKNOWN``, and are told as they stand."""
    if not step.open:
        return _settled(step)
    if step.leased:
        return _leased(step)
    if step.due_at is None:
        return _blocked(step)
    if step.dispatch == 0:
        return _unreleased(turn, queue)
    tried_at = next_try(step)
    if tried_at is not None and tried_at > step.now:
        return _retry(step, tried_at)
    return _published(step, queue)


def next_try(step: StepFacts) -> datetime | None:
    """When a failed step is tried again; None where nothing has failed."""
    if step.failures <= 0:
        return None
    return moment(step.failed_attempts[-1].get("next_try_at") if step.failed_attempts else None) or step.due_at


def moment(value: Any) -> datetime | None:
    """A time as PostgreSQL writes it into JSON; None for whatever else stands there."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _settled(step: StepFacts) -> Verdict:
    ended = f", {span(step.now - step.settled_at)} ago" if step.settled_at else ""
    reason = f"{step.error_code or 'no code'}: {step.error_message or 'no reason was noted'}"
    if step.status == REMOVED:
        return Verdict(Reason.DONE, f"It has been removed{ended}.", "removed")
    if step.status == "ACTIVE":
        return Verdict(Reason.DONE, f"It is done{ended}.", "done")
    if step.status != "FAILED":
        return _unknown(step)
    still = " Searches still find what was built before." if step.served else ""
    if step.error_code == CANCELLED:
        return Verdict(Reason.CANCELLED, f"It was cancelled{ended}.{still}", f"{doing(step)} was cancelled")
    tries = f" after {plural(step.failures, 'failure')}" if step.failures > 1 else ""
    sentence = f"It was given up{tries}{ended}: {reason.rstrip('.')}.{still}"
    return Verdict(Reason.FAILED, sentence, f"{doing(step)} failed: {reason}")


def _leased(step: StepFacts) -> Verdict:
    worker = step.worker or "a worker"
    attempt = f"attempt {step.attempt} of {step.max_attempts}"
    if step.lease_until is not None and step.lease_until > step.now:
        since = span(step.now - step.claimed_at) if step.claimed_at else "a while"
        return Verdict(
            Reason.WORKING,
            f"{worker} has been working on it for {since}; {attempt} at most.",
            f"{doing(step)} since {since} on {worker}, {attempt}",
        )
    lost = f", at {step.lease_until:%H:%M:%S} UTC" if step.lease_until else ""
    soon = f"in {span(step.due_at - step.now)}" if step.due_at and step.due_at > step.now else "any moment"
    return Verdict(
        Reason.WORKER_LOST,
        f"{worker} stopped telling that it works on it and counts as lost{lost}; another worker is called {soon}.",
        f"{doing(step)} lost its worker {worker}, {attempt}; another one is called {soon}",
        step.due_at,
    )


def _blocked(step: StepFacts) -> Verdict:
    if step.kind == "parse" or step.removing:
        return _unknown(step)
    return Verdict(
        Reason.WAITS_FOR_PARSE,
        "It waits for the parse of this document: an index is built from what the parse has read.",
        f"{doing(step)} waits for the parse",
    )


def _unreleased(turn: Turn | None, queue: Queue | None) -> Verdict:
    if queue is not None and queue.reconcilers == 0:
        return Verdict(
            Reason.NO_RECONCILER,
            "It waits for its turn, and no reconciler is there to release it: start one.",
            "waits for its turn, and no reconciler is there",
        )
    if turn is None:
        return Verdict(Reason.WAITS_FOR_TURN, "It waits for its turn.", "waits for its turn")
    others = max(turn.owners - 1, 0)
    return Verdict(
        Reason.WAITS_FOR_TURN,
        f"It waits for its turn: {plural(turn.in_flight, 'document')} of this owner"
        f" {'is' if turn.in_flight == 1 else 'are'} in flight ({turn.limit} at most), it is"
        f" {ordinal(turn.position)} of {turn.waiting} that wait, and {plural(others, 'other owner')}"
        f" {'waits' if others == 1 else 'wait'} too.",
        f"waits for its turn: {ordinal(turn.position)} of {turn.waiting}",
    )


def _retry(step: StepFacts, tried_at: datetime) -> Verdict:
    failure = f"failure {step.failures} of {step.max_failures}"
    soon = span(tried_at - step.now)
    code, said = step.error_code or "no code", step.error_message or "no reason was noted"
    return Verdict(
        Reason.RETRY,
        f"It failed and is tried again in {soon} ({failure}): {code}: {said}",
        f"{doing(step)} failed ({code}), tried again in {soon}, {failure}",
        tried_at,
    )


def _published(step: StepFacts, queue: Queue | None) -> Verdict:
    told = f"{doing(step)} waits for a free worker"
    if queue is None:
        return Verdict(Reason.QUEUED, "Its command was published; it waits for a free worker.", told)
    if queue.workers == 0:
        return _no_worker(step, queue)
    if queue.pending is None:
        return Verdict(
            Reason.NATS_AWAY,
            "NATS does not answer: commands cannot be delivered, and are published again when it is back.",
            f"{doing(step)} waits for NATS, which does not answer",
        )
    if step.due_at is not None and step.due_at <= step.now:
        return _overdue(step, queue)
    ahead = f"at most {plural(queue.pending, 'command')}" if queue.pending else "no other command"
    slots = f"{plural(queue.free, 'slot')} of {plural(queue.workers, 'worker')}"
    before = f" after {plural(step.failures, 'failure')}" if step.failures else ""
    return Verdict(
        Reason.QUEUED,
        f"Its command was published{before} and waits for a free worker: {ahead} in {queue.consumer},"
        f" {slots} {'is' if queue.free == 1 else 'are'} free.",
        f"{told}: {ahead} in {queue.consumer}",
        step.due_at,
    )


def _no_worker(step: StepFacts, queue: Queue) -> Verdict:
    service = queue.consumer.partition("-")[0]
    return Verdict(
        Reason.NO_WORKER,
        f"No {service} is there: none that works on {queue.consumer} was seen lately. Start one.",
        f"{doing(step)} waits, and no {service} is there",
    )


def _overdue(step: StepFacts, queue: Queue) -> Verdict:
    published = plural(step.dispatch, "time")
    if queue.reconcilers == 0:
        return Verdict(
            Reason.NO_RECONCILER,
            f"Its command was published {published} and is lost, and no reconciler is there to publish it again:"
            " start one.",
            f"{doing(step)} waits, and no reconciler is there",
        )
    return Verdict(
        Reason.OVERDUE,
        f"Its command was published {published} and no worker has taken it; it counts as lost, and the reconciler"
        " publishes it again at its next run.",
        f"{doing(step)} waits for its command to be published again",
    )


def _unknown(step: StepFacts) -> Verdict:
    return Verdict(
        Reason.UNKNOWN,
        f"Its row says {step.status} with {plural(step.dispatch, 'publish', 'publishes')} and"
        f" {plural(step.attempt, 'attempt')}, which should not be: please report it.",
        f"{doing(step)} is in a state that should not be ({step.status})",
    )


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """``status`` as stored; a deleted document keeps its row for some minutes."""

    status: str
    deleted: bool


def summary(document: DocumentFacts, steps: Sequence[tuple[StepFacts, Verdict]]) -> str:
    """One line about the whole document."""
    if document.deleted:
        left = [verdict.short for _, verdict in steps if verdict.reason is not Reason.DONE]
        return "deleted; " + ("; ".join(left) or "all of it has been removed")
    if not steps:
        return _unstarted(document.status)
    parse = next((told for told in steps if told[0].kind == "parse"), None)
    builds = [told for told in steps if told[0].kind != "parse"]
    if parse is not None and parse[1].reason is not Reason.DONE:
        return parse[1].short
    failed = [verdict.short for _, verdict in builds if verdict.reason in {Reason.FAILED, Reason.CANCELLED}]
    left = [verdict.short for step, verdict in builds if step.open]
    return "; ".join([*failed, *left]) or _searchable([step for step, _ in steps])


def _unstarted(status: str) -> str:
    return {
        "UPLOADED": "waits for the confirmation of its upload",
        "EXPIRED": "its upload was not confirmed in time: upload it again",
    }.get(status, f"{status.lower()}, without any step")


def _searchable(steps: Sequence[StepFacts]) -> str:
    ended = max((step.settled_at for step in steps if step.settled_at), default=None)
    asked = min((step.requested for step in steps if step.requested), default=None)
    if ended is None:
        return "searchable"
    took = f", after {span(ended - asked)}" if asked and ended >= asked else ""
    return f"searchable since {span(steps[0].now - ended)}{took}"
