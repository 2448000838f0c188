"""The services behind chats, by the gateway's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.answers.service import AnswerService
from aperag_api.bots.service import BotService
from aperag_api.chat_documents.service import ChatDocumentService
from aperag_api.chats.service import ChatService
from aperag_api.documents.service import DocumentService
from aperag_api.feedback.service import FeedbackService
from aperag_api.flows.check import FlowChecker
from aperag_api.gateway import Conversations
from aperag_api.openai.service import CompletionService
from aperag_api.titles.service import TitleService
from aperag_api.turns.assembly import turn_service
from aperag_api.uploads.assembly import upload_service
from aperag_work.scheduler import JobScheduler

if TYPE_CHECKING:
    from aperag_api.prompts.service import PromptService
    from aperag_api.searches.service import SearchService
    from aperag_api.settings import Settings
    from aperag_models.catalog import Models
    from aperag_work.runtime import Runtime


def conversations(
    runtime: Runtime, settings: Settings, prompts: PromptService, searches: SearchService, models: Models
) -> Conversations:
    engine, bus, dispatcher = runtime.engine, runtime.bus, runtime.dispatcher
    scheduler = JobScheduler(engine, settings.work)
    chats = ChatService(engine, bus, dispatcher, scheduler)
    bots = BotService(engine, chats, FlowChecker(prompts.templates))
    turns = turn_service(runtime, settings, prompts)
    documents = DocumentService(engine, dispatcher, scheduler)
    uploads = upload_service(runtime, settings, scheduler)
    return Conversations(
        answers=AnswerService(bots, chats, turns),
        bots=bots,
        chat_documents=ChatDocumentService(engine, uploads, documents, searches),
        chats=chats,
        completions=CompletionService(bots, chats, turns),
        documents=documents,
        feedback=FeedbackService(engine),
        titles=TitleService(engine, models),
        turns=turns,
        uploads=uploads,
    )
