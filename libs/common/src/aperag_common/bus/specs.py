"""A stream and a consumer as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from aperag_common.jobs.kind import ACK_WAIT

if TYPE_CHECKING:
    from aperag_common import subjects
    from aperag_common.services import Service

MINUTE = 60.0
BEATS_PER_ACK_WAIT = 3
SMALLEST_WINDOW = 0.1
"""Seconds; the server takes no shorter duplicate window, and none takes its default of two minutes."""
MAX_ACK_PENDING = 10_000
MAX_DELIVER = 100
"""Far above the retry budget of a job: the database decides when work is given up, not the server."""


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable pull consumer; ``service`` is the only one that may fetch from it."""

    name: str
    service: Service
    stream: str
    filters: tuple[subjects.Subject, ...]
    max_deliver: int = MAX_DELIVER
    ack_wait: float = ACK_WAIT
    max_ack_pending: int = MAX_ACK_PENDING

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
            max_ack_pending=self.max_ack_pending,
        )


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream: what it accepts and from which services (none: the server itself), its configuration, its consumers.

    Within ``duplicate_window`` seconds a message id counts once, whoever sent it.
    """

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
    duplicate_window: float = 2 * MINUTE
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
            duplicate_window=self.duplicate_window,
            allow_direct=True,
            allow_atomic=True,
        )
