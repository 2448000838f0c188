"""Publishing to a stream: acknowledged, deduplicated, traced, and never inside a transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import APIError
from nats.js.errors import Error as JetStreamError
from opentelemetry.trace import SpanKind

from aperag_common import errors
from aperag_common.bus import subjects
from aperag_common.events.ticks import Tick
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.js.api import PubAck

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

SUBJECT_IS_FULL = 10077
"""JetStream's error code for a stream limit, here: a tick of this timer is still unconsumed."""


class Publisher:
    """The only place that publishes to a stream; failures become ``errors.UpstreamUnavailable``."""

    def __init__(self, bus: Bus, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics

    async def publish(
        self,
        stream: str,
        subject: str,
        body: bytes,
        *,
        message_id: str | None = None,
        span_name: str | None = None,
        attributes: Mapping[str, str | int] | None = None,
    ) -> PubAck:
        """``span_name`` replaces the subject where that holds an id; the caller's context becomes the header's."""
        kind = span_name or subject
        with propagate.tracer().start_as_current_span(
            f"publish {kind}",
            kind=SpanKind.PRODUCER,
            attributes={"messaging.system": "nats", "messaging.destination.name": kind, **(attributes or {})},
        ):
            headers = propagate.inject()
            if message_id is not None:
                headers["Nats-Msg-Id"] = message_id
            if not self._bus.connected:
                self._metrics.publishes.labels(kind, "unavailable").inc()
                message = "NATS is not connected"
                raise errors.UpstreamUnavailable(message)
            try:
                ack = await self._bus.js.publish(subject, body, stream=stream, headers=headers)
            except APIError as err:
                result = "full" if err.err_code == SUBJECT_IS_FULL else "refused"
                self._metrics.publishes.labels(kind, result).inc()
                raise errors.UpstreamUnavailable(str(err), code=result.upper()) from err
            except (NatsError, JetStreamError, TimeoutError) as err:
                self._metrics.publishes.labels(kind, "failed").inc()
                raise errors.UpstreamUnavailable(repr(err)) from err
        self._metrics.publishes.labels(kind, "ok").inc()
        return ack

    async def tick(self, timer: str) -> bool:
        """False when an earlier tick of this timer is still unconsumed: then this one is not needed."""
        try:
            body = Tick(timer=timer, time=datetime.now(UTC)).model_dump_json().encode()
            await self.publish(subjects.TICKS, subjects.tick(timer), body)
        except errors.UpstreamUnavailable as err:
            if err.error_code == "FULL":
                return False
            raise
        return True

    async def wake(self, service: str) -> None:
        """Best effort and unacknowledged: whoever is not there finds the work on its timer."""
        if not self._bus.connected:
            return
        try:
            await self._bus.nc.publish(subjects.wake(service))
        except NatsError as err:
            log.warning("wake.unpublished", service=service, error=repr(err))

    async def cancel_task(self, task_id: str) -> None:
        """Tell workers to stop at once. Best effort too: without it the fence stops them with their next beat."""
        if not self._bus.connected:
            return
        try:
            await self._bus.nc.publish(subjects.cancel_task(task_id), b"{}")
        except NatsError as err:
            log.warning("task.cancel_unpublished", task_id=task_id, error=repr(err))
