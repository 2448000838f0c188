"""What each service may do with each table: nothing else is allowed to the role that it connects as.

The owner of the tables migrates them and grants; the services' roles are made by whoever runs the server (the stack on
one machine, or the init script of the form with containers), which knows their passwords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import bindparam, text

from aperag_common.db import policies
from aperag_common.services import Service, role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

log = structlog.get_logger(__name__)

READ = "SELECT"
ADD = "SELECT, INSERT"
CHANGE = "SELECT, UPDATE"
KEEP = "SELECT, INSERT, UPDATE"
WRITE = "SELECT, INSERT, UPDATE, DELETE"


def _forgets(*columns: str, touches: str = "created") -> str:
    """Find rows by ``columns`` and delete them. PostgreSQL locks rows only for who may change one of their columns."""
    return f"SELECT (ctid, {', '.join(columns)}), UPDATE ({touches}), DELETE"


AGENT, API, INDEXER, RECONCILER = Service.AGENT, Service.API, Service.INDEXER, Service.RECONCILER
WEBHOOKS = Service.WEBHOOKS

_JOB_CHANGES = (
    "UPDATE (lane, workflow_id, wanted, status, generation, observed_generation, dispatch, attempt, failures, due_at,"
    " lease_token, lease_owner, lease_until, worker, failed_attempts, started_at, settled_at, error_code,"
    " error_message, data, traceparent, updated)"
)
"""All but what a job is about, whose it is and of what kind."""

GRANTS: Mapping[str, Mapping[Service, str]] = {
    # Who someone is, and what they may do: the gateway's alone. The reconciler removes, and reads no hash for it.
    "users": {API: KEEP, RECONCILER: _forgets("id", "is_active", "deleted_at", touches="updated")},
    "api_key": {API: KEEP, RECONCILER: _forgets("id", "deleted_at", touches="last_used_at")},
    "session": {API: KEEP, RECONCILER: _forgets("id", "user_id", "expires_at")},
    "invitation": {API: KEEP, RECONCILER: _forgets("id", "expires_at")},
    "oauth_account": {API: WRITE},
    "login_throttle": {API: WRITE, RECONCILER: _forgets("id", "failed_at", "blocked_until", touches="failures")},
    "user_quota": {API: KEEP},
    "setting": {API: WRITE},
    "prompt_template": {API: WRITE},
    # Chats, and the models that answer in them. What an agent needs of documents it asks the gateway for.
    "bot": {API: WRITE},
    "chat": {API: WRITE, RECONCILER: _forgets("id", "updated")},
    # An agent writes what it answers, and cannot make a turn somebody else's.
    "turn": {
        API: KEEP,
        AGENT: "SELECT, UPDATE (run, answer, parts, usage, outcome, trace_id)",
        RECONCILER: _forgets("id", "chat_id", "owner", "created", touches="trace_id"),
    },
    "llm_provider": {
        API: WRITE,
        AGENT: "SELECT, UPDATE (paused_until)",
        INDEXER: "SELECT, UPDATE (paused_until)",
        RECONCILER: _forgets("name", "user_id"),
    },
    "llm_model": {API: WRITE, AGENT: READ, INDEXER: "SELECT, UPDATE (dimensions)"},
    "default_model": {API: WRITE, AGENT: READ},
    "provider_slot": {API: WRITE, AGENT: WRITE, INDEXER: WRITE},
    # Removed by age or with its user; never read again by a service but the gateway.
    "audit_log": {API: KEEP, RECONCILER: _forgets("id", "created")},
    "idempotency_record": {API: WRITE, RECONCILER: _forgets("user_id", "key", "created")},
    "search_history": {API: WRITE, RECONCILER: _forgets("id", "owner", "created")},
    # What people keep here.
    "collection": {
        API: KEEP,
        INDEXER: "SELECT, UPDATE (description, updated)",
        RECONCILER: "SELECT, UPDATE (status, updated, deleted_at, active_model, wanted_model, switching_since), DELETE",
    },
    "event_subscription": {API: WRITE},
    "collection_sharing": {API: WRITE},
    "collection_subscription": {API: WRITE},
    "document": {API: KEEP, INDEXER: CHANGE, RECONCILER: "SELECT, UPDATE, DELETE"},
    "chunk": {API: READ, INDEXER: WRITE},
    "chunk_term": {API: READ, INDEXER: WRITE},
    "chunk_vector": {
        API: READ,
        INDEXER: WRITE,
        RECONCILER: "SELECT (document_id, collection_id, model), DELETE",
    },
    # Work: what is wanted, what became of it, and what is told of it. Row-level security (``policies``) narrows both.
    "job": {
        AGENT: f"SELECT, {_JOB_CHANGES}",
        API: f"SELECT, INSERT, {_JOB_CHANGES}",
        INDEXER: f"SELECT, INSERT, {_JOB_CHANGES}",
        RECONCILER: f"SELECT, INSERT, DELETE, {_JOB_CHANGES}",
        WEBHOOKS: f"SELECT, INSERT, {_JOB_CHANGES}",
    },
    "document_index": {API: READ, INDEXER: WRITE, RECONCILER: "SELECT, UPDATE (data)"},
    # What other services ask for. Versions go with their collection.
    "ingest_event": {
        API: KEEP,
        RECONCILER: _forgets("id", "owner", "received", "status", "new_document_id", touches="message"),
    },
    "ingest_version": {API: KEEP},
    "collection_summary": {API: WRITE, INDEXER: CHANGE, RECONCILER: WRITE},
    "evaluation": {RECONCILER: "SELECT, UPDATE, DELETE"},
    "evaluation_item": {RECONCILER: CHANGE},
    "workflow": {API: KEEP, INDEXER: CHANGE, RECONCILER: WRITE},
    "workflow_step": {API: KEEP, INDEXER: CHANGE, RECONCILER: KEEP},
    "dead_letter": {AGENT: ADD, API: WRITE, INDEXER: ADD, RECONCILER: WRITE, WEBHOOKS: ADD},
    "outbox": {
        **dict.fromkeys((AGENT, API, INDEXER, WEBHOOKS), "SELECT, INSERT, UPDATE (epoch, relayed)"),
        RECONCILER: "SELECT, INSERT, UPDATE (epoch, relayed), DELETE",
    },
    "stream_epoch": {AGENT: READ, API: READ, INDEXER: READ, RECONCILER: KEEP, WEBHOOKS: READ},
    # Webhooks: the gateway makes endpoints, the webhooks service deliveries; neither makes one somebody else's.
    "webhook_endpoint": {
        API: WRITE,
        RECONCILER: "SELECT (id)",
        WEBHOOKS: "SELECT, UPDATE (failing_since, disabled_at, disabled_reason)",
    },
    "webhook_delivery": {
        API: "SELECT, INSERT, UPDATE (status, settled_at)",
        RECONCILER: _forgets("id", "owner", "created", touches="status"),
        WEBHOOKS: "SELECT, INSERT, UPDATE (status, attempts, settled_at)",
    },
    # Operations.
    "service_instance": {AGENT: WRITE, API: WRITE, INDEXER: WRITE, RECONCILER: WRITE, WEBHOOKS: WRITE},
    "timer": {API: READ, RECONCILER: WRITE},
}

_EXISTING = text("SELECT rolname FROM pg_roles WHERE rolname IN :roles").bindparams(bindparam("roles", expanding=True))
_OURS = text(
    """
    SELECT quote_ident(datname) FROM pg_database
    WHERE datname = current_database() AND pg_has_role(current_user, datdba, 'USAGE')
    """
)


def apply(connection: Connection) -> None:
    """Make privileges agree with ``GRANTS``; what is not listed is revoked. Safe to repeat.

    A role that does not exist is passed over: its service connects as the owner, or not at all.
    """
    wanted = {role(service): service for service in Service}
    existing = set(connection.execute(_EXISTING, {"roles": list(wanted)}).scalars())
    for missing in sorted(wanted.keys() - existing):
        log.warning("grants.role_missing", role=missing)
    _run(connection, [line for name in sorted(existing) for line in _of_role(name, wanted[name])])
    _run(connection, [line for name in sorted(existing) for line in policies.of_role(name, wanted[name])])
    database = connection.execute(_OURS).scalar_one_or_none()
    if database is not None:
        _run(connection, _of_everybody(str(database), existing))


def apply_to_tables(connection: Connection) -> None:
    """What holds whoever connects: jobs go with their subjects, and rows are guarded."""
    connection.exec_driver_sql(policies.function())
    _run(connection, policies.of_tables())


def _of_role(name: str, service: Service) -> Iterable[str]:
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}"
    yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {name}"
    for table, privileges in GRANTS.items():
        if service in privileges:
            yield f"GRANT {privileges[service]} ON {table} TO {name}"


def _of_everybody(database: str, roles: Collection[str]) -> Iterable[str]:
    """A role that nothing was granted to sees nothing, and none makes tables, not even temporary ones."""
    yield "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC"
    yield "REVOKE ALL ON SCHEMA public FROM PUBLIC"
    yield f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"
    for name in sorted(roles):
        yield f"REVOKE ALL ON SCHEMA public FROM {name}"
        yield f"GRANT USAGE ON SCHEMA public TO {name}"
        yield f"GRANT CONNECT ON DATABASE {database} TO {name}"


def _run(connection: Connection, statements: Iterable[str]) -> None:
    """In one round trip."""
    body = "".join(f"{statement};\n" for statement in statements)
    if body:
        connection.exec_driver_sql(f"DO $grants$ BEGIN\n{body}END $grants$")
