"""What a committed transaction leaves to be sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aperag_work.outbox import OutboxEvent
from aperag_work.rows import Dispatch


@dataclass(frozen=True, slots=True)
class Change:
    """Hand it to ``Dispatcher.deliver`` after the commit. Losing it costs time, never work."""

    commands: tuple[Dispatch, ...] = ()
    events: tuple[OutboxEvent, ...] = ()
    document_id: str = ""
    workflow_id: str = ""
    settled: bool = False
    """True when a slot of the owner has become free, so that the reconciler may release the next document."""
    ended_after: tuple[float, ...] = ()
    """Seconds from the request to the end of each workflow that this transaction ended well."""

    def joined(self, extra: Change) -> Change:
        """With the commands and events of ``extra``."""
        return replace(self, commands=(*self.commands, *extra.commands), events=(*self.events, *extra.events))
