"""How much other services may ask for at a time."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt

from aperag_common.settings import Block

KIB, MIB = 1024, 1024 * 1024


class IngestSettings(Block):
    max_content: PositiveInt = Field(512 * KIB, description="largest content inside an event, in bytes")
    max_reference: PositiveInt = Field(32 * MIB, description="largest document that an event refers to, in bytes")
    reference_timeout: timedelta = Field(timedelta(seconds=60), description="for a document that is fetched")
    fetches: PositiveInt = Field(4, description="documents fetched at a time")
    max_pending: PositiveInt = Field(
        10_000, description="events of one user that wait; beyond them HTTP answers 429, and NATS keeps what comes"
    )
    max_batch: PositiveInt = Field(1000, description="events of one HTTP request")
    receive: PositiveInt = Field(256, description="events taken from NATS at a time")
    apply: PositiveInt = Field(16, description="events carried out at a time")
