"""Routes of turns."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from aperag_api.conversation.services import Services
from aperag_api.conversation.turns.schemas import AgentMessage, TurnOut, TurnSnapshot
from aperag_api.kernel.auth import Reader, Writer
from aperag_api.kernel.streaming.responses import streamed

router = APIRouter(tags=["turns"])


def _last_id(
    last_event_id: Annotated[str | None, Query(description="go on after this event")] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> str | None:
    return header or last_event_id


@router.post("/bots/{bot_id}/chats/{chat_id}/turns", status_code=202)
async def start_turn(bot_id: str, chat_id: str, body: AgentMessage, caller: Writer, services: Services) -> TurnOut:
    """Ask; the answer is followed at ``events``. The same ``message_id`` again is the same turn."""
    return await services.turns.start(caller, bot_id, chat_id, body)


@router.get("/turns/{turn_id}")
async def get_turn(turn_id: str, caller: Reader, services: Services) -> TurnOut:
    return await services.turns.get(caller.user_id, turn_id)


@router.get("/turns/{turn_id}/snapshot")
async def get_turn_snapshot(turn_id: str, caller: Reader, services: Services) -> TurnSnapshot:
    return await services.turns.snapshot(caller.user_id, turn_id)


@router.get("/turns/{turn_id}/events", response_class=StreamingResponse)
async def turn_events(
    turn_id: str,
    caller: Reader,
    request: Request,
    services: Services,
    last_id: Annotated[str | None, Depends(_last_id)],
) -> StreamingResponse:
    """Server-sent events until the turn's ``stop`` or ``error``, which come once; a ``start`` begins the text anew."""
    told = await services.turns.follow(caller.user_id, turn_id, last_id)
    return streamed(request, told, every=services.turns.heartbeat)


@router.post("/turns/{turn_id}/cancel")
async def cancel_turn(turn_id: str, caller: Writer, services: Services) -> TurnOut:
    """409 where it has ended; what there is of the answer stays."""
    return await services.turns.cancel(caller.user_id, turn_id)
