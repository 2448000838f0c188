"""Publishing to streams: acknowledged, deduplicated, traced, and never inside a transaction.

A backlog goes out as one atomic batch, which costs the server one fsync; a few messages go concurrently.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from nats.errors import Error as NatsError
from opentelemetry.trace import SpanKind, StatusCode

from aperag_common import errors, subjects
from aperag_common.events.ticks import Tick
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.declared import Declared
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

SUBJECT_IS_FULL = 10077
"""JetStream's error code for a stream limit, here: a tick of this timer is still unconsumed."""
ATOMIC_FROM = 16
"""Messages from which on one atomic batch is cheaper than as many publishes (measured: ``bench dispatch``)."""
ATOMIC_UP_TO = 256
"""Of one batch; the server takes a thousand at most."""
LINKED = 4
"""Messages of a batch that its span names; each is found from its own trace as well."""
ANSWER_SECONDS = 5.0
"""For a PubAck: the server fsyncs before it answers."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message. ``name`` stands for the subject in spans and metrics where that holds an id.

    ``traceparent`` is the context that it belongs to; None: the caller's.
    """

    subject: str
    body: bytes
    message_id: str | None = None
    traceparent: str | None = None
    name: str = ""
    attributes: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.name or self.subject


@dataclass(frozen=True, slots=True)
class Published:
    """The server has it; ``duplicate``: it had it before, under the same id."""

    duplicate: bool = False


