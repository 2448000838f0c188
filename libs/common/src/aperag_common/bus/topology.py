"""Streams and consumers as data, and the one function that makes a server agree with them.

The reconciler applies this from a local timer; every other service binds to what is there and waits for it. Consumers
of commands follow from the job kinds. No stream is ever deleted here: a durable log must survive a mistake in this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from aperag_common import subjects
from aperag_common.bus.specs import MINUTE, SMALLEST_WINDOW, ConsumerSpec, StreamSpec
from aperag_common.events import facts
from aperag_common.jobs import declared as _declared  # noqa: F401  registers the kinds
from aperag_common.jobs import kind
from aperag_common.services import Service

if TYPE_CHECKING:
    from datetime import datetime

    from nats.js import JetStreamContext

log = structlog.get_logger(__name__)

DAY = 24 * 60 * MINUTE
MIB = 1024 * 1024
STREAM_NAME_IN_USE = 10058
TICK_ACK_WAIT = 6.0
"""A tick that a killed reconciler held stops its timer for so long: no later tick is taken in before."""
INGEST_PER_SUBJECT = 1000
"""Events of one collection that wait to be taken in: with the largest payload they fill half of the stream."""
UNCHANGEABLE = ("retention", "storage")
"""Of a stream; a difference in these needs a person."""


def _of_jobs(stream: str) -> tuple[ConsumerSpec, ...]:
    """One consumer for each that the kinds name, with all subjects that lead to it."""
    filters: dict[str, list[subjects.Subject]] = {}
    specs: dict[str, tuple[Service, float]] = {}
    for job_kind in kind.kinds():
        for work in job_kind.works:
            if subjects.stream_of(work.subject) == stream:
                filters.setdefault(work.consumer, []).append(work.subject)
                specs[work.consumer] = (job_kind.service, work.ack_wait)
    return tuple(
        ConsumerSpec(name, service, stream, tuple(filters[name]), ack_wait=ack_wait)
        for name, (service, ack_wait) in specs.items()
    )


_TICKS = ConsumerSpec(
    "reconciler-tick",
    Service.RECONCILER,
    subjects.TICKS,
    (subjects.ALL_TICKS,),
    max_deliver=-1,
    ack_wait=TICK_ACK_WAIT,
)

_INGEST = ConsumerSpec(
    "api-ingest",
    Service.API,
    subjects.INGEST,
    (subjects.ALL_INGEST,),
    max_deliver=-1,
    # Events of an owner who has too many wait with the server: there must be room for those of others.
    max_ack_pending=100_000,
)


_FANOUT = ConsumerSpec("webhooks-events", Service.WEBHOOKS, subjects.EVENTS, (subjects.ALL_EVENTS,), max_deliver=-1)
"""Where webhooks go out from: an event is delivered again until its deliveries are in the database."""


def advised() -> tuple[StreamSpec, ...]:
    """Streams whose messages must be settled: where the server gives one up, nobody else would learn of it."""
    return (
        StreamSpec(
            subjects.COMMANDS,
            "work to be done; the database says what, this stream carries it",
            (subjects.ALL_COMMANDS,),
            publishers=(Service.API, Service.INDEXER, Service.RECONCILER, Service.WEBHOOKS),
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_bytes=1024 * MIB,
            consumers=_of_jobs(subjects.COMMANDS),
        ),
        StreamSpec(
            subjects.TURNS,
            "chat turns, apart from commands: a backlog of documents never delays an answer",
            (subjects.RUN_TURN,),
            publishers=(Service.API, Service.RECONCILER),
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_bytes=256 * MIB,
            consumers=_of_jobs(subjects.TURNS),
        ),
        StreamSpec(
            subjects.TICKS,
            "timers; a tick is dropped while an earlier one of its timer is unconsumed",
            (subjects.ALL_TICKS,),
            publishers=(Service.API, Service.RECONCILER),
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_msgs_per_subject=1,
            consumers=(_TICKS,),
        ),
        _ingest(),
    )


def _ingest() -> StreamSpec:
    return StreamSpec(
        subjects.INGEST,
        "events of other services until they are taken into the database; a full stream refuses them",
        (subjects.ALL_INGEST,),
        publishers=(),  # other services, with an API key; none of ours
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        max_bytes=2048 * MIB,
        max_msgs_per_subject=INGEST_PER_SUBJECT,
        # Ids are the senders' own, and two of them may choose the same.
        duplicate_window=SMALLEST_WINDOW,
        consumers=(_INGEST,),
    )


def _logs() -> tuple[StreamSpec, ...]:
    return (
        StreamSpec(
            subjects.EVENTS,
            "facts for anyone who may read them, kept 7 days",
            (subjects.ALL_EVENTS,),
            publishers=tuple(service for service in Service if facts.made_by(service)),
            max_age=7 * DAY,
            max_bytes=4 * 1024 * MIB,
            consumers=(_FANOUT,),
        ),
        StreamSpec(
            subjects.SPANS,
            "spans for whoever runs no collector",
            (subjects.ALL_SPANS,),
            publishers=tuple(Service),
            storage=StorageType.MEMORY,
            max_age=DAY,
            max_bytes=64 * MIB,
        ),
    )


def _advisories() -> StreamSpec:
    accepts = tuple(subjects.advisories(it, spec.name) for spec in advised() for it in subjects.AdvisoryKind)
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


def streams() -> tuple[StreamSpec, ...]:
    """All of them, for the job kinds that are registered now."""
    return (*advised(), *_logs(), _advisories())


def stream(name: str) -> StreamSpec:
    return next(spec for spec in streams() if spec.name == name)


def consumer(name: str) -> ConsumerSpec:
    return next(spec for owner in streams() for spec in owner.consumers if spec.name == name)


@dataclass(frozen=True, slots=True)
class Applied:
    """``created`` maps a stream to its creation time, which changes only when the store was wiped.

    ``unchangeable`` says in words what of an existing stream differs and cannot be changed in place, ``refused`` which
    streams the server would neither create nor change.
    """

    created: dict[str, datetime]
    unchangeable: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


async def apply(js: JetStreamContext) -> Applied:
    """Make the server's streams and consumers agree with ``streams()``; safe to repeat and to run twice at once."""
    created: dict[str, datetime] = {}
    unchangeable: list[str] = []
    refused: list[str] = []
    for spec in streams():
        try:
            created[spec.name], differences = await _apply_stream(js, spec)
            unchangeable += differences
            for wanted in spec.consumers:
                await js.add_consumer(spec.name, wanted.config())
        except APIError as err:  # what the server will not do for one stream keeps no other from its own
            refused.append(f"{spec.name}: {err.description}")
    return Applied(created, tuple(unchangeable), tuple(refused))


