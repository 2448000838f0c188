"""The lease on a step: taken by a claim, renewed by the beat, given back at shutdown. Times are the database's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.session import autocommit
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow
from aperag_common.work.policy import LEASE_SLACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.work.policy import WorkPolicy

# One statement and so one round trip, however many steps: the steps are leased, and a document turns RUNNING with its
# first claim. It waits for no lock: others lock documents before steps, and one after the other. A step that is locked
# is about to change, and is asked for again a moment later; a document that is locked stays PENDING until its next
# claim or end. A step that was asked for twice goes to one of the two tokens; a token that already has the lease (the
# answer to its first asking was lost) keeps it.
_TAKE = text(
    f"""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:generations AS int[]), CAST(:documents AS text[]),
            CAST(:tokens AS text[]), CAST(:removing AS bool[])) AS w(id, generation, document_id, token, removing)
    ), alive AS (
        SELECT w.id, w.generation, w.token, d.name, d.object_path, d.sha256, c.analyzer, c.active_model,
            c.wanted_model, c.config
        FROM wanted w JOIN document d ON d.id = w.document_id JOIN collection c ON c.id = d.collection_id
        WHERE w.removing OR d.deleted_at IS NULL
    ), free AS (
        SELECT s.id, alive.token, alive.name, alive.object_path, alive.sha256, alive.analyzer, alive.active_model,
            alive.wanted_model, alive.config
        FROM document_step s JOIN alive ON s.id = alive.id AND s.generation = alive.generation
        WHERE s.status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')
            AND (s.lease_token = alive.token OR s.attempt < :max_attempts
                AND (s.lease_until IS NULL OR s.lease_until <= clock_timestamp()))
        FOR UPDATE OF s SKIP LOCKED
    ), taken AS (
        UPDATE document_step s SET
            status = CASE WHEN s.status IN ('PENDING', 'CREATING') THEN 'CREATING' ELSE 'DELETION_IN_PROGRESS' END,
            attempt = s.attempt + CASE WHEN s.lease_token = free.token THEN 0 ELSE 1 END,
            lease_token = free.token, lease_owner = :owner, worker = :owner,
            failed_attempts = CASE WHEN s.lease_token IS NULL OR s.lease_token = free.token THEN s.failed_attempts
                ELSE s.failed_attempts
                || jsonb_build_object('attempt', s.attempt, 'worker', s.lease_owner, 'ended', s.lease_until,
                    'code', 'WORKER_LOST', 'message', CAST(:lost AS text), 'next_try_at', NULL) END,
            lease_until = clock_timestamp() + :lease, due_at = clock_timestamp() + :lease + :slack,
            started_at = coalesce(s.started_at, clock_timestamp()), updated = clock_timestamp()
        FROM free WHERE s.id = free.id
        RETURNING {", ".join(f"s.{c}" for c in STEP_COLUMNS.split(", "))}, s.attempt, s.failures, s.served_generation,
            s.data, s.lease_token, free.name, free.object_path, free.sha256, free.analyzer, free.active_model,
            free.wanted_model, free.config
    ), waiting AS (
        SELECT id FROM document
        WHERE id IN (SELECT document_id FROM taken WHERE status = 'CREATING')
            AND status = 'PENDING' AND deleted_at IS NULL
        ORDER BY id FOR UPDATE SKIP LOCKED
    ), running AS (
        UPDATE document d SET status = 'RUNNING', updated = clock_timestamp()
        FROM waiting WHERE d.id = waiting.id
    )
    SELECT * FROM taken
    """
)

LOST_MESSAGE = "The worker ended, or could not renew its lease, while it worked on this step."
"""Of an attempt that nobody reported: the next claim finds its lease still there."""

_RENEW = text(
    """
    UPDATE document_step SET lease_until = clock_timestamp() + :lease, due_at = clock_timestamp() + :lease + :slack
    WHERE id = :id AND generation = :generation AND lease_token = :token
    """
)

_RELEASE = text(
    """
    UPDATE document_step SET lease_token = NULL, lease_owner = NULL, lease_until = NULL, updated = clock_timestamp(),
        status = CASE WHEN status = 'CREATING' THEN 'PENDING' ELSE 'DELETING' END,
        attempt = attempt - 1, due_at = clock_timestamp() + :slack
    WHERE id = :id AND generation = :generation AND lease_token = :token
    """
)

_HOLDER = text(
    """
    SELECT s.generation, s.status, s.attempt, d.deleted_at IS NOT NULL AS deleted,
        greatest(extract(epoch FROM s.lease_until - clock_timestamp()), 0)::float AS leased_for
    FROM document_step s JOIN document d ON d.id = s.document_id WHERE s.id = :id
    """
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A step that a worker asks for; ``token`` will be its proof."""

    id: str
    generation: int
    document_id: str
    token: str
    removing: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """What a step works on: facts of its document and collection at the time of the claim.

    ``wanted_model`` is the embedding model that vectors are made for beside the active one's.
    """

    name: str
    object_path: str
    sha256: str
    analyzer: str
    active_model: str
    wanted_model: str | None
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """A leased step; ``attempt`` counts this one."""

    row: StepRow
    subject: Subject
    token: str
    attempt: int
    failures: int
    served_generation: int | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Holder:
    """Why a step could not be taken: ``leased_for`` is the rest of another worker's lease in seconds.

    ``deleted`` is the document's.
    """

    generation: int
    status: str
    attempt: int
    deleted: bool
    leased_for: float


