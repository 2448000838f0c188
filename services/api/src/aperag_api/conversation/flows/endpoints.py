"""Routes of a bot's flow (contract 1.7)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from aperag_api.conversation.flows.schemas import FlowDebugRequest, WorkflowDefinition
from aperag_api.conversation.services import Services
from aperag_api.kernel.auth import Reader, Writer
from aperag_api.kernel.streaming.responses import streamed

router = APIRouter(prefix="/bots/{bot_id}/flow", tags=["bots"])


@router.get("")
async def get_flow(bot_id: str, caller: Reader, services: Services) -> dict[str, Any]:
    """Empty where the bot has none."""
    return await services.bots.flow(caller.user_id, bot_id)


@router.put("")
async def update_flow(bot_id: str, body: WorkflowDefinition, caller: Writer, services: Services) -> dict[str, Any]:
    """400 with all that is wrong where it could not run: a cycle, a type that does not fit, a node that is not there."""
    return await services.bots.change_flow(caller.user_id, bot_id, body)


@router.post("/debug", response_class=StreamingResponse)
async def debug_flow(
    bot_id: str, body: FlowDebugRequest, caller: Writer, request: Request, services: Services
) -> StreamingResponse:
    """Server-sent events of one run of the flow, with what each node was given and gave; then the answer."""
    told = await services.answers.debug(caller, bot_id, body.query)
    return streamed(request, told, every=services.turns.heartbeat)