class Publisher:
    """The only place that publishes to a stream. A failure is answered as ``errors.UpstreamUnavailable``, in its place."""

    def __init__(self, bus: Bus, metrics: Metrics, declared: Declared) -> None:
        self._bus = bus
        self._metrics = metrics
        self._declared = declared
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._inbox = ""
        self._asked = 0

    async def publish(self, stream: str, messages: Sequence[Outgoing]) -> list[Published | errors.UpstreamUnavailable]:
        """In the order of ``messages``; raises ``Undeclared`` for what no catalogue lists."""
        for message in messages:
            self._declared.require(message.subject)
        if not self._bus.connected:
            return [
                self._failed(it, "unavailable", errors.UpstreamUnavailable("NATS is not connected")) for it in messages
            ]
        await self._listen()
        answers: list[Published | errors.UpstreamUnavailable] = []
        for at in range(0, len(messages), ATOMIC_UP_TO):
            part = messages[at : at + ATOMIC_UP_TO]
            if len(part) < ATOMIC_FROM or not await self._publish_batch(stream, part):
                answers += await asyncio.gather(*(self._publish_one(stream, it) for it in part))
            else:
                answers += [Published()] * len(part)
        return answers

    async def tick(self, timer: str) -> bool:
        """False when an earlier tick of this timer is still unconsumed: then this one is not needed."""
        body = Tick(timer=timer, time=datetime.now(UTC)).model_dump_json().encode()
        [answer] = await self.publish(subjects.TICKS, [Outgoing(subjects.tick(timer), body)])
        if isinstance(answer, errors.UpstreamUnavailable):
            if answer.error_code == "FULL":
                return False
            raise answer
        return True

    async def wake(self, service: str) -> None:
        """Best effort and unacknowledged: whoever is not there finds the work on its timer."""
        await self._send_live(subjects.wake(service))

    async def cancel_task(self, task_id: str) -> None:
        """Tell workers to stop at once. Best effort too: without it the fence stops them with their next renewal."""
        await self._send_live(subjects.cancel_task(task_id))

    async def _send_live(self, subject: str) -> None:
        if not self._bus.connected:
            return
        try:
            await self._bus.nc.publish(subject, b"{}")
        except NatsError as err:
            log.warning("live.unsent", subject=subject, error=repr(err))

    async def _publish_one(self, stream: str, message: Outgoing) -> Published | errors.UpstreamUnavailable:
        span = propagate.tracer().start_span(
            f"publish {message.kind}",
            context=propagate.context_of(message.traceparent),
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.system": "nats",
                "messaging.destination.name": message.kind,
                **message.attributes,
            },
        )
        headers = _headers(stream, message, propagate.traceparent_of(span) or message.traceparent)
        try:
            answer = await self._ask(message.subject, message.body, headers)
        except (NatsError, TimeoutError, OSError) as err:
            span.set_status(StatusCode.ERROR, repr(err))
            return self._failed(message, "failed", errors.UpstreamUnavailable(repr(err)))
        finally:
            span.end()
        if (refused := _refusal(answer)) is not None:
            result = "full" if refused.get("err_code") == SUBJECT_IS_FULL else "refused"
            unavailable = errors.UpstreamUnavailable(str(refused.get("description")), code=result.upper())
            return self._failed(message, result, unavailable)
        self._metrics.publishes.labels(message.kind, "ok").inc()
        return Published(duplicate=b'"duplicate": true' in answer.data or b'"duplicate":true' in answer.data)

    async def _publish_batch(self, stream: str, messages: Sequence[Outgoing]) -> bool:
        """All of them or none; False where the server refuses it, for one id that it knows refuses the whole."""
        batch = secrets.token_hex(8)
        with propagate.tracer().start_as_current_span(
            f"publish batch {stream}",
            context=propagate.no_context(),
            kind=SpanKind.PRODUCER,
            links=[link for it in messages[:LINKED] if (link := propagate.link_from(it.traceparent)) is not None],
            attributes={
                "messaging.system": "nats",
                "messaging.destination.name": stream,
                "messaging.batch.message_count": len(messages),
            },
        ) as span:
            try:
                answer = await self._send_batch(stream, messages, batch)
            except (NatsError, TimeoutError, OSError) as err:
                # It may be committed all the same: the ids keep the single publishes that follow from doubling it.
                span.set_status(StatusCode.ERROR, repr(err))
                return False
        if (refused := _refusal(answer)) is not None:
            log.info("batch.refused", stream=stream, messages=len(messages), error=refused.get("description"))
            return False
        for message in messages:
            self._metrics.publishes.labels(message.kind, "ok").inc()
        return True

    async def _send_batch(self, stream: str, messages: Sequence[Outgoing], batch: str) -> Msg:
        last = len(messages)
        for number, message in enumerate(messages, start=1):
            # One stream takes them all: the first one says which is meant.
            headers = _headers(stream if number == 1 else None, message, message.traceparent)
            headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == last:
                return await self._ask(message.subject, message.body, {**headers, "Nats-Batch-Commit": "1"})
            await self._bus.nc.publish(message.subject, message.body, headers=headers)
        raise AssertionError(batch)  # a batch is never empty

    async def _listen(self) -> None:
        """One subscription for the answers to all publishes of this process."""
        if self._inbox:
            return
        inbox = self._bus.nc.new_inbox()
        await self._bus.nc.subscribe(f"{inbox}.*", cb=self._on_answer)
        self._inbox = inbox

    async def _on_answer(self, message: Msg) -> None:
        waiting = self._answers.pop(message.subject, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def _ask(self, subject: str, body: bytes, headers: dict[str, str]) -> Msg:
        self._asked += 1
        reply = f"{self._inbox}.{self._asked}"
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._answers[reply] = answer
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._bus.nc.publish(subject, body, reply=reply, headers=headers)
                return await answer
        finally:
            self._answers.pop(reply, None)

    def _failed(self, message: Outgoing, result: str, err: errors.UpstreamUnavailable) -> errors.UpstreamUnavailable:
        self._metrics.publishes.labels(message.kind, result).inc()
        return err


def _headers(stream: str | None, message: Outgoing, traceparent: str | None) -> dict[str, str]:
    headers = {} if stream is None else {"Nats-Expected-Stream": stream}
    if message.message_id is not None:
        headers["Nats-Msg-Id"] = message.message_id
    if traceparent is not None:
        headers[propagate.TRACEPARENT] = traceparent
    return headers


def _refusal(answer: Msg) -> dict[str, Any] | None:
    """What the server says is wrong; None where it has stored the message."""
    if (answer.headers or {}).get("Status") == "503":
        return {"description": "no stream takes this subject"}
    with contextlib.suppress(ValueError):
        said = json.loads(answer.data)
        if isinstance(said, dict):
            refused = said.get("error")
            return refused if isinstance(refused, dict) else None
    return {"description": "the server's answer is not to be understood"}