async def take(engine: AsyncEngine, wanted: Sequence[Wanted], policy: WorkPolicy, *, owner: str) -> list[Taken | None]:
    """In the order asked; None where the step is settled, superseded, leased, deleted or out of attempts."""
    parameters = {
        "ids": [w.id for w in wanted],
        "generations": [w.generation for w in wanted],
        "documents": [w.document_id for w in wanted],
        "tokens": [w.token for w in wanted],
        "removing": [w.removing for w in wanted],
        "owner": owner,
        "lease": policy.lease,
        "slack": LEASE_SLACK,
        "lost": LOST_MESSAGE,
        "max_attempts": policy.max_attempts,
    }
    async with autocommit(engine) as conn:
        rows = (await conn.execute(_TAKE, parameters)).mappings().all()
    taken = {row["lease_token"]: _taken(dict(row)) for row in rows}
    return [taken.get(w.token) for w in wanted]


def _taken(values: dict[str, Any]) -> Taken:
    return Taken(
        StepRow(**{name: values[name] for name in STEP_COLUMNS.split(", ")}),
        Subject(**{name: values[name] for name in Subject.__dataclass_fields__}),
        values["lease_token"],
        values["attempt"],
        values["failures"],
        values["served_generation"],
        values["data"],
    )


async def renew(engine: AsyncEngine, row: StepRow, token: str, policy: WorkPolicy) -> bool:
    """False when the step is not this worker's any more."""
    parameters = {"id": row.id, "generation": row.generation, "token": token}
    async with autocommit(engine) as conn:
        renewed = await conn.execute(_RENEW, {**parameters, "lease": policy.lease, "slack": LEASE_SLACK})
    return bool(renewed.rowcount)


async def release(engine: AsyncEngine, row_id: str, generation: int, token: str) -> None:
    """The next worker need not wait for the lease to end, and this attempt is not counted."""
    parameters = {"id": row_id, "generation": generation, "token": token, "slack": LEASE_SLACK}
    async with autocommit(engine) as conn:
        await conn.execute(_RELEASE, parameters)


async def holder(engine: AsyncEngine, row_id: str) -> Holder | None:
    """None when the step is gone."""
    async with autocommit(engine) as conn:
        row = (await conn.execute(_HOLDER, {"id": row_id})).one_or_none()
    return None if row is None else Holder(**row._mapping)
