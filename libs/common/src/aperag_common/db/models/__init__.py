"""The shared schema, one table per module; importing this package registers every table."""

from aperag_common.db.models.api_key import ApiKey
from aperag_common.db.models.audit_log import AuditLog
from aperag_common.db.models.base import Base, JobStatus, Lane
from aperag_common.db.models.bot import Bot
from aperag_common.db.models.chat import Chat
from aperag_common.db.models.chunk import Chunk
from aperag_common.db.models.chunk_term import ChunkTerm
from aperag_common.db.models.chunk_vector import ChunkVector
from aperag_common.db.models.collection import Collection, CollectionStatus
from aperag_common.db.models.collection_sharing import CollectionSharing, CollectionSubscription
from aperag_common.db.models.collection_summary import CollectionSummary
from aperag_common.db.models.dead_letter import DeadLetter
from aperag_common.db.models.document import Document, DocumentStatus
from aperag_common.db.models.document_index import DocumentIndex
from aperag_common.db.models.evaluation import Evaluation, EvaluationItem, EvaluationStatus
from aperag_common.db.models.event_subscription import EventSubscription
from aperag_common.db.models.idempotency_record import IdempotencyRecord
from aperag_common.db.models.ingest_event import IngestEvent, IngestOutcome, IngestStatus, IngestVersion
from aperag_common.db.models.invitation import Invitation
from aperag_common.db.models.job import Job
from aperag_common.db.models.llm_provider import DefaultModel, LlmModel, LlmProvider, ProviderSlot
from aperag_common.db.models.login_throttle import LoginThrottle
from aperag_common.db.models.oauth_account import OAuthAccount
from aperag_common.db.models.outbox import Outbox, StreamEpoch
from aperag_common.db.models.prompt_template import PromptTemplate
from aperag_common.db.models.quota import QuotaType, UserQuota
from aperag_common.db.models.search_history import SearchHistory
from aperag_common.db.models.service_instance import ServiceInstance
from aperag_common.db.models.session import Session
from aperag_common.db.models.setting import Setting
from aperag_common.db.models.timer import Timer
from aperag_common.db.models.turn import Turn, TurnOutcome
from aperag_common.db.models.user import User
from aperag_common.db.models.webhook import DeliveryStatus, DisabledReason, WebhookDelivery, WebhookEndpoint
from aperag_common.db.models.workflow import Outcome, Workflow, WorkflowKind, WorkflowStatus, WorkflowStep

__all__ = [
    "ApiKey",
    "AuditLog",
    "Base",
    "Bot",
    "Chat",
    "Chunk",
    "ChunkTerm",
    "ChunkVector",
    "Collection",
    "CollectionSharing",
    "CollectionStatus",
    "CollectionSubscription",
    "CollectionSummary",
    "DeadLetter",
    "DefaultModel",
    "DeliveryStatus",
    "DisabledReason",
    "Document",
    "DocumentIndex",
    "DocumentStatus",
    "Evaluation",
    "EvaluationItem",
    "EvaluationStatus",
    "EventSubscription",
    "IdempotencyRecord",
    "IngestEvent",
    "IngestOutcome",
    "IngestStatus",
    "IngestVersion",
    "Invitation",
    "Job",
    "JobStatus",
    "Lane",
    "LlmModel",
    "LlmProvider",
    "LoginThrottle",
    "OAuthAccount",
    "Outbox",
    "Outcome",
    "PromptTemplate",
    "ProviderSlot",
    "QuotaType",
    "SearchHistory",
    "ServiceInstance",
    "Session",
    "Setting",
    "StreamEpoch",
    "Timer",
    "Turn",
    "TurnOutcome",
    "User",
    "UserQuota",
    "WebhookDelivery",
    "WebhookEndpoint",
    "Workflow",
    "WorkflowKind",
    "WorkflowStatus",
    "WorkflowStep",
]
