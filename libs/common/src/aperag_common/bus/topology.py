"""Streams and consumers as data, and the one function that makes a server agree with them.

The reconciler applies this from a local timer; every other service binds to what is there and waits for it.
Nothing is ever deleted here: a durable log must survive a mistake in this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from aperag_common.bus import subjects
from aperag_common.db.models.document_step import StepKind

if TYPE_CHECKING:
    from datetime import datetime

    from nats.js import JetStreamContext

log = structlog.get_logger(__name__)

MINUTE = 60.0
DAY = 24 * 60 * MINUTE
MIB = 1024 * 1024
STREAM_NAME_IN_USE = 10058
ACK_WAIT = 30.0
TICK_ACK_WAIT = 6.0
"""A tick that a killed reconciler held stops its timer for so long: no later tick is taken in before."""
BEATS_PER_ACK_WAIT = 3
TURN_ACK_WAIT = 12.0
"""Somebody waits for the answer: a turn whose agent died comes back soon after its lease has ended."""
MAX_ACK_PENDING = 10_000
MAX_DELIVER = 100
"""Far above the retry budget of a driven row: the database decides when work is given up, not the server."""


class Service(StrEnum):
    """Services with a NATS identity."""

    AGENT = "agent"
    API = "api"
    INDEXER = "indexer"
    RECONCILER = "reconciler"


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable pull consumer; ``service`` is the only one that may fetch from it."""

    name: str
    service: Service
    stream: str
    filters: tuple[subjects.Subject, ...]
    max_deliver: int = MAX_DELIVER
    ack_wait: float = ACK_WAIT

    @property
    def beat(self) -> float:
        """How often, at most, whoever works on a message tells the server so."""
        return self.ack_wait / BEATS_PER_ACK_WAIT

    def config(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self.name,
            description=f"{self.service} works on {', '.join(self.filters)}",
            filter_subjects=list(self.filters),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            max_deliver=self.max_deliver,
            max_ack_pending=MAX_ACK_PENDING,
        )


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream: what it accepts and from whom (nobody: the server itself), its configuration, its consumers."""

    name: str
    description: str
    accepts: tuple[subjects.Subject, ...]
    publishers: tuple[Service, ...]
    retention: RetentionPolicy = RetentionPolicy.LIMITS
    storage: StorageType = StorageType.FILE
    discard: DiscardPolicy = DiscardPolicy.OLD
    max_bytes: int = -1
    max_age: float = 0
    max_msgs_per_subject: int = -1
    consumers: tuple[ConsumerSpec, ...] = field(default=())

    def config(self) -> StreamConfig:
        per_subject = self.max_msgs_per_subject > 0 and self.discard is DiscardPolicy.NEW
        return StreamConfig(
            name=self.name,
            description=self.description,
            subjects=list(self.accepts),
            retention=self.retention,
            storage=self.storage,
            discard=self.discard,
            discard_new_per_subject=per_subject,
            max_bytes=self.max_bytes,
            max_age=self.max_age,
            max_msgs_per_subject=self.max_msgs_per_subject,
            duplicate_window=2 * MINUTE,
            allow_direct=True,
        )


BUILT_KINDS: tuple[StepKind, ...] = (StepKind.VECTOR, StepKind.FULLTEXT)
"""Index kinds that have a worker; a command is only ever published for these."""


def _index_consumers() -> tuple[ConsumerSpec, ...]:
    return tuple(
        ConsumerSpec(f"indexer-{kind}", Service.INDEXER, subjects.COMMANDS, (subjects.build_index(kind),))
        for kind in BUILT_KINDS
    )


_CARRYING: tuple[StreamSpec, ...] = (
    StreamSpec(
        subjects.COMMANDS,
        "work to be done; the database says what, this stream carries it",
        (subjects.ALL_COMMANDS,),
        publishers=(Service.API, Service.INDEXER, Service.RECONCILER),
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        max_bytes=1024 * MIB,
        consumers=(
            ConsumerSpec("indexer-parse", Service.INDEXER, subjects.COMMANDS, (subjects.PARSE_DOCUMENT,)),
            *_index_consumers(),
            ConsumerSpec(
                "indexer-remove",
                Service.INDEXER,
                subjects.COMMANDS,
                (subjects.REMOVE_DOCUMENT, *(subjects.remove_index(kind) for kind in BUILT_KINDS)),
            ),
            ConsumerSpec("indexer-summarize", Service.INDEXER, subjects.COMMANDS, (subjects.SUMMARIZE_COLLECTION,)),
            ConsumerSpec("reconciler-purge", Service.RECONCILER, subjects.COMMANDS, (subjects.PURGE_COLLECTION,)),
            ConsumerSpec("reconciler-user-purge", Service.RECONCILER, subjects.COMMANDS, (subjects.PURGE_USER,)),
        ),
    ),
    StreamSpec(
        subjects.TURNS,
        "chat turns, apart from commands: documents that wait delay no answer",
        (subjects.RUN_TURN,),
        publishers=(Service.API, Service.RECONCILER),
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        max_bytes=256 * MIB,
        consumers=(
            ConsumerSpec("agent-turn", Service.AGENT, subjects.TURNS, (subjects.RUN_TURN,), ack_wait=TURN_ACK_WAIT),
        ),
    ),
    StreamSpec(
        subjects.TICKS,
        "timers; a tick is dropped while an earlier one of its timer is unconsumed",
        (subjects.ALL_TICKS,),
        publishers=(Service.API, Service.RECONCILER),
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        max_msgs_per_subject=1,
        consumers=(
            ConsumerSpec(
                "reconciler-tick",
                Service.RECONCILER,
                subjects.TICKS,
                (subjects.ALL_TICKS,),
                max_deliver=-1,
                ack_wait=TICK_ACK_WAIT,
            ),
        ),
    ),
    StreamSpec(
        subjects.EVENTS,
        "facts for anyone who may read them, kept 7 days",
        (subjects.ALL_EVENTS,),
        publishers=(Service.AGENT, Service.API, Service.INDEXER, Service.RECONCILER),
        max_age=7 * DAY,
        max_bytes=4 * 1024 * MIB,
    ),
    StreamSpec(
        subjects.SPANS,
        "spans for whoever runs no collector",
        (subjects.ALL_SPANS,),
        publishers=(Service.AGENT, Service.API, Service.INDEXER, Service.RECONCILER),
        storage=StorageType.MEMORY,
        max_age=DAY,
        max_bytes=64 * MIB,
    ),
)

ADVISED: tuple[StreamSpec, ...] = tuple(s for s in _CARRYING if s.retention is RetentionPolicy.WORK_QUEUE)
"""Streams whose messages must be settled: where the server gives one up, nobody else would learn of it."""


def _advisories() -> StreamSpec:
    accepts = tuple(subjects.advisories(kind, it.name) for it in ADVISED for kind in subjects.AdvisoryKind)
    return StreamSpec(
        subjects.ADVISORIES,
        "messages of work queues that the server gave up; each means a defect",
        accepts,
        publishers=(),
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        max_bytes=64 * MIB,
        consumers=(
            ConsumerSpec("reconciler-advisory", Service.RECONCILER, subjects.ADVISORIES, accepts, max_deliver=-1),
        ),
    )


STREAMS: tuple[StreamSpec, ...] = (*_CARRYING, _advisories())


def stream(name: str) -> StreamSpec:
    return next(spec for spec in STREAMS if spec.name == name)


def consumer(name: str) -> ConsumerSpec:
    return next(spec for owner in STREAMS for spec in owner.consumers if spec.name == name)


async def apply(js: JetStreamContext) -> dict[str, datetime]:
    """Make the server's streams and consumers agree with ``STREAMS``; safe to repeat and to run twice at once.

    Returns each stream's creation time, which changes only when the store was wiped.
    """
    created: dict[str, datetime] = {}
    for spec in STREAMS:
        created[spec.name] = await _apply_stream(js, spec)
        for wanted in spec.consumers:
            await js.add_consumer(spec.name, wanted.config())
    return created


async def _apply_stream(js: JetStreamContext, spec: StreamSpec) -> datetime:
    try:
        info = await js.stream_info(spec.name)
    except NotFoundError:
        try:
            info = await js.add_stream(spec.config())
            log.info("stream.created", stream=spec.name)
        except BadRequestError as err:
            if err.err_code != STREAM_NAME_IN_USE:
                raise
            info = await js.stream_info(spec.name)  # another reconciler was first
    if _differs(info.config, spec.config()):
        info = await js.update_stream(spec.config())
        log.info("stream.updated", stream=spec.name)
    if info.created is None:
        message = f"the server names no creation time for stream {spec.name}"
        raise RuntimeError(message)
    return info.created


def _differs(have: StreamConfig, want: StreamConfig) -> bool:
    compared = ("subjects", "description", "discard", "max_bytes", "max_age", "max_msgs_per_subject", "allow_direct")
    return any(getattr(have, name) != getattr(want, name) for name in compared)
