"""One table for all asynchronous work: document steps, purges, summaries and turns become jobs.

The stack is stopped for this. Ids survive: a step's is its job's, and so is a turn's and that of a purge. A summary had
its collection's id, which a purge of the collection may have too, so its job has a new one. Nobody works while this
runs: leases end, and whatever was published is due at once, for its message may have been lost in the meantime.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPEN = "status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')"
_SHARED = """
    lane, generation, observed_generation, dispatch, attempt, failures, worker, failed_attempts, started_at, settled_at,
    error_code, error_message, traceparent, created, updated
"""
_UNSTARTED = """
    CASE status WHEN 'CREATING' THEN 'PENDING' WHEN 'DELETION_IN_PROGRESS' THEN 'DELETING' ELSE status END
"""
# A removal that was given up has the status of a build that was: what it is about says which.
_WANTED = """
    CASE WHEN status LIKE 'DELET%' OR document_id IN (SELECT id FROM document WHERE deleted_at IS NOT NULL)
        THEN 'absent' ELSE 'present' END
"""
# A failure that waits for its next try goes on waiting; who was at work is gone.
_DUE = f"""
    CASE WHEN NOT {_OPEN} THEN 'infinity' WHEN due_at = 'infinity' OR dispatch = 0 THEN due_at
        WHEN failures > 0 AND lease_token IS NULL THEN least(due_at, clock_timestamp() + interval '10 min')
        ELSE clock_timestamp() END
"""


def upgrade() -> None:
    # An early version of 0003 did not make this column, and what it had migrated never got it.
    op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS email_verified boolean NOT NULL DEFAULT false")
    _create()
    _carry_over()
    _drop()


def _create() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=24), nullable=False),
        sa.Column("collection_id", sa.String(length=24), nullable=True),
        sa.Column("owner", sa.String(length=24), nullable=False),
        sa.Column("lane", sa.String(length=12), nullable=False),
        sa.Column("workflow_id", sa.String(length=24), nullable=True),
        sa.Column("wanted", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="1", nullable=False),
        sa.Column("observed_generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("dispatch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
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
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("subject_id", "kind", name=op.f("uq_job_subject_id_kind")),
    )
    op.create_index("ix_job_due", "job", ["due_at"], postgresql_where=sa.text(_OPEN))
    op.create_index(
        "ix_job_unreleased",
        "job",
        ["owner", sa.literal_column("lane DESC"), "created"],
        postgresql_where=sa.text(f"{_OPEN} AND dispatch = 0 AND due_at < 'infinity'"),
    )
    op.create_index("ix_job_in_flight", "job", ["owner"], postgresql_where=sa.text(f"{_OPEN} AND dispatch > 0"))
    op.create_index("ix_job_failed", "job", ["kind"], postgresql_where=sa.text("status = 'FAILED'"))
    op.create_table(
        "document_index",
        sa.Column("document_id", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("served_generation", sa.Integer(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_document_index_document_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("document_id", "kind", name=op.f("pk_document_index")),
    )
    op.add_column("turn", sa.Column("credential", sa.String(length=32), nullable=True))
    op.create_index("ix_turn_trace", "turn", ["trace_id", "owner"])


def _carry_over() -> None:
    into = (
        f"INSERT INTO job (id, kind, subject_id, collection_id, owner, workflow_id, status, wanted, due_at, {_SHARED})"
    )
    steps = f"""
        {into} SELECT id, CASE kind WHEN 'parse' THEN 'parse' ELSE 'index.' || kind END, document_id, collection_id,
            owner, workflow_id, {_UNSTARTED}, {_WANTED}, {_DUE}, {_SHARED} FROM document_step
    """
    op.execute(steps)
    op.execute(
        """
        INSERT INTO document_index (document_id, kind, served_generation, data)
        SELECT document_id, kind, served_generation, data FROM document_step WHERE served_generation IS NOT NULL
        """
    )
    for kind, table, collection, wanted in (
        ("collection.purge", "collection_purge", "id", "absent"),
        ("user.purge", "user_purge", "NULL", "absent"),
        ("turn", "turn", "NULL", "present"),
    ):
        rows = f"""
            {into} SELECT id, '{kind}', id, {collection}, owner, NULL, {_UNSTARTED}, '{wanted}', {_DUE}, {_SHARED}
            FROM {table}
        """
        op.execute(rows)
    summaries = f"""
        {into} SELECT 'job' || left(md5('collection.summary ' || id), 16), 'collection.summary', id, id, owner, NULL,
            {_UNSTARTED}, 'present', {_DUE}, {_SHARED} FROM collection_summary
    """
    op.execute(summaries)
    op.execute(
        """
        UPDATE dead_letter SET row_id = CASE WHEN kind = 'collection_summary'
                THEN 'job' || left(md5('collection.summary ' || row_id), 16) ELSE row_id END,
            kind = CASE kind WHEN 'collection_summary' THEN 'collection.summary'
                WHEN 'collection_purge' THEN 'collection.purge' WHEN 'user_purge' THEN 'user.purge' ELSE kind END
        WHERE kind IN ('collection_summary', 'collection_purge', 'user_purge')
        """
    )
    op.execute("UPDATE turn SET credential = replace(gen_random_uuid()::text, '-', '')")


def _drop() -> None:
    op.alter_column("turn", "credential", nullable=False)
    driven = [
        "status",
        "generation",
        "observed_generation",
        "dispatch",
        "attempt",
        "failures",
        "due_at",
        "lane",
        "lease_token",
        "lease_owner",
        "lease_until",
        "worker",
        "failed_attempts",
        "started_at",
        "settled_at",
        "error_code",
        "error_message",
        "traceparent",
        "updated",
    ]
    for column in driven:
        op.drop_column("turn", column)
    for column in (*driven, "created"):
        op.drop_column("collection_summary", column)
    for table in ("document_step", "collection_purge", "user_purge"):
        op.drop_table(table)
