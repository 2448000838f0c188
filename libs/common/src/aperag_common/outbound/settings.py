"""Where requests to addresses that users name may go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from aperag_common.outbound.addresses import network_of
from aperag_common.settings import Block

HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")

Port = Annotated[int, Field(ge=1, le=65535)]


class OutboundSettings(Block):
    """Public hosts on the ports of the web, unless said otherwise."""

    allow_private: bool = Field(False, description="let requests reach private, loopback and link-local addresses")
    allow: tuple[str, ...] = Field(
        (), description="hosts, addresses and networks (10.1.0.0/16) that may be reached all the same, on every port"
    )
    ports: tuple[Port, ...] = Field((80, 443, 8080, 8443), description="ports that may be asked for")
    max_redirects: NonNegativeInt = Field(5, description="redirects followed")
    max_connections: PositiveInt = Field(64, description="connections open at a time")
    ca_file: Path | None = Field(None, description="certificates trusted besides the public ones (PEM)")

    @field_validator("allow")
    @classmethod
    def _hosts_or_networks(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        named = tuple(entry.strip().lower().rstrip(".") for entry in allow)
        for entry in named:
            if network_of(entry) is None and not HOST_NAME.fullmatch(entry):
                message = f"{entry!r} is no host, address or network: write example.org, 10.1.2.3 or 10.1.0.0/16"
                raise ValueError(message)
        return named
