"""How many calls of strangers are on record: one address must not fill the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from aperag_common.http.front import place

if TYPE_CHECKING:
    from aperag_api.identity.audit.call import Call

log = structlog.get_logger(__name__)

MOST = 60
"""Of one address, or one network of IPv6, in each span; the first beyond is logged."""
SPAN_SECONDS = 60.0
ADDRESSES = 10_000
"""Beyond so many in one span nobody is told from another any more."""


class Strangers:
    """Counted in this process."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._calls: dict[str, int] = {}

    def admit(self, call: Call) -> bool:
        """Whether the call goes on record: every call of somebody known does."""
        if not call.by_stranger:
            return True
        if time.monotonic() - self._begun >= SPAN_SECONDS:
            self._begun, self._calls = time.monotonic(), {}
        address = place(call.address) if len(self._calls) < ADDRESSES else ""
        calls = self._calls[address] = self._calls.get(address, 0) + 1
        if calls == MOST + 1:
            log.warning("audit.stranger_unrecorded", address=address)
        return calls <= MOST
