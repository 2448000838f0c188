"""A run of questions against a collection, judged; the runner joins later, the rows and their upkeep are here."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, Integer, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class EvaluationStatus(StrEnum):
    """Of an evaluation; its items know all but PAUSED."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Evaluation(Base):
    """``average_score`` is the mean of the judged items, null before the first."""

    __tablename__ = "evaluation"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(256))
    collection_id: Mapped[str] = mapped_column(String(24))
    question_set_id: Mapped[str] = mapped_column(String(24))
    agent_llm_config: Mapped[dict[str, Any]]
    judge_llm_config: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(12), default=EvaluationStatus.PENDING)
    error_message: Mapped[str | None] = mapped_column(Text)
    total_questions: Mapped[int] = mapped_column(Integer, default=0)
    completed_questions: Mapped[int] = mapped_column(Integer, default=0)
    average_score: Mapped[float | None] = mapped_column(Float)
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]


class EvaluationItem(Base):
    """One question of a run; RUNNING for too long means that its runner is gone."""

    __tablename__ = "evaluation_item"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluation.id", ondelete="CASCADE"), index=True)
    question_id: Mapped[str] = mapped_column(String(24))
    status: Mapped[str] = mapped_column(String(12), default=EvaluationStatus.PENDING)
    question_text: Mapped[str] = mapped_column(Text)
    ground_truth: Mapped[str] = mapped_column(Text)
    rag_answer: Mapped[str | None] = mapped_column(Text)
    rag_answer_details: Mapped[dict[str, Any] | None]
    llm_judge_score: Mapped[int | None] = mapped_column(Integer)
    llm_judge_reasoning: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_evaluation_item_running", "started_at", postgresql_where=text("status = 'RUNNING'")),)
