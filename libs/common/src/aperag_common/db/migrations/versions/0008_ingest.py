"""Events of other services."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ingest_event",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("owner", sa.String(length=24), nullable=False),
        sa.Column("collection_id", sa.String(length=24), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("new_document_id", sa.String(length=24), nullable=True),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=12), server_default="PENDING", nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("document_id", sa.String(length=24), nullable=True),
        sa.Column("workflow_id", sa.String(length=24), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("received", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("settled", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_event")),
        sa.UniqueConstraint("owner", "source", "event_id", name=op.f("uq_ingest_event_owner_source_event_id")),
    )
    op.create_index("ix_ingest_event_received", "ingest_event", ["received"])
    op.create_index(
        "ix_ingest_event_pending", "ingest_event", ["owner"], postgresql_where=sa.text("status = 'PENDING'")
    )
    op.create_index(
        "ix_ingest_event_content",
        "ingest_event",
        ["new_document_id"],
        postgresql_where=sa.text("status <> 'COMPLETED'"),
    )
    op.create_table(
        "ingest_version",
        sa.Column("collection_id", sa.String(length=24), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("document_id", sa.String(length=24), nullable=True),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name=op.f("fk_ingest_version_collection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", "source", "subject", name=op.f("pk_ingest_version")),
    )
