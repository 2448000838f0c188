"""The WebSocket of a chat (contract 1.9)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import APIRouter, Query, WebSocket
from sqlalchemy.exc import SQLAlchemyError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from aperag_api.conversation.services import Services
from aperag_api.conversation.sockets.session import ChatSession, HungUp
from aperag_api.kernel.auth import find_caller, keep_within, may_write
from aperag_api.kernel.http.rates import Kind, Rates
from aperag_api.kernel.validation import ignoring
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.streaming.places import Place, StreamPlaces

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1", tags=["chats"])

NORMAL, UNSAID, POLICY_VIOLATION = 1000, 1005, 1008


@router.websocket("/bots/{bot_id}/chats/{chat_id}/connect")
async def connect(
    websocket: WebSocket,
    bot_id: str,
    chat_id: str,
    services: Services,
    *,
    resume: Annotated[
        bool, ignoring(default=False), Query(description="tell what is being answered in the chat too")
    ] = False,
) -> None:
    """By the cookie of a login or an API key. Whoever may not is answered 403, whatever the reason."""
    admitted = await _admitted(websocket, services, bot_id, chat_id)
    if admitted is None:
        await websocket.close(POLICY_VIOLATION)
        return
    caller, bot_type, place = admitted
    await websocket.accept()
    session = ChatSession(
        caller=caller,
        bot_id=bot_id,
        bot_type=bot_type,
        chat_id=chat_id,
        turns=services.turns,
        send=partial(_send, websocket, asyncio.Lock()),
        admit=partial(_admit, websocket, caller),
    )
    watching = asyncio.create_task(_watch(websocket, services.turns.heartbeat.total_seconds()))
    try:
        await session.run(_texts(websocket), resume=resume)
    finally:
        watching.cancel()
        del place


async def _admitted(
    websocket: WebSocket, services: Services, bot_id: str, chat_id: str
) -> tuple[Caller, str, Place] | None:
    """The caller, the type of the bot, and what is held while the connection lasts."""
    try:
        caller = await find_caller(websocket)
        if caller is None:
            return None
        await may_write(caller)
        keep_within(caller, None)
        await _admit(websocket, caller)
        places: StreamPlaces = websocket.app.state.streams
        place = places.take(caller.user_id)
        bot = await services.bots.get(caller.user_id, bot_id)
        await services.chats.get(caller.user_id, bot_id, chat_id, before=0, limit=1)
    except (errors.ApeRAGError, SQLAlchemyError, ConnectionError) as err:
        log.info("socket.refused", chat_id=chat_id, error=repr(err))
        return None
    return caller, bot.type, place


async def _admit(websocket: WebSocket, caller: Caller) -> None:
    rates: Rates = websocket.app.state.rates
    await rates.take_of(Kind.WRITE, websocket, caller)


async def _texts(websocket: WebSocket) -> AsyncIterator[str]:
    """Frames of bytes are taken for text in UTF-8. Raises ``HungUp`` where the client closed the connection normally."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            # Browsers that close without a code send none. uvicorn calls a lost connection 1005 too, without a reason.
            if message["code"] == NORMAL or (message["code"] == UNSAID and "reason" in message):
                raise HungUp
            return
        text = message.get("text")
        yield text if text is not None else message["bytes"].decode(errors="replace")


async def _send(websocket: WebSocket, one_at_a_time: asyncio.Lock, frame: dict[str, Any]) -> None:
    async with one_at_a_time:
        if websocket.application_state is not WebSocketState.CONNECTED:
            return
        with suppress(WebSocketDisconnect):  # how it was closed is what the reading side is told
            await websocket.send_json(frame)


async def _watch(websocket: WebSocket, every: float) -> None:
    """A connection ends soon after the credential that it was opened with."""
    while True:
        await asyncio.sleep(every)
        with suppress(SQLAlchemyError, ConnectionError):  # while the database is away nobody can revoke anything
            if not await _still(websocket):
                await websocket.close(POLICY_VIOLATION, "This login or key may not ask here any more")
                return


async def _still(websocket: WebSocket) -> bool:
    try:
        caller = await find_caller(websocket)
        if caller is None:
            return False
        await may_write(caller)
        keep_within(caller, None)
    except errors.ApeRAGError:
        return False
    return True
