"""What is published of a turn: that a run of it began, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_agent.turns import repository
from aperag_common.db.models.turn import TurnOutcome
from aperag_common.events import turns
from aperag_common.events.fact import TurnEndedData, TurnStartedData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_agent.failures import TurnFailed
    from aperag_agent.turns.repository import TurnRow
    from aperag_common.events.fact import Fact
    from aperag_work.aggregate import FailedAttempt
    from aperag_work.database import Connection

SOURCE = "agent"


def started(turn: TurnRow) -> Fact:
    data = TurnStartedData(turn_id=turn.id, chat_id=turn.chat_id, run=turn.run)
    return turns.TurnStarted.of(data, source=SOURCE, subject=turn.id, owner=turn.owner)


def ended(turn: TurnRow, outcome: TurnOutcome, failure: TurnFailed | None) -> Fact:
    code, message = (None, None) if failure is None else (failure.code, failure.message)
    return _ended(turn.id, turn.chat_id, turn.owner, outcome, code, message)


async def gave_up(conn: Connection, failing: FailedAttempt) -> Sequence[Fact]:
    """Nothing where the turn went with its chat meanwhile."""
    row = failing.row
    chat_id = await repository.chat_of(conn, row.subject_id)
    if chat_id is None:
        return ()
    code, message = failing.failure.error_code, failing.failure.message
    return (_ended(row.subject_id, chat_id, row.owner, TurnOutcome.FAILED, code, message),)


def _ended(turn_id: str, chat_id: str, owner: str, outcome: TurnOutcome, code: str | None, message: str | None) -> Fact:
    data = TurnEndedData(
        turn_id=turn_id, chat_id=chat_id, outcome=outcome.value, error_code=code, error_message=message
    )
    fact = turns.TurnFailed if outcome is TurnOutcome.FAILED else turns.TurnFinished
    return fact.of(data, source=SOURCE, subject=turn_id, owner=owner)
