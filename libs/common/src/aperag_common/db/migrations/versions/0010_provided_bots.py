"""Bots that came with their owners are known as such; operations in the audit log are named in the contract's style."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bot", sa.Column("provided", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    # The first bot of its owner, with this title, is the one that came with them.
    op.execute(
        """
        UPDATE bot b SET provided = true
        WHERE b.title = 'Default Agent Bot' AND b.type = 'agent'
            AND NOT EXISTS (SELECT FROM bot o WHERE o.owner = b.owner AND (o.created, o.id) < (b.created, b.id))
        """
    )
    op.execute(
        """
        UPDATE audit_log SET api_name = replace(replace(initcap(replace(api_name, '_', ' ')), ' ', ''), 'Llm', 'LLM')
        WHERE api_name ~ '^[a-z_]+$'
        """
    )
