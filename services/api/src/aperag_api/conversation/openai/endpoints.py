"""Routes below /v1, as OpenAI's clients call them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from aperag_api.conversation.openai.schemas import Completion, CompletionRequest, Failed, Model, ModelList
from aperag_api.conversation.services import Services
from aperag_api.kernel.auth import Reader, Writer
from aperag_api.kernel.http.headers import TURN_HEADER
from aperag_api.kernel.streaming.responses import STREAM, streamed

STATUSES = (400, 401, 403, 404, 413, 429, 500, 503)

router = APIRouter(prefix="/v1", tags=["openai"], responses={status: {"model": Failed} for status in STATUSES})

CHAT_HEADER = "X-ApeRAG-Chat"


@router.get("/models")
async def list_models(caller: Reader, services: Services) -> ModelList:
    """The caller's bots."""
    return await services.completions.models(caller.user_id)


@router.get("/models/{model_id}")
async def get_model(model_id: str, caller: Reader, services: Services) -> Model:
    return await services.completions.model(caller.user_id, model_id)


@router.post("/chat/completions", response_model=Completion, responses={200: {"content": STREAM}})
async def create_chat_completion(
    request: Request,
    body: CompletionRequest,
    caller: Writer,
    services: Services,
    *,
    bot_id: Annotated[str, Query(max_length=64)] = "",
    chat_id: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """With ``stream`` as server-sent events. The bot stands in the query, or is the model."""
    turn = await services.completions.begin(caller, bot_id, chat_id, body)
    headers = {TURN_HEADER: turn.id, CHAT_HEADER: turn.chat_id}
    if not body.stream:
        answer = await services.completions.whole(caller.user_id, turn)
        return JSONResponse(answer.model_dump(mode="json"), headers=headers)
    usage = body.stream_options is not None and body.stream_options.include_usage
    told = services.completions.chunks(turn, with_usage=usage)
    return streamed(request, told, every=services.turns.heartbeat, headers=headers)
