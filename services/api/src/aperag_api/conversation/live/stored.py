"""A turn as its row tells it, in events: for whoever comes when nobody tells it live any more; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_common.db.models.base import JobStatus, is_open
from aperag_common.db.models.turn import TurnOutcome
from aperag_common.live.events import TurnEvent, TurnEventKind
from aperag_common.live.log import TurnLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GONE = "TURN_NOT_FOUND"
UNKNOWN = "TURN_FAILED"


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """Columns of ``turn``; ``ended_at`` is in seconds since 1970.

    The last part of a turn that ended with an error says which: ``{code, message}``.
    """

    status: str
    run: int
    outcome: str | None = None
    parts: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[str, Any] | None = None
    error_code: str | None = None
    error_message: str | None = None
    ended_at: float = 0.0

    @property
    def is_open(self) -> bool:
        return is_open(self.status)


def log_of(turn: StoredTurn) -> TurnLog:
    """Everything from START to the end, numbered by its place in the row."""
    run = max(turn.run, 1)
    log = TurnLog(run)
    told: list[tuple[TurnEventKind, Mapping[str, Any], float]] = [
        (TurnEventKind.START, {}, turn.parts[0]["timestamp"] if turn.parts else turn.ended_at)
    ]
    told += [
        (TurnEventKind(part["type"]), part["data"], part["timestamp"])
        for part in turn.parts
        if part["type"] != TurnEventKind.ERROR
    ]
    if not turn.is_open:
        told.append((*_ending(turn), turn.ended_at))
    for seq, (kind, data, at) in enumerate(told):
        log.append(TurnEvent(run, seq, kind, data, at, stored=True))
    return log


def _ending(turn: StoredTurn) -> tuple[TurnEventKind, Mapping[str, Any]]:
    if turn.status == JobStatus.FAILED:
        message = turn.error_message or "The answer could not be made."
        return TurnEventKind.ERROR, {"code": turn.error_code or UNKNOWN, "message": message}
    if turn.outcome == TurnOutcome.FAILED:
        said = [part["data"] for part in turn.parts if part["type"] == TurnEventKind.ERROR]
        return TurnEventKind.ERROR, said[-1] if said else {"code": UNKNOWN, "message": "The answer could not be made."}
    return TurnEventKind.STOP, {"outcome": turn.outcome or TurnOutcome.ANSWERED, "usage": turn.usage or {}}


def gone() -> TurnLog:
    """Of a turn that was deleted while somebody followed it."""
    log = TurnLog(1)
    log.append(TurnEvent(1, 0, TurnEventKind.START, {}, 0.0, stored=True))
    data = {"code": GONE, "message": "This chat was deleted."}
    log.append(TurnEvent(1, 1, TurnEventKind.ERROR, data, 0.0, stored=True))
    return log
