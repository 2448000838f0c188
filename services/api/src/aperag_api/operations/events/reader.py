"""One stream, read in order from a sequence on, through an ephemeral consumer of its own."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError

from aperag_api.kernel.streaming.fanout import Delivered
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from aperag_common.bus.connection import Bus

BATCH = 256
EXPIRES_SECONDS = 30
HEARTBEAT_SECONDS = 5
SILENCE_SECONDS = 2.5 * HEARTBEAT_SECONDS
FORGOTTEN_SECONDS = 60
"""The server removes a consumer that nobody has pulled from for this long, whatever became of its reader."""

_HEARTBEAT = "100"
_PULL_ENDED = frozenset(("404", "408"))
_NANOSECONDS = 1_000_000_000


class OrderedReader:
    """A gap, silence or the consumer's loss ends it with ``UpstreamUnavailable``; its user starts a new one."""

    def __init__(self, bus: Bus, stream: str, subject: str) -> None:
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._name = f"read-{secrets.token_hex(8)}"

    async def open(self, start: int) -> int:
        """Create the consumer; the number of matching messages from ``start`` on."""
        config = ConsumerConfig(
            name=self._name,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
            ack_policy=AckPolicy.NONE,
            filter_subject=self._subject,
            inactive_threshold=FORGOTTEN_SECONDS,
            mem_storage=True,
        )
        info = await self._bus.js.add_consumer(self._stream, config)
        return info.num_pending or 0

    async def read(self) -> AsyncGenerator[Delivered, None]:
        """Endless."""
        subscription = await self._bus.nc.subscribe(self._bus.nc.new_inbox())
        try:
            expected = 1
            await self._pull(subscription)
            left = BATCH
            while True:
                message = await subscription.next_msg(timeout=SILENCE_SECONDS)
                status = (message.headers or {}).get("Status")
                if status is not None:
                    left = await self._on_status(status, message, subscription, left)
                    continue
                metadata = message.metadata
                if metadata.sequence.consumer != expected:
                    raise _lost("a message was lost on the way")
                expected += 1
                yield Delivered(metadata.sequence.stream, message.subject, message.data, metadata.num_pending or 0)
                left -= 1
                if left == 0:
                    await self._pull(subscription)
                    left = BATCH
        except (NatsError, TimeoutError) as err:
            raise _lost(repr(err)) from err
        finally:
            with suppress(NatsError):
                await subscription.unsubscribe()

    async def close(self) -> None:
        """Best effort: a consumer that stays is removed by the server."""
        with suppress(NatsError, JetStreamError, TimeoutError):
            await self._bus.js.delete_consumer(self._stream, self._name)

    async def _on_status(self, status: str, message: Msg, subscription: Subscription, left: int) -> int:
        if status == _HEARTBEAT:
            return left
        if status not in _PULL_ENDED:
            raise _lost(f"{status} {(message.headers or {}).get('Description', '')}")
        await self._pull(subscription)
        return BATCH

    async def _pull(self, subscription: Subscription) -> None:
        request = {
            "batch": BATCH,
            "expires": EXPIRES_SECONDS * _NANOSECONDS,
            "idle_heartbeat": HEARTBEAT_SECONDS * _NANOSECONDS,
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        await self._bus.nc.publish(subject, json.dumps(request).encode(), reply=subscription.subject)


def _lost(reason: str) -> errors.UpstreamUnavailable:
    message = f"the reader of the stream was lost: {reason}"
    return errors.UpstreamUnavailable(message)
