"""Which letters a request means, and where its next part begins; pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.jobs.kind import kinds

if TYPE_CHECKING:
    from datetime import timedelta

    from aperag_api.operations.dead_letters.schemas import Chosen

HOW = "Give ids, or all: true, or at least one filter, and only one of the three"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters that all apply; None is no filter. A step that no job has is refused: no letter would ever fit it."""

    ids: tuple[uuid.UUID, ...] | None = None
    code: str | None = None
    step: str | None = None
    owner: str | None = None
    collection_id: str | None = None
    document_id: str | None = None
    redriven: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    older_than: timedelta | None = None

    def __post_init__(self) -> None:
        known = sorted(kind.shown for kind in kinds())
        if self.step is not None and self.step not in known:
            message = f"There is no step {self.step!r}; give one of {', '.join(known)}"
            raise errors.InvalidParameter(message)


@dataclass(frozen=True, slots=True)
class Cursor:
    """``asked`` bounds the whole request: it leaves out letters that its own requeues cause."""

    asked: datetime
    created: datetime
    id: uuid.UUID

    def __str__(self) -> str:
        return f"{self.asked.isoformat()}/{self.created.isoformat()}/{self.id}"

    @classmethod
    def parse(cls, token: str) -> Cursor:
        try:
            asked, created, id_ = token.split("/")
            cursor = cls(datetime.fromisoformat(asked), datetime.fromisoformat(created), uuid.UUID(id_))
            known = cursor.asked.tzinfo is not None and cursor.created.tzinfo is not None
        except ValueError:
            known = False
        if not known:
            message = "after is not what an earlier answer gave as next: leave it out to begin anew"
            raise errors.InvalidParameter(message)
        return cursor


def chosen(body: Chosen) -> Selection:
    """Raises ``InvalidParameter`` where the body names no letters, or in more than one way."""
    filters = {
        name: value
        for name in Selection.__dataclass_fields__
        if name != "ids" and (value := getattr(body, name, None)) is not None
    }
    if sum((body.ids is not None, body.all, bool(filters))) != 1:
        raise errors.InvalidParameter(f"Which dead letters are meant is not clear. {HOW}.")
    # Each once, in the order given.
    ids = tuple(dict.fromkeys(body.ids)) if body.ids is not None else None
    return Selection(ids=ids, **filters)
