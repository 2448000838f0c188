"""Facts about chat turns."""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events.fact import Fact, TurnEndedData, TurnStartedData
from aperag_common.services import Service


class TurnStarted(Fact):
    """An agent began to answer a question. Where an agent died, another one begins the turn anew."""

    type_name: ClassVar[str] = "turn.started"
    makers = frozenset({Service.AGENT})
    data: TurnStartedData


class TurnFinished(Fact):
    """A turn ended: its question was answered or cancelled."""

    type_name: ClassVar[str] = "turn.finished"
    makers = frozenset({Service.API, Service.AGENT})
    data: TurnEndedData


class TurnFailed(Fact):
    """A turn ended without an answer; ``error_code`` says why."""

    type_name: ClassVar[str] = "turn.failed"
    makers = frozenset({Service.AGENT})
    data: TurnEndedData


FACTS: tuple[type[Fact], ...] = (TurnStarted, TurnFinished, TurnFailed)