async def retire_consumers(js: JetStreamContext) -> list[str]:
    """Remove consumers of work queues that this version does not know: the upgrade's step before ``apply``.

    The server refuses two consumers of a work queue whose filters overlap, so one that was renamed would block its
    successor. Nothing is lost: what it had not acknowledged goes to the consumer that takes its place.
    """
    retired: list[str] = []
    for spec in advised():
        known = {it.name for it in spec.consumers}
        try:
            found = await js.consumers_info(spec.name)
        except NotFoundError:
            continue
        for name in (it.name for it in found if it.name not in known):
            await js.delete_consumer(spec.name, name)
            log.warning("consumer.retired", stream=spec.name, consumer=name)
            retired.append(name)
    return retired


async def _apply_stream(js: JetStreamContext, spec: StreamSpec) -> tuple[datetime, list[str]]:
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
    wanted = spec.config()
    differences = _unchangeable(spec.name, info.config, wanted)
    for name in UNCHANGEABLE:
        setattr(wanted, name, getattr(info.config, name))  # else the server would refuse the rest as well
    if _differs(info.config, wanted):
        try:
            info = await js.update_stream(wanted)
            log.info("stream.updated", stream=spec.name)
        except APIError as err:
            if not differences:
                raise
            # A stream in memory need not bear what one on the disk does: it goes on as it is until a person decides.
            log.warning("stream.not_updated", stream=spec.name, error=err.description)
    if info.created is None:
        message = f"the server names no creation time for stream {spec.name}"
        raise RuntimeError(message)
    return info.created, differences


def _unchangeable(name: str, have: StreamConfig, want: StreamConfig) -> list[str]:
    return [
        f"{it} of stream {name} is {_word(getattr(have, it))} and should be {_word(getattr(want, it))}"
        for it in UNCHANGEABLE
        if getattr(have, it) != getattr(want, it)
    ]


def _word(value: str) -> str:
    """The server's answer holds plain words, our configuration members of enumerations."""
    return str(getattr(value, "value", value))


def _differs(have: StreamConfig, want: StreamConfig) -> bool:
    compared = (
        "subjects",
        "description",
        "discard",
        "max_bytes",
        "max_age",
        "max_msgs_per_subject",
        "duplicate_window",
        "allow_direct",
        "allow_atomic",
    )
    return any((getattr(have, name) or None) != (getattr(want, name) or None) for name in compared)
