"""Accepting an upload in one statement, where nothing about it needs a second look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from aperag_api.access.quotas.decide import BUILT_IN
from aperag_api.access.quotas.repository import DEFAULTS, INITIAL
from aperag_common.db.models import CollectionStatus, QuotaType
from aperag_work.accepting import FIRST_OF_CONDITION, Condition
from aperag_work.scheduler import ScheduleContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_common.db.models import Lane
    from aperag_common.jobs.steps import StepKind
    from aperag_work.accepting import NewDocument
    from aperag_work.database import Pool
    from aperag_work.scheduler import TaskScheduler


def _limit(quota_type: QuotaType) -> str:
    """The user's own, else the installation's, else the built-in one, as they stand when the statement runs."""
    defaults = ", ".join(
        f"(SELECT (value::jsonb ->> '{quota_type}')::bigint FROM setting WHERE name = '{name}')"
        for name in (DEFAULTS, INITIAL)
    )
    own = f"(SELECT quota_limit FROM user_quota WHERE user_id = $1 AND quota_type = '{quota_type}')"
    return f"coalesce({own}, {defaults}, {BUILT_IN[quota_type]})"


# Locks in the order of all: quota, collection. The bound of what there is has to fit into both limits; where it does not,
# the documents have to be counted, and that needs a look of its own under these locks.
_WITHIN_QUOTA = Condition.of(
    "accept an upload",
    f"""
    taken AS (
        UPDATE user_quota SET at_most = at_most + ${FIRST_OF_CONDITION}::bigint
        WHERE user_id = $1 AND quota_type = '{QuotaType.DOCUMENTS}'
            AND at_most + ${FIRST_OF_CONDITION}::bigint
                <= least({_limit(QuotaType.DOCUMENTS)}, {_limit(QuotaType.DOCUMENTS_PER_COLLECTION)})
            AND EXISTS (SELECT FROM collection
                        WHERE id = $10::text AND owner = $1 AND status = '{CollectionStatus.ACTIVE}')
        RETURNING 1
    ), allowed AS (
        SELECT 1 FROM collection WHERE id = $10::text AND owner = $1 AND status = '{CollectionStatus.ACTIVE}'
            AND EXISTS (SELECT FROM taken) FOR SHARE
    )
    """,
)


async def accept_at_once(
    pool: Pool, scheduler: TaskScheduler, documents: Sequence[NewDocument], kinds: Sequence[StepKind], lane: Lane
) -> ScheduleContext | None:
    """A transaction of its own. None, and nothing done, where a name is taken, the quota has to be counted or is used up,
    or the collection is not there to be added to.
    """
    new = {document.id: document for document in documents}
    if len({document.name for document in documents}) < len(documents):
        return None
    async with pool.acquire() as conn:
        context = ScheduleContext(conn, lane, _WITHIN_QUOTA.given(len(documents)), new)
        try:
            task_id = await scheduler.schedule_create_index(documents[0].id, kinds, context)
        except asyncpg.UniqueViolationError:
            return None
    return context if task_id is not None else None
