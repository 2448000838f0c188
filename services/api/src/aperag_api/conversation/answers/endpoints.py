"""The web console's way to ask (contract 1.9): problems are answers with the status 200."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response

from aperag_api.conversation.answers.service import Asked
from aperag_api.conversation.services import Services
from aperag_api.kernel.auth import Writer
from aperag_api.kernel.streaming.responses import STREAM, streamed
from aperag_api.kernel.validation import ignoring

router = APIRouter(prefix="/chat/completions", tags=["chats"])

_TEXT = {"type": "string", "description": "the question, or JSON {message, files}"}
_FRAME = {"type": "object", "required": ["type", "id", "data", "timestamp"]}
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": _FRAME}, **STREAM}}}
_BODY = {"requestBody": {"required": True, "content": {"text/plain": {"schema": _TEXT}}}}


@router.post("/frontend", response_model=None, responses=_ANSWER, openapi_extra=_BODY)
async def ask_from_console(
    request: Request,
    caller: Writer,
    services: Services,
    *,
    stream: Annotated[bool, ignoring(default=False)] = False,
    bot_id: str = "",
    chat_id: str = "",
    msg_id: Annotated[str | None, Header(convert_underscores=False)] = None,
) -> Response:
    """One message, or server-sent events. The same ``msg_id`` again is the same question."""
    asked = Asked(bot_id, chat_id, msg_id or str(uuid.uuid4()), await request.body())
    if not stream:
        answer: dict[str, Any] = await services.answers.message(caller, asked)
        return JSONResponse(answer)
    return streamed(request, services.answers.stream(caller, asked), every=services.turns.heartbeat)
