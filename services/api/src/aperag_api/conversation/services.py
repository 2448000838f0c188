"""What the routes of bots, chats and turns are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from aperag_api.kernel.services import provided

if TYPE_CHECKING:
    from aperag_api.conversation.answers.service import AnswerService
    from aperag_api.conversation.bots.service import BotService
    from aperag_api.conversation.chats.service import ChatService
    from aperag_api.conversation.feedback.service import FeedbackService
    from aperag_api.conversation.openai.service import CompletionService
    from aperag_api.conversation.titles.service import TitleService
    from aperag_api.conversation.turns.service import TurnService


@dataclass(frozen=True, slots=True)
class Conversation:
    answers: AnswerService
    bots: BotService
    chats: ChatService
    completions: CompletionService
    feedback: FeedbackService
    titles: TitleService
    turns: TurnService


Services = Annotated[Conversation, Depends(provided(Conversation))]
