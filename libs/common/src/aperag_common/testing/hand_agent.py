"""An agent that a test plays: it claims turns, tells what happens in them and ends them as the agent service does."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.events.commands import RunTurn, TurnData
from aperag_common.live.events import TurnEventKind
from aperag_common.live.publisher import TurnPublisher
from aperag_common.live.sender import Sender
from aperag_common.work.driven_tables import TURN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.work.driven import DrivenClaim, DrivenRows

REFERENCE = {"text": "Steep for three minutes.", "score": 0.8, "metadata": {"document_id": "doc1"}}


@dataclass(slots=True)
class HeldTurn:
    """A turn as its agent holds it."""

    claim: DrivenClaim
    told: TurnPublisher

    @property
    def credential(self) -> str:
        return f"turn.{self.claim.row.id}.{self.claim.token}"

    async def say(self, text: str) -> None:
        await self.told.put({"type": TurnEventKind.MESSAGE, "data": {"text": text}})

    async def end(self, kind: TurnEventKind = TurnEventKind.STOP, outcome: str = "answered") -> None:
        """The row first, then the readers, as the agent does."""
        parts = await self.told.settled()
        if kind is TurnEventKind.ERROR:
            parts = [*parts, {"part_id": "e", "type": "error", "data": BROKEN, "timestamp": 1.0}]
        answer = "".join(part["data"]["text"] for part in parts if part["type"] == "message")
        async with self.claim.finish() as ending:
            await ending.conn.execute(
                text(
                    """
                    UPDATE turn SET answer = :answer, parts = CAST(:parts AS jsonb), outcome = :outcome,
                        usage = '{"requests": 1}' WHERE id = :id
                    """
                ),
                {"answer": answer, "parts": json.dumps(parts), "outcome": outcome, "id": self.claim.row.id},
            )
        data = BROKEN if kind is TurnEventKind.ERROR else {"outcome": outcome, "usage": {"requests": 1}}
        await self.told.put({"type": kind, "data": data})


BROKEN = {"code": "MODEL_FAILED", "message": "The model does not answer."}


@dataclass(slots=True)
class HandAgent:
    """Claims and runs turns as the agent service does, when a test says so."""

    engine: AsyncEngine
    rows: DrivenRows
    bus: Bus

    @asynccontextmanager
    async def holding(self, turn_id: str) -> AsyncIterator[HeldTurn]:
        async with self.engine.connect() as conn:
            row = (await conn.execute(text("SELECT owner, generation FROM turn WHERE id = :id"), {"id": turn_id})).one()
        data = TurnData(row_id=turn_id, generation=row.generation)
        command = RunTurn(source="tests", type=RunTurn.type_name, subject=turn_id, owner=row.owner, data=data)
        async with (
            self.rows.claim(TURN, command) as claim,
            TurnPublisher(Sender(self.bus.nc), turn_id, await self._begin(claim), beat=0.2) as told,
        ):
            yield HeldTurn(claim, told)

    async def _begin(self, claim: DrivenClaim) -> int:
        async with self.engine.begin() as conn:
            run = await conn.execute(
                text("UPDATE turn SET run = run + 1 WHERE id = :id RETURNING run"), {"id": claim.row.id}
            )
            return int(run.scalar_one())

    async def answer(self, turn_id: str, *words: str) -> None:
        async with self.holding(turn_id) as held:
            for word in words:
                await held.say(word)
            await held.told.put({"type": "references", "data": {"items": [REFERENCE]}})
            await held.end()
