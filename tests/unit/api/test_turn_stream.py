"""How a turn's queue becomes pieces of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.conversation.turns.stream import RETRY, batches, frames
from aperag_common.live.queue import AgentMessageQueue, Message

if TYPE_CHECKING:
    from collections.abc import Sequence


class Given(AgentMessageQueue):
    """``bursts`` come one after the other; None is a silence that outlasts the patience."""

    def __init__(self, *bursts: Sequence[str] | None) -> None:
        self._bursts = [None if burst is None else list(burst) for burst in bursts]

    async def get(self) -> Message | None:
        while self._bursts and self._bursts[0] == []:
            self._bursts.pop(0)
        if not self._bursts:
            return None
        burst = self._bursts[0]
        if burst is None:
            self._bursts.pop(0)
            raise TimeoutError
        return {"id": "1-1", "type": "message", "data": {"text": burst.pop(0)}, "timestamp": 1.0}

    async def close(self) -> None:
        self._bursts.clear()

    def is_closed(self) -> bool:
        return not self._bursts

    def qsize(self) -> int:
        return len(self._bursts[0] or ()) if self._bursts else 0


async def test_what_has_come_is_one_batch_and_a_silence_an_empty_one() -> None:
    batched = batches(Given("abc", None, None, "d"))
    told = ["".join(it["data"]["text"] for it in messages) async for messages in batched]
    assert told == ["abc", "", "", "d"]


async def test_a_batch_is_one_piece_of_the_stream() -> None:
    pieces = [piece async for piece in frames(batches(Given("ab", None, "c")), "m")]
    assert [piece.count(b"data: ") for piece in pieces] == [0, 2, 0, 1]
    assert (pieces[0], pieces[2][:1]) == (RETRY, b":")
