"""What the NATS server says of a message that it will not deliver again; its words and fields, not ours."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from aperag_common.subjects import AdvisoryKind

MESSAGE_REMOVED = "Unacknowledged message was deleted"
"""The server's reason where a consumer still waited for the ack of a message that its stream no longer holds."""

_MAX_DELIVER = "io.nats.jetstream.advisory.v1.max_deliver"


class Advisory(BaseModel):
    """``stream_seq`` is the message's place in ``stream``; ``reason`` is that of a consumer who ended it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["io.nats.jetstream.advisory.v1.max_deliver", "io.nats.jetstream.advisory.v1.terminated"]
    id: str
    timestamp: datetime
    stream: str
    consumer: str
    stream_seq: int
    deliveries: int
    reason: str = ""

    @property
    def kind(self) -> AdvisoryKind:
        return AdvisoryKind.MAX_DELIVERIES if self.type == _MAX_DELIVER else AdvisoryKind.MSG_TERMINATED

    @property
    def acked_before_a_crash(self) -> bool:
        """Told after a restart: the ack had removed the message, and the server died before the consumer noted it."""
        return self.kind is AdvisoryKind.MSG_TERMINATED and self.reason == MESSAGE_REMOVED
