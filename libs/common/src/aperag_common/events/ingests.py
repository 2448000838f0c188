"""Facts about the events that other services send."""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events.fact import Fact, IngestData
from aperag_common.services import Service


class IngestCompleted(Fact):
    """An event of another service was carried out; a document that it changed is searchable after ``document.indexed``."""

    type_name: ClassVar[str] = "ingest.completed"
    makers = frozenset({Service.API})
    data: IngestData


class IngestFailed(Fact):
    """An event of another service was refused, with the reason."""

    type_name: ClassVar[str] = "ingest.failed"
    makers = frozenset({Service.API})
    data: IngestData


FACTS: tuple[type[Fact], ...] = (IngestCompleted, IngestFailed)
