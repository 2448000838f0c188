"""What follows from the job kinds inside PostgreSQL: who sees which job and writes which event, and what goes with what.

Applied with the grants after every migration; safe to repeat. The owner of the tables is bound by none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common import subjects
from aperag_common.db.models.base import OPEN_SQL
from aperag_common.events import facts
from aperag_common.jobs import declared as _declared  # noqa: F401  registers the kinds
from aperag_common.jobs.kind import kinds
from aperag_common.services import Service

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_EVERYTHING = (Service.API, Service.RECONCILER)
"""The gateway wants and shows jobs of all kinds, the reconciler redrives and removes them."""

# What an event says of itself must be what its subject says: readers filter by the one and believe the other. A subject
# that is none would keep the reconciler from relaying whatever else waits with it.
_FACT = "split_part(subject, '.', 4) || '.' || split_part(subject, '.', 5)"
_WELL_FORMED = rf"subject ~ '^{subjects.ROOT}\.evt\.[A-Za-z0-9_-]+\.[a-z_]+\.[a-z_]+$'"
_CONSISTENT = f"{_WELL_FORMED} AND payload ->> 'type' = {_FACT} AND payload ->> 'owner' = split_part(subject, '.', 3)"

# A subject has no foreign key to the jobs that are about it: its table's deletes take them along, locked in the order
# of their ids as by everybody else.
_REMOVE_JOBS = """
    CREATE OR REPLACE FUNCTION remove_jobs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public AS $remove$
    BEGIN
        DELETE FROM public.job WHERE id IN (
            SELECT j.id FROM public.job j JOIN gone g ON j.subject_id = g.id WHERE j.kind = ANY (TG_ARGV)
            ORDER BY j.id FOR UPDATE OF j);
        RETURN NULL;
    END $remove$
"""


def function() -> str:
    return _REMOVE_JOBS


def of_tables() -> Iterable[str]:
    """A trigger for each table that kinds name in ``on_delete``."""
    tables: dict[str, list[str]] = {}
    for kind in kinds():
        if kind.on_delete is not None:
            tables.setdefault(kind.on_delete, []).append(kind.name)
    for table, names in tables.items():
        yield (
            f"CREATE OR REPLACE TRIGGER remove_jobs_of_{table} AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone"
            f" FOR EACH STATEMENT EXECUTE FUNCTION remove_jobs({_texts(names)})"
        )
    for table in ("job", "outbox"):
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"


def of_role(role: str, service: Service) -> Iterable[str]:
    """``role`` is the one that ``service`` connects as."""
    own = [kind for kind in kinds() if kind.service is service]
    theirs = _any_of("kind", None if service in _EVERYTHING else [kind.name for kind in own])
    if service in _EVERYTHING or any(kind.sent_by_worker for kind in own):
        yield from _policy("job", role, "ALL", theirs)
    else:
        # What it never asks for anew it cannot open again either: an open turn is a credential for its asker's documents.
        yield f"DROP POLICY IF EXISTS job_all_{role} ON job"
        yield from _policy("job", role, "SELECT", theirs)
        yield from _policy("job", role, "UPDATE", f"{theirs} AND status IN {OPEN_SQL}", after=theirs)
    made = [fact.type_name for fact in facts.made_by(service)]
    read = None if service in _EVERYTHING else made
    yield from _policy("outbox", role, "SELECT", _any_of(_FACT, read))
    yield from _policy("outbox", role, "INSERT", f"({_any_of(_FACT, made)}) AND {_CONSISTENT}")
    marked = None if service is Service.RECONCILER else made
    yield from _policy("outbox", role, "UPDATE", _any_of(_FACT, marked))
    if service is Service.RECONCILER:
        yield from _policy("outbox", role, "DELETE", "true")


def _policy(table: str, role: str, action: str, condition: str, *, after: str | None = None) -> Iterable[str]:
    """``after``: what has to be true of a changed row, where that is something else."""
    name = f"{table}_{action.lower()}_{role}"
    clause = "WITH CHECK" if action == "INSERT" else "USING"
    yield f"DROP POLICY IF EXISTS {name} ON {table}"
    yield f"CREATE POLICY {name} ON {table} FOR {action} TO {role} {clause} ({condition})" + (
        f" WITH CHECK ({after})" if after else ""
    )


def _any_of(expression: str, allowed: Collection[str] | None) -> str:
    if allowed is None:
        return "true"
    return f"({expression}) IN ({_texts(allowed)})" if allowed else "false"


def _texts(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
