"""Alembic's entry: runs on the connection that ``aperag_common.db.migrate`` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from aperag_common.db.models import Base

MIGRATION_LOCK = 7_241_905

connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
context.configure(connection=connection, target_metadata=Base.metadata)
context.run_migrations()
