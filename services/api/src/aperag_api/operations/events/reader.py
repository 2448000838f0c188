"""One stream, read in order from a sequence on, through an ephemeral consumer of its own."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError

from aperag_api.kernel.streaming.fanout import Delivered
from aperag_common import errors
from aperag_common.bus.pull import Pull

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from aperag_common.bus.connection import Bus

BATCH = 256
SILENCE_SECONDS = 12.5
"""Without an answer of the server: it is busy, or this reader is lost."""
FORGOTTEN_SECONDS = 60
"""The server removes a consumer that nobody has pulled from for this long, whatever became of its reader."""


class OrderedReader:
    """A gap, silence or the consumer's loss ends it with ``UpstreamUnavailable``; its user starts a new one."""

    def __init__(self, bus: Bus, stream: str, subject: str) -> None:
        self._bus = bus
        self._stream = stream
        self._name = f"read-{secrets.token_hex(8)}"
        self._ephemeral = ConsumerConfig(
            name=self._name,
            ack_policy=AckPolicy.NONE,
            filter_subject=subject,
            inactive_threshold=FORGOTTEN_SECONDS,
            mem_storage=True,
        )

    async def open(self, start: int) -> int:
        """Create the consumer; the number of matching messages from ``start`` on."""
        config = self._ephemeral.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start)
        info = await self._bus.js.add_consumer(self._stream, config)
        return info.num_pending or 0

    async def locate(self, moment: datetime) -> int:
        """The sequence that what has matched since ``moment`` follows, as the server finds it."""
        config = self._ephemeral.evolve(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=moment.isoformat())
        try:
            info = await self._bus.js.add_consumer(self._stream, config)
        except (NatsError, JetStreamError, TimeoutError) as err:
            raise errors.UpstreamUnavailable("The event stream did not answer") from err
        await self.close()
        return info.delivered.stream_seq if info.delivered else 0

    async def read(self) -> AsyncGenerator[Delivered, None]:
        """Endless."""
        pull = await Pull.open(self._bus, self._stream, self._name)
        expected, heard = 1, time.monotonic()
        try:
            while True:
                try:
                    messages = await pull.next(BATCH)
                    heard = time.monotonic()
                except TimeoutError:
                    if not self._bus.connected or time.monotonic() - heard > SILENCE_SECONDS:
                        raise
                    continue
                for message in messages:
                    metadata = message.metadata
                    if metadata.sequence.consumer != expected:
                        raise _lost("a message was lost on the way")
                    expected += 1
                    yield Delivered(metadata.sequence.stream, message.subject, message.data, metadata.num_pending or 0)
        except (NatsError, JetStreamError, TimeoutError) as err:
            raise _lost(repr(err)) from err
        finally:
            with suppress(NatsError):
                await pull.close()

    async def close(self) -> None:
        """Best effort: a consumer that stays is removed by the server."""
        with suppress(NatsError, JetStreamError, TimeoutError):
            await self._bus.js.delete_consumer(self._stream, self._name)


def _lost(reason: str) -> errors.UpstreamUnavailable:
    return errors.UpstreamUnavailable(f"the reader of the stream was lost: {reason}")
