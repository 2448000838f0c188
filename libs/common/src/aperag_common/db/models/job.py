"""One piece of asynchronous work, of whatever kind: what is wanted, who works on it, how often it failed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, SmallInteger, String, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import OPEN_SQL, Base, JobStatus, Lane


class Job(Base):
    """One row for each (subject, kind); ``aperag_common.jobs`` declares the kinds and who works on which.

    ``generation`` is what is wanted (``wanted``: present or absent), ``observed_generation`` what is settled.
    ``dispatch`` counts the publishes of the generation's command and is 0 while the job waits for its fair release. Kinds
    that are released by their due time wait with a negative one: that of the publish that their release will be.
    ``attempt`` counts claims, ``failures`` reported errors. ``due_at`` is when the job counts as lost: ``infinity``
    while it is settled or waits for another job. All times are the database's clock.

    A generation is raised by whoever wants something else (gateway, reconciler, or the worker of a job before it). The
    worker of its kind claims and settles it. The reconciler releases, redrives and removes it. A role sees the jobs of
    its own kinds only, and changes neither owner, nor subject, nor kind (row-level security, ``db/policies.py``).

    ``worker`` is who claimed it last and stays when the lease is gone. ``failed_attempts`` are those of the present
    generation, oldest first: ``{attempt, worker, ended, code, message, next_try_at}``.
    """

    __tablename__ = "job"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(24))
    collection_id: Mapped[str | None] = mapped_column(String(24))
    owner: Mapped[str] = mapped_column(String(24))
    lane: Mapped[str] = mapped_column(String(12), default=Lane.INTERACTIVE)
    workflow_id: Mapped[str | None] = mapped_column(String(24))
    wanted: Mapped[str] = mapped_column(String(8))
    status: Mapped[str] = mapped_column(String(24), default=JobStatus.PENDING)
    generation: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    observed_generation: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    dispatch: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    attempt: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    failures: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    due_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(64))
    failed_attempts: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default=text("'[]'"))
    started_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    traceparent: Mapped[str | None] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        # The subject first: its jobs are read together, and go with it.
        UniqueConstraint("subject_id", "kind"),
        # The redrive scans this one; its predicate must equal the query's.
        Index("ix_job_due", "due_at", postgresql_where=text(f"status IN {OPEN_SQL}")),
        Index(
            "ix_job_unreleased",
            "owner",
            text("lane DESC"),
            "created",
            postgresql_where=text(f"status IN {OPEN_SQL} AND dispatch = 0 AND due_at < 'infinity'"),
        ),
        Index("ix_job_in_flight", "owner", postgresql_where=text(f"status IN {OPEN_SQL} AND dispatch > 0")),
        Index("ix_job_by_due_time", "owner", "due_at", postgresql_where=text(f"status IN {OPEN_SQL} AND dispatch < 0")),
        Index("ix_job_failed", "kind", postgresql_where=text("status = 'FAILED'")),
    )
