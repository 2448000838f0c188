"""Every subject of the system is built and parsed here; nobody formats one by hand.

    aperag.cmd.<aggregate>.<verb>[.<type>]      work, on APERAG_COMMANDS
    aperag.turn.run                             chat turns, on APERAG_TURNS
    aperag.tick.<timer>                         timers, on APERAG_TICKS
    aperag.evt.<owner>.<aggregate>.<fact>       facts, on APERAG_EVENTS
    aperag.ingest.<owner>.<collection>          events of other services, on APERAG_INGEST
    aperag.span.<trace id>                      spans, on APERAG_SPANS
    aperag.live.…                               ephemeral, core NATS, in no stream
    $JS.EVENT.ADVISORY.CONSUMER.<kind>.<stream>.<consumer>
                                                what the server says of a message it gave up, on APERAG_ADVISORIES

Ids never stand in a command subject, so span names and metrics made from it stay few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

Subject = NewType("Subject", str)

ROOT = "aperag"

COMMANDS = "APERAG_COMMANDS"
TURNS = "APERAG_TURNS"
TICKS = "APERAG_TICKS"
EVENTS = "APERAG_EVENTS"
INGEST = "APERAG_INGEST"
SPANS = "APERAG_SPANS"
ADVISORIES = "APERAG_ADVISORIES"

ALL_COMMANDS = Subject(f"{ROOT}.cmd.>")
ALL_TICKS = Subject(f"{ROOT}.tick.>")
ALL_EVENTS = Subject(f"{ROOT}.evt.>")
ALL_INGEST = Subject(f"{ROOT}.ingest.>")
ALL_SPANS = Subject(f"{ROOT}.span.>")
ALL_TASK_CANCELS = Subject(f"{ROOT}.live.task.*.cancel")

PARSE_DOCUMENT = Subject(f"{ROOT}.cmd.document.parse")
REMOVE_DOCUMENT = Subject(f"{ROOT}.cmd.document.remove")
PURGE_COLLECTION = Subject(f"{ROOT}.cmd.collection.purge")
PURGE_USER = Subject(f"{ROOT}.cmd.user.purge")
SUMMARIZE_COLLECTION = Subject(f"{ROOT}.cmd.collection.summarize")
APPLY_INGEST = Subject(f"{ROOT}.cmd.ingest.apply")
DELIVER_WEBHOOK = Subject(f"{ROOT}.cmd.webhook.deliver")
RUN_TURN = Subject(f"{ROOT}.turn.run")

ALL_TURN_EVENTS = Subject(f"{ROOT}.live.turn.*.event")
ALL_TURN_CANCELS = Subject(f"{ROOT}.live.turn.*.cancel")
ALL_TURN_SNAPSHOTS = Subject(f"{ROOT}.live.turn.*.snapshot")


def stream_of(command: str) -> str:
    """The stream that carries the command of this subject."""
    return TURNS if command == RUN_TURN else COMMANDS


class AdvisoryKind(StrEnum):
    """Why the server will not deliver a message again; the words are the server's."""

    MAX_DELIVERIES = "MAX_DELIVERIES"
    MSG_TERMINATED = "MSG_TERMINATED"


_TOKEN = re.compile(r"[A-Za-z0-9_-]+\Z")


def _token(value: str) -> str:
    if not _TOKEN.match(value):
        message = f"not a subject token: {value!r}"
        raise ValueError(message)
    return value


def build_index(kind: str) -> Subject:
    return Subject(f"{ROOT}.cmd.index.build.{_token(kind)}")


def remove_index(kind: str) -> Subject:
    return Subject(f"{ROOT}.cmd.index.remove.{_token(kind)}")


def tick(timer: str) -> Subject:
    return Subject(f"{ROOT}.tick.{_token(timer)}")


@dataclass(frozen=True, slots=True)
class EventSubject:
    """The parts of ``aperag.evt.<owner>.<aggregate>.<fact>``."""

    owner: str
    aggregate: str
    fact: str

    @property
    def type(self) -> str:
        return f"{self.aggregate}.{self.fact}"


