"""What operators see and do: attempts, dead letters that are redriven, timers, workers; summaries and evaluations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "service_instance",
        sa.Column("service", sa.String(length=24), nullable=False),
        sa.Column("instance", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("consumers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("service", "instance", name=op.f("pk_service_instance")),
    )
    op.create_index("ix_service_instance_seen", "service_instance", ["seen"], unique=False)
    op.create_table(
        "timer",
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("period_seconds", sa.Float(), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lateness_seconds", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_timer")),
    )
    op.create_table(
        "evaluation",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("owner", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("collection_id", sa.String(length=24), nullable=False),
        sa.Column("question_set_id", sa.String(length=24), nullable=False),
        sa.Column("agent_llm_config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("judge_llm_config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("total_questions", sa.Integer(), nullable=False),
        sa.Column("completed_questions", sa.Integer(), nullable=False),
        sa.Column("average_score", sa.Float(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_evaluation_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
    )
    op.create_index(op.f("ix_evaluation_owner"), "evaluation", ["owner"], unique=False)
    op.create_table(
        "collection_summary",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("owner", sa.String(length=24), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("documents", sa.Integer(), nullable=True),
        sa.Column("documents_hash", sa.String(length=64), nullable=True),
        sa.Column("collection_updated", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("observed_generation", sa.Integer(), nullable=False),
        sa.Column("dispatch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("lane", sa.String(length=12), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=64), nullable=True),
        sa.Column(
            "failed_attempts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["collection.id"], name=op.f("fk_collection_summary_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection_summary")),
    )
    op.create_index(
        "ix_collection_summary_due",
        "collection_summary",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')"),
    )
    op.create_table(
        "evaluation_item",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("question_id", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("question_text", sa.Text(), nullable=False),
        sa.Column("ground_truth", sa.Text(), nullable=False),
        sa.Column("rag_answer", sa.Text(), nullable=True),
        sa.Column("rag_answer_details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("llm_judge_score", sa.Integer(), nullable=True),
        sa.Column("llm_judge_reasoning", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_evaluation_item_evaluation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation_item")),
    )
    op.create_index(op.f("ix_evaluation_item_evaluation_id"), "evaluation_item", ["evaluation_id"], unique=False)
    op.create_index(
        "ix_evaluation_item_running",
        "evaluation_item",
        ["started_at"],
        unique=False,
        postgresql_where=sa.text("status = 'RUNNING'"),
    )
    op.add_column("collection_purge", sa.Column("worker", sa.String(length=64), nullable=True))
    op.add_column(
        "collection_purge",
        sa.Column(
            "failed_attempts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
    )
    op.add_column("dead_letter", sa.Column("collection_id", sa.String(length=24), nullable=True))
    op.add_column("dead_letter", sa.Column("workflow_id", sa.String(length=24), nullable=True))
    op.add_column("dead_letter", sa.Column("kind", sa.String(length=24), nullable=True))
    op.add_column("dead_letter", sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("dead_letter", sa.Column("worker", sa.String(length=64), nullable=True))
    op.add_column("dead_letter", sa.Column("redriven_workflow_id", sa.String(length=24), nullable=True))
    op.create_index("ix_dead_letter_row", "dead_letter", ["row_id"], unique=False)
    op.create_index(
        "ix_dead_letter_open", "dead_letter", ["code"], unique=False, postgresql_where=sa.text("redriven_at IS NULL")
    )
    op.add_column("document_step", sa.Column("worker", sa.String(length=64), nullable=True))
    op.add_column(
        "document_step",
        sa.Column(
            "failed_attempts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
    )
    op.create_index(
        "ix_document_step_failed",
        "document_step",
        ["kind"],
        unique=False,
        postgresql_where=sa.text("status = 'FAILED'"),
    )
    op.create_index(
        "ix_workflow_running",
        "workflow",
        ["collection_id", "document_id"],
        unique=False,
        postgresql_where=sa.text("status = 'RUNNING'"),
    )
