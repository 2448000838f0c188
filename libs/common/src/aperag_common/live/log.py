"""What has happened in one run so far, kept so that a reader may begin or go on anywhere; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_common.live.events import GROWING, TERMINAL, TurnEvent, TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aperag_common.live.queue import Message

_FRAME = frozenset({TurnEventKind.START, *TERMINAL})
"""What a run begins and ends with; the row's other columns say it."""


@dataclass(slots=True)
class TurnLog:
    """Events of one run, in order and without a gap; ``run`` 0 is before any."""

    run: int = 0
    events: list[TurnEvent] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The number of the newest event, -1 without one."""
        return self.events[-1].seq if self.events else -1

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1].kind in TERMINAL

    def append(self, event: TurnEvent) -> None:
        """``event`` follows the newest one; it may stand for several pieces of a text."""
        self.events.append(event)

    def since(self, seq: int) -> list[TurnEvent]:
        """Everything that came after ``seq``, as it came."""
        return self.events[self._first_after(seq) :]

    def after(self, seq: int) -> list[TurnEvent]:
        """Everything that came after ``seq``; neighbouring pieces of one text as one event."""
        if self.last <= seq:
            return []
        if len(self.events) > 1 and self.events[-2].seq == seq:  # who follows live has all but the newest
            return self.events[-1:]
        return list(merged(self.since(seq)))

    def references(self) -> list[Mapping[str, Any]]:
        """What the answer rests on, so far."""
        return [item for event in self.events if event.kind is TurnEventKind.REFERENCES for item in event.data["items"]]

    def _first_after(self, seq: int) -> int:
        low, high = 0, len(self.events)
        while low < high:
            middle = (low + high) // 2
            if self.events[middle].seq <= seq:
                low = middle + 1
            else:
                high = middle
        return low


def parts_of(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """As the turn's row keeps them: without what only frames the run."""
    return [part_of(message) for message in messages if message["type"] not in _FRAME]


def part_of(message: Message) -> dict[str, Any]:
    return {
        "part_id": message["id"],
        "type": message["type"],
        "data": message["data"],
        "timestamp": message["timestamp"],
    }


def merged(events: Iterable[TurnEvent]) -> Iterable[TurnEvent]:
    """Pieces of one text that follow each other become one event, with the number of the last and the time of the first."""
    first: TurnEvent | None = None
    pieces: list[str] = []
    seq = -1
    for event in events:
        if first is not None and event.kind is first.kind:
            pieces.append(str(event.data["text"]))
            seq = event.seq
            continue
        if first is not None:
            yield _joined(first, seq, pieces)
        if event.kind in GROWING:
            first, pieces, seq = event, [str(event.data["text"])], event.seq
        else:
            first = None
            yield event
    if first is not None:
        yield _joined(first, seq, pieces)


def remainder(known: Sequence[TurnEvent], whole: Sequence[TurnEvent]) -> list[TurnEvent] | None:
    """What of ``whole`` is missing from ``known``, both merged; None where ``known`` is no beginning of it.

    Used to end a run that was followed live with what its row says: numbers and times are not compared.
    """
    if not known:
        return list(whole)
    before = len(known) - 1
    if len(known) > len(whole) or any(map(_differ, known[:before], whole)):
        return None
    grown = _grown(known[before], whole[before])
    return None if grown is None else [*grown, *whole[len(known) :]]


def _differ(have: TurnEvent, want: TurnEvent) -> bool:
    return (have.kind, have.data) != (want.kind, want.data)


def _grown(have: TurnEvent, want: TurnEvent) -> list[TurnEvent] | None:
    """What of ``want`` is missing from ``have``; None where one is not a beginning of the other."""
    if not _differ(have, want):
        return []
    if have.kind is not want.kind or have.kind not in GROWING:
        return None
    before, text = str(have.data["text"]), str(want.data["text"])
    if not text.startswith(before):
        return None
    return [TurnEvent(want.run, want.seq, want.kind, {"text": text[len(before) :]}, want.at, want.stored)]


def _joined(first: TurnEvent, seq: int, pieces: Sequence[str]) -> TurnEvent:
    return TurnEvent(first.run, seq, first.kind, {"text": "".join(pieces)}, first.at, first.stored)
