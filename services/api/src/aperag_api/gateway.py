"""The services behind the routes, as one value that every route is given."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

if TYPE_CHECKING:
    from aperag_api.answers.service import AnswerService
    from aperag_api.apikeys.service import ApiKeyService
    from aperag_api.audit.service import AuditService
    from aperag_api.auth import Authenticator
    from aperag_api.bots.service import BotService
    from aperag_api.chat_documents.service import ChatDocumentService
    from aperag_api.chats.service import ChatService
    from aperag_api.collections.service import CollectionService
    from aperag_api.contents.service import ContentService
    from aperag_api.dead_letters.service import DeadLetterService
    from aperag_api.documents.service import DocumentService
    from aperag_api.events.feed import Feed
    from aperag_api.events.service import EventService
    from aperag_api.feedback.service import FeedbackService
    from aperag_api.identity import Identity
    from aperag_api.inference.service import InferenceService
    from aperag_api.installation.service import InstallationService
    from aperag_api.marketplace.service import MarketplaceService
    from aperag_api.mcp.proxy import McpProxy
    from aperag_api.models.service import ModelService
    from aperag_api.openai.service import CompletionService
    from aperag_api.prompts.service import PromptService
    from aperag_api.providers.service import ProviderService
    from aperag_api.queues.service import QueueService
    from aperag_api.quotas.service import QuotaService
    from aperag_api.searches.service import SearchService
    from aperag_api.sharing.service import SharingService
    from aperag_api.summaries.service import SummaryService
    from aperag_api.tasks.service import TaskService
    from aperag_api.timelines.service import TimelineService
    from aperag_api.timers.service import TimerService
    from aperag_api.titles.service import TitleService
    from aperag_api.traces.intake import SpanIntake
    from aperag_api.traces.service import TraceService
    from aperag_api.turns.service import TurnService
    from aperag_api.uploads.service import UploadService
    from aperag_api.web.assembly import Web


@dataclass(frozen=True, slots=True)
class Conversations:
    """What chats need: bots, their chats and turns, the files in them, and every way to ask."""

    answers: AnswerService
    bots: BotService
    chat_documents: ChatDocumentService
    chats: ChatService
    completions: CompletionService
    documents: DocumentService
    feedback: FeedbackService
    titles: TitleService
    turns: TurnService
    uploads: UploadService

    def by_name(self) -> dict[str, Any]:
        return {it.name: getattr(self, it.name) for it in fields(Conversations)}


@dataclass(frozen=True, slots=True)
class Gateway(Conversations):
    audit: AuditService
    authenticator: Authenticator
    feed: Feed
    api_keys: ApiKeyService
    collections: CollectionService
    contents: ContentService
    dead_letters: DeadLetterService
    events: EventService
    identity: Identity
    inference: InferenceService
    installation: InstallationService
    marketplace: MarketplaceService
    mcp: McpProxy
    models: ModelService
    prompts: PromptService
    providers: ProviderService
    queues: QueueService
    quotas: QuotaService
    searches: SearchService
    sharing: SharingService
    spans: SpanIntake
    summaries: SummaryService
    tasks: TaskService
    timelines: TimelineService
    timers: TimerService
    traces: TraceService
    web: Web


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


Services = Annotated[Gateway, Depends(_gateway)]
