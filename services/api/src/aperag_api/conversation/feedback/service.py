"""Keeping feedback with the turn that it is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.conversation.chats import repository as chats
from aperag_api.conversation.feedback.schemas import FeedbackDeleted, FeedbackKept
from aperag_common import errors

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.conversation.feedback.schemas import Feedback

_KEEP = text(
    """
    UPDATE turn t SET feedback = CAST(:feedback AS jsonb) FROM job j
    WHERE t.chat_id = :chat AND t.message_id = :message AND t.owner = :owner
        AND j.subject_id = t.id AND j.kind = 'turn' AND j.settled_at IS NOT NULL
    RETURNING t.id
    """
)


@dataclass(frozen=True, slots=True)
class FeedbackService:
    engine: AsyncEngine

    async def keep(
        self, owner: str, bot_id: str, chat_id: str, message_id: str, feedback: Feedback
    ) -> FeedbackKept | FeedbackDeleted:
        """Raises ``ChatNotFound``, and ``MessageNotFound`` for what has no answer."""
        kept = None if feedback.type is None else feedback.model_dump(mode="json")
        values = {"chat": chat_id, "message": message_id, "owner": owner}
        async with self.engine.begin() as conn:
            if await chats.find(conn, owner, bot_id, chat_id) is None:
                raise errors.ChatNotFound(f"Chat {chat_id} not found")
            found = await conn.execute(_KEEP, {**values, "feedback": None if kept is None else json.dumps(kept)})
            if found.one_or_none() is None:
                raise errors.MessageNotFound(f"Message {message_id} not found, or not answered yet")
        return FeedbackDeleted() if kept is None else FeedbackKept(feedback=feedback)
