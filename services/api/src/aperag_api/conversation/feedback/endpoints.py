"""The route of feedback (contract 1.8)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.conversation.feedback.schemas import Feedback, FeedbackDeleted, FeedbackKept
from aperag_api.conversation.services import Services
from aperag_api.kernel.auth import Writer

router = APIRouter(prefix="/bots/{bot_id}/chats/{chat_id}/messages", tags=["chats"])


@router.post("/{message_id}")
async def rate_message(
    bot_id: str, chat_id: str, message_id: str, body: Feedback, caller: Writer, services: Services
) -> FeedbackKept | FeedbackDeleted:
    """Of the answer to a question; once more replaces it, without a ``type`` takes it back."""
    return await services.feedback.keep(caller.user_id, bot_id, chat_id, message_id, body)
