"""The shared schema, one table per module; importing this package registers every table."""

from aperag_common.db.models.api_key import ApiKey
from aperag_common.db.models.base import Base, DrivenMixin, Lane, StepStatus
from aperag_common.db.models.chunk import Chunk
from aperag_common.db.models.chunk_term import ChunkTerm
from aperag_common.db.models.chunk_vector import ChunkVector
from aperag_common.db.models.collection import Collection, CollectionStatus
from aperag_common.db.models.collection_purge import CollectionPurge
from aperag_common.db.models.collection_summary import CollectionSummary
from aperag_common.db.models.dead_letter import DeadLetter
from aperag_common.db.models.document import Document, DocumentStatus
from aperag_common.db.models.document_step import DocumentStep, StepKind
from aperag_common.db.models.evaluation import Evaluation, EvaluationItem, EvaluationStatus
from aperag_common.db.models.outbox import Outbox, StreamEpoch
from aperag_common.db.models.search_history import SearchHistory
from aperag_common.db.models.service_instance import ServiceInstance
from aperag_common.db.models.timer import Timer
from aperag_common.db.models.user import User
from aperag_common.db.models.workflow import Outcome, Workflow, WorkflowKind, WorkflowStatus, WorkflowStep

__all__ = [
    "ApiKey",
    "Base",
    "Chunk",
    "ChunkTerm",
    "ChunkVector",
    "Collection",
    "CollectionPurge",
    "CollectionStatus",
    "CollectionSummary",
    "DeadLetter",
    "Document",
    "DocumentStatus",
    "DocumentStep",
    "DrivenMixin",
    "Evaluation",
    "EvaluationItem",
    "EvaluationStatus",
    "Lane",
    "Outbox",
    "Outcome",
    "SearchHistory",
    "ServiceInstance",
    "StepKind",
    "StepStatus",
    "StreamEpoch",
    "Timer",
    "User",
    "Workflow",
    "WorkflowKind",
    "WorkflowStatus",
    "WorkflowStep",
]