def event(owner: str, aggregate: str, fact: str) -> Subject:
    return Subject(f"{ROOT}.evt.{_token(owner)}.{_token(aggregate)}.{_token(fact)}")


def events_of_type(type_: str) -> Subject:
    """All events of one type, whoever's, as a filter and as a permission."""
    aggregate, fact = type_.split(".", 1)
    return Subject(f"{ROOT}.evt.*.{_token(aggregate)}.{_token(fact)}")


def owner_events_of_type(owner: str | None, type_: str) -> Subject:
    """Of one owner, or of everybody for None; ``type_`` may name a whole aggregate, as in ``document.*``."""
    aggregate, fact = type_.split(".", 1)
    named = ("*" if owner is None else _token(owner), _token(aggregate), "*" if fact == "*" else _token(fact))
    return Subject(f"{ROOT}.evt.{'.'.join(named)}")


def owner_events(owner: str) -> Subject:
    """All events of one owner, as a filter."""
    return Subject(f"{ROOT}.evt.{_token(owner)}.>")


def ingest(owner: str, collection: str) -> Subject:
    """Where another service publishes what belongs into a collection."""
    return Subject(f"{ROOT}.ingest.{_token(owner)}.{_token(collection)}")


def owner_ingest(owner: str) -> Subject:
    """All collections of one owner, as a permission."""
    return Subject(f"{ROOT}.ingest.{_token(owner)}.*")


def parse_event(subject: str) -> EventSubject:
    parts = subject.split(".")
    if len(parts) != 5 or parts[:2] != [ROOT, "evt"]:
        message = f"not an event: {subject!r}"
        raise ValueError(message)
    return EventSubject(*parts[2:])


def parse_ingest(subject: str) -> tuple[str, str]:
    """The owner and the collection; raises ValueError for what is no subject of ``ingest``."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != [ROOT, "ingest"]:
        message = f"not an ingest subject: {subject!r}"
        raise ValueError(message)
    return _token(parts[2]), _token(parts[3])


def span(trace_id: str) -> Subject:
    """``trace_id`` is 32 hexadecimal characters."""
    return Subject(f"{ROOT}.span.{_token(trace_id)}")


def cancel_task(task: str) -> Subject:
    return Subject(f"{ROOT}.live.task.{_token(task)}.cancel")


def parse_cancel_task(subject: str) -> str:
    parts = subject.split(".")
    if len(parts) != 5 or parts[:3] != [ROOT, "live", "task"] or parts[4] != "cancel":
        message = f"not a task cancel: {subject!r}"
        raise ValueError(message)
    return parts[3]


def turn_event(turn: str) -> Subject:
    """What happens in a turn, told by its agent to whoever listens."""
    return Subject(f"{ROOT}.live.turn.{_token(turn)}.event")


def cancel_turn(turn: str) -> Subject:
    return Subject(f"{ROOT}.live.turn.{_token(turn)}.cancel")


def turn_snapshot(turn: str) -> Subject:
    """Request and reply: what has happened in a turn so far, answered by its agent."""
    return Subject(f"{ROOT}.live.turn.{_token(turn)}.snapshot")


def parse_live_turn(subject: str) -> tuple[str, str]:
    """The turn and the last token; raises ValueError for what is no live subject of a turn."""
    parts = subject.split(".")
    if len(parts) != 5 or parts[:3] != [ROOT, "live", "turn"]:
        message = f"not a live subject of a turn: {subject!r}"
        raise ValueError(message)
    return parts[3], parts[4]


def wake(service: str) -> Subject:
    return Subject(f"{ROOT}.live.wake.{_token(service)}")


def advisories(kind: AdvisoryKind, stream: str) -> Subject:
    """Of all consumers of one stream; published by the server itself."""
    return Subject(f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.{_token(stream)}.*")
