"""The queue of agent messages with its well-known interface, over the live events of a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_common.live.events import TERMINAL, TurnEventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_common.live.events import Cursor, TurnEvent
    from aperag_common.live.publisher import TurnPublisher
    from aperag_common.live.relay import TurnRelay


class AgentMessageQueue:
    """One end of it: a writer's, who holds the turn, or a reader's, in any process. Messages are ``{type, data}``.

    ``get`` answers None once the turn has ended, and ever after; ``put`` into a closed queue raises ValueError.
    """

    def __init__(
        self,
        *,
        publisher: TurnPublisher | None = None,
        relay: TurnRelay | None = None,
        after: Cursor | None = None,
    ) -> None:
        self._publisher = publisher
        self._relay = relay
        self._events: AsyncIterator[TurnEvent] | None = None if relay is None else relay.follow(after)
        self._seq = -1 if after is None else after.seq
        self._closed = False

    async def put(self, message: dict[str, Any]) -> None:
        if self._publisher is None or self._closed:
            reason = "this queue is closed" if self._closed else "this is the end that reads"
            raise ValueError(reason)
        kind = TurnEventKind(message["type"])
        await self._publisher.put(kind, message.get("data") or {})
        self._closed = kind in TERMINAL

    async def get(self) -> dict[str, Any] | None:
        if self._events is None or self._closed:
            return None
        event = await anext(self._events, None)
        if event is None:
            self._closed = True
            return None
        self._seq = event.seq
        return {"type": event.kind.value, "data": dict(event.data), "timestamp": event.at}

    async def close(self) -> None:
        """Nothing more is put or got at this end; the turn goes on."""
        self._closed = True

    def is_closed(self) -> bool:
        return self._closed

    def qsize(self) -> int:
        """Messages that ``get`` would answer without waiting."""
        return 0 if self._relay is None or self._closed else len(self._relay.log.after(self._seq))
