"""The claims of one process: what is asked for while a claim is under way is claimed together with the next one."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from aperag_work import leases
from aperag_work.batching import Batcher
from aperag_work.database import FAILURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_work.database import Database
    from aperag_work.handling import Handling
    from aperag_work.job import Job
    from aperag_work.leases import Lease
    from aperag_work.policy import WorkPolicy

log = structlog.get_logger(__name__)

INCARNATION_LENGTH = 8


class Claims:
    """``instance`` is shown as the lease's owner; ``incarnation`` begins every token."""

    def __init__(self, database: Database, policy: WorkPolicy, instance: str, *, incarnation: str = "") -> None:
        self._database = database
        self._policy = policy
        self._instance = instance
        self.incarnation = (incarnation or secrets.token_hex(INCARNATION_LENGTH // 2))[:INCARNATION_LENGTH]
        self._under_way: dict[str, Batcher[Sequence[leases.ClaimRequest], list[Lease | None]]] = {}

    async def claim(self, handling: Handling, asked: Sequence[leases.ClaimRequest]) -> list[Lease | None]:
        """What is asked for while a claim is under way is claimed together with the next one."""
        subject = handling.work.subject
        if subject not in self._under_way:
            self._under_way[subject] = Batcher(partial(self._claim_all, handling))
        claiming = self._under_way[subject].submit(asked)
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The claim may be under way: what it takes would be held until its lease ends.
            await asyncio.shield(self._unclaim(claiming))
            raise

    async def _claim_all(
        self, handling: Handling, groups: Sequence[Sequence[leases.ClaimRequest]]
    ) -> list[list[Lease | None]]:
        policy = self._policy.of_work(handling.work.retry)
        asked = [it for group in groups for it in group]
        async with self._database.relaxed.acquire() as conn:
            claimed = iter(await leases.claim(conn, asked, handling.aggregate, policy, owner=self._instance))
        return [list(islice(claimed, len(group))) for group in groups]

    async def _unclaim(self, claiming: asyncio.Future[list[Lease | None]]) -> None:
        await asyncio.wait([claiming])
        if not claiming.cancelled() and claiming.exception() is None:
            for lease in claiming.result():
                if lease is not None:
                    await self.give_back(lease)

    async def reclaim(self, job: Job) -> bool:
        """A claim that PostgreSQL forgot when it was killed: the job is open and nobody's. Take it with the same token."""
        async with self._database.durable.acquire() as conn:
            found = (await leases.find(conn, [job.row.id])).get(job.row.id)
            if found is None or found.leased:
                return False
            asked = leases.ClaimRequest(job.row.id, job.row.generation, job.token)
            policy = self._policy.of_work(job.handling.work.retry)
            [lease] = await leases.claim(conn, [asked], job.handling.aggregate, policy, owner=self._instance)
        if lease is not None:
            log.warning("job.reclaimed", job_id=job.row.id)
        return lease is not None

    async def found(self, refused: Sequence[leases.ClaimRequest]) -> dict[str, leases.Unclaimed]:
        async with self._database.relaxed.acquire() as conn:
            return await leases.find(conn, [it.id for it in refused])

    async def renew(self, jobs: Sequence[Job]) -> list[Job]:
        """Those whose lease is gone. A missed renewal costs a possible second attempt, not correctness: the fence decides."""
        if not jobs:
            return []
        try:
            async with self._database.relaxed.acquire() as conn:
                held = await leases.renew(conn, [job.lease for job in jobs], self._policy)
            missing = [job for job in jobs if job.token not in held and not job.lost and not job.ending_begun]
            return [job for job in missing if not await self.reclaim(job)]
        except FAILURES as err:
            log.warning("leases.unrenewed", jobs=len(jobs), error=repr(err))
            return []

    async def release_all(self, incarnation: str) -> int:
        """Of a process that is dead; how many jobs it held."""
        try:
            async with self._database.durable.acquire() as conn:
                released = await leases.release_incarnation(conn, incarnation[:INCARNATION_LENGTH])
        except FAILURES as err:
            log.warning("leases.unreleased", error=repr(err))  # they end by themselves
            return 0
        if released:
            log.info("leases.released", incarnation=incarnation, jobs=released)
        return released

    async def give_back(self, lease: Lease) -> None:
        """At shutdown."""
        try:
            async with self._database.relaxed.acquire() as conn:
                await leases.release(conn, lease)
        except FAILURES as err:
            log.warning("lease.unreleased", job_id=lease.row.id, error=repr(err))

    def asked(self, row_id: str, generation: int) -> leases.ClaimRequest:
        return leases.ClaimRequest(row_id, generation, self.incarnation + secrets.token_hex(12))
