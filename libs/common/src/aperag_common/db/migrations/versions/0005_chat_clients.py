"""Flows of bots, files of chats, and chats that programs have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LIVING = sa.text("deleted_at IS NULL AND status <> 'EXPIRED'")


def upgrade() -> None:
    op.add_column("bot", sa.Column("flow", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index(
        "uq_chat_peer", "chat", ["bot_id", "peer_id"], unique=True, postgresql_where=sa.text("peer_id IS NOT NULL")
    )
    op.add_column("document", sa.Column("chat_id", sa.String(length=24), nullable=True))
    op.create_index(
        "ix_document_chat",
        "document",
        ["chat_id"],
        unique=False,
        postgresql_where=sa.text("chat_id IS NOT NULL AND deleted_at IS NULL"),
    )
    op.drop_index("uq_document_living_name", table_name="document")
    op.create_index(
        "uq_document_living_name",
        "document",
        ["collection_id", sa.text("coalesce(chat_id, '')"), "name"],
        unique=True,
        postgresql_where=_LIVING,
    )
