"""How a worker ends steps of one kind: in a fenced transaction each, or together while there is a backlog."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aperag_common.work.batching import Batcher, Held
from aperag_common.work.claims import UNREACHABLE
from aperag_common.work.finish import Ending, Finishing, finish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.change import Change
    from aperag_common.work.claims import Claims, StepClaim
    from aperag_common.work.dispatch import StepRow

T = TypeVar("T")

BACKLOG = 3
"""Steps of a kind still at work in this process from which on it pays to let them end together."""

MOST_ROWS = 2000
"""Of a shared transaction: every document in it stays locked until all of them are written."""


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """A step whose fence held, and what its work made."""

    row: StepRow
    result: T


@dataclass(frozen=True, slots=True)
class _Asked(Generic[T]):
    ending: Ending
    result: T
    rows: int


class Finisher(Generic[T]):
    """Ends steps of one kind: ``write`` puts their rows into the fenced transaction that settles them.

    Steps that end close together while there is a backlog share a transaction, so ``write`` takes many results.
    """

    def __init__(
        self, claims: Claims, write: Callable[[AsyncConnection, Sequence[Finished[T]]], Awaitable[None]]
    ) -> None:
        self._claims = claims
        self._write = write
        self._batcher: Batcher[_Asked[T], Change | None] = Batcher(
            self._settle,
            expected=self._more_end_soon,
            weight=lambda asked: asked.rows,
            heaviest=MOST_ROWS,
            unreachable=UNREACHABLE,
        )
        self._kind = ""

    async def finish(
        self,
        step: StepClaim,
        result: T,
        *,
        rows: int = 1,
        served_generation: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """``served_generation`` is what searches see from now on (default: this generation).

        ``rows`` is about how many ``write`` makes of ``result``. Raises ``Settled`` when a newer generation or another
        worker has taken over: nothing is written then.
        """
        self._kind = step.row.kind
        step.ending_begun = True
        ended = self._batcher.submit(_Asked(step.ending(served_generation, data), result, rows))
        try:
            change = await asyncio.shield(ended)
        except asyncio.CancelledError:
            # At shutdown; what may be committed by then is told to the others all the same.
            await asyncio.wait([ended])
            if not ended.cancelled() and ended.exception() is None:
                self._deliver(ended.result())
            raise
        if change is None:
            raise step.superseded()
        self._deliver(change)

    def _deliver(self, change: Change | None) -> None:
        if change is not None:
            self._claims.courier.deliver(change)

    def _more_end_soon(self, waiting: int) -> bool:
        """A person who waits for one document is not kept waiting for the sake of a few."""
        held = sum(claim.row.kind == self._kind for claim in self._claims.held.values())
        return held - waiting >= BACKLOG

    async def _settle(self, asked: Sequence[_Asked[T]]) -> list[Change | Held | None]:
        """A step whose document somebody else holds is not waited for, where others would wait with it."""
        async with self._claims.engine.begin() as conn:
            finishings = await finish(conn, [a.ending for a in asked], wait=len(asked) == 1)
            settled = [(a, f) for a, f in zip(asked, finishings, strict=True) if isinstance(f, Finishing)]
            changes: Iterator[Change] = iter(())
            if settled:
                await self._write(conn, [Finished(f.row, a.result) for a, f in settled])
                changes = iter(await self._claims.conclude(conn, [f for _, f in settled]))
        return [next(changes) if isinstance(f, Finishing) else f for f in finishings]
