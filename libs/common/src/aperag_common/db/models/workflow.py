"""One requested change of a document and the steps it waits for; a task of the contract."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, Integer, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class WorkflowKind(StrEnum):
    UPLOAD = "upload"
    REBUILD = "rebuild"
    DELETE = "delete"
    REDRIVE = "redrive"


class WorkflowStatus(StrEnum):
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"


class Outcome(StrEnum):
    """How one step of a workflow ended; ``open`` until then."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


class Workflow(Base):
    """Opened by the gateway with the change; closed by whoever closes its last open step."""

    __tablename__ = "workflow"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(24), index=True)
    collection_id: Mapped[str] = mapped_column(String(24))
    owner: Mapped[str] = mapped_column(String(24))
    kind: Mapped[str] = mapped_column(String(12))
    status: Mapped[str] = mapped_column(String(12), default=WorkflowStatus.RUNNING)
    traceparent: Mapped[str | None] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    finished: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_workflow_finished", "finished"),
        Index("ix_workflow_running", "collection_id", "document_id", postgresql_where=text("status = 'RUNNING'")),
        Index("ix_workflow_trace", text("split_part(traceparent, '-', 2)"), "owner"),
    )


class WorkflowStep(Base):
    """The generation of one kind that a workflow waits for."""

    __tablename__ = "workflow_step"

    workflow_id: Mapped[str] = mapped_column(ForeignKey("workflow.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12), primary_key=True)
    generation: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(12), default=Outcome.OPEN)
    finished: Mapped[datetime | None]
