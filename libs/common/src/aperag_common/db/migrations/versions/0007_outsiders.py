"""Other services subscribe to events, and are told when their key ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    # Nobody could hold on to what a key opened before this release.
    op.execute(
        "UPDATE api_key SET ended_at = clock_timestamp() WHERE deleted_at IS NOT NULL OR expires_at <= clock_timestamp()"
    )
    op.create_index(
        "ix_api_key_expiring",
        "api_key",
        ["expires_at"],
        postgresql_where=sa.text("ended_at IS NULL AND expires_at IS NOT NULL"),
    )
    op.create_table(
        "event_subscription",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("owner", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("types", postgresql.ARRAY(sa.String(length=64)), nullable=True),
        sa.Column("all_owners", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("start_sequence", sa.BigInteger(), nullable=True),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stream_created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_event_subscription_owner"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_subscription")),
        sa.UniqueConstraint("owner", "name", name=op.f("uq_event_subscription_owner_name")),
    )
