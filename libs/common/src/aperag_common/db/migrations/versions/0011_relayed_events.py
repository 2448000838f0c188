"""When an event was relayed: it is kept from then on, as its stream keeps it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("relayed", sa.DateTime(timezone=True)))
    # Nobody knows any more; no event is forgotten too early by that.
    op.execute("UPDATE outbox SET relayed = clock_timestamp() WHERE epoch IS NOT NULL")
