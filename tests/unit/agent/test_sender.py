"""Many live messages in one write: in order, none waited for, and the last ones too."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.errors import OutboundBufferLimitError

from aperag_agent.live.sender import Sender


class Client:
    """Notes what is published, and in which turn of the event loop."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.writes = 0
        self.full = False
        self.breaks = False
        self._open = False

    async def publish(self, subject: str, payload: bytes) -> None:
        if self.breaks:
            raise ZeroDivisionError
        if self.full:
            raise OutboundBufferLimitError
        if not self._open:
            self._open, self.writes = True, self.writes + 1
            asyncio.get_running_loop().call_soon(self._written)
        self.sent.append((subject, payload))

    def _written(self) -> None:
        self._open = False


def sender(client: Any, together: float) -> Sender:
    return Sender(client, together=together)


async def test_the_first_message_waits_for_nothing_and_the_next_ones_go_as_one() -> None:
    client = Client()
    sending = sender(client, 0.05)
    sending.send("a", b"1")
    await asyncio.sleep(0)
    assert client.sent == [("a", b"1")]
    for number in range(2, 50):
        sending.send("a", str(number).encode())
    await asyncio.sleep(0)
    assert len(client.sent) == 1
    await sending.close()
    assert [payload for _, payload in client.sent] == [str(number).encode() for number in range(1, 50)]
    assert client.writes == 2


@pytest.mark.parametrize("together", [0.0, 0.005])
async def test_messages_keep_their_order_and_close_leaves_none_behind(together: float) -> None:
    client = Client()
    sending = sender(client, together)
    for number in range(500):
        sending.send(f"s{number % 3}", str(number).encode())
        if number % 7 == 0:
            await asyncio.sleep(0)
    await sending.close()
    assert [int(payload) for _, payload in client.sent] == list(range(500))
    assert client.writes < 100 or together == 0.0


async def test_what_the_client_cannot_take_is_lost_and_the_next_message_goes() -> None:
    client = Client()
    sending = sender(client, 0.0)
    client.full = True
    sending.send("a", b"lost")
    await sending.close()
    client.full = False
    sending.send("a", b"told")
    await sending.close()
    assert client.sent == [("a", b"told")]


async def test_an_error_that_nobody_foresaw_ends_neither_the_sending_nor_the_close() -> None:
    client = Client()
    sending = sender(client, 0.0)
    client.breaks = True
    sending.send("a", b"lost")
    broken = sending._sending
    assert broken is not None
    await asyncio.wait_for(sending.close(), 10)
    assert isinstance(broken.exception(), ZeroDivisionError)
    client.breaks = False
    sending.send("a", b"told")
    await asyncio.wait_for(sending.close(), 10)
    assert client.sent == [("a", b"told")]
