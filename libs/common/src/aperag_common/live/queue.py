"""The queue of messages between an agent and everyone who follows its turn, in any process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping


class Message(TypedDict):
    """``type`` is a ``TurnEventKind``, which says what ``data`` holds. A reader's messages also have an ``id``, after
    which another reader may resume, and a ``timestamp`` in seconds since 1970; ``stop`` repeats the turn's ``references``.
    """

    type: str
    data: Mapping[str, Any]
    id: NotRequired[str]
    timestamp: NotRequired[float]


class AgentMessageQueue(ABC):
    """One end of the queue of one turn. A terminal message, ``stop`` or ``error``, ends it.

    The agent holds the end that writes (``TurnPublisher``), each reader of a gateway an end of its own that reads
    (``TurnSubscriber``). Nothing that a reader does reaches the agent or another reader.
    """

    async def put(self, message: Message) -> None:  # noqa: ARG002  one of the two ends takes it
        """Never waits for a reader. Raises ValueError once the queue is closed, and at the end that reads."""
        raise ValueError("only the agent's end of this queue takes messages")

    async def get(self) -> Message | None:
        """The next message; None after the terminal one, and ever after. Raises ValueError at the end that writes."""
        raise ValueError("the agent's end of this queue gives no messages")

    @abstractmethod
    async def close(self) -> None:
        """Nothing more is put, or got, at this end; messages that were put still arrive."""

    @abstractmethod
    def is_closed(self) -> bool:
        """Whether ``put`` would raise, or ``get`` has answered None."""

    def qsize(self) -> int:
        """How many messages ``get`` answers without waiting."""
        return 0
