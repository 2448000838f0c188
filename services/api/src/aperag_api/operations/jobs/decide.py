"""Which jobs a request means; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.jobs.declared import DOCUMENT
from aperag_common.jobs.kind import kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_api.operations.jobs.schemas import JobSelection, JobState

RETRIED = frozenset({DOCUMENT, "collection", "user"})
"""What failed jobs are about that are simply run again. A turn is asked again, a delivery or an event sent again."""
HOW = "Give all: true, or at least one filter, and only one of the two"


class Doing(StrEnum):
    RETRY = "retry"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters that all apply; None is no filter. A kind that no job has is refused: no job would ever fit it."""

    owner: str | None = None
    kind: str | None = None
    state: JobState | None = None
    collection_id: str | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        known = sorted(kind.shown for kind in kinds())
        if self.kind is not None and self.kind not in known:
            message = f"There is no kind {self.kind!r}; give one of {', '.join(known)}"
            raise errors.InvalidParameter(message)

    @property
    def kinds(self) -> list[str] | None:
        """Their names in the table."""
        return None if self.kind is None else [it.name for it in kinds() if it.shown == self.kind]


def chosen(body: JobSelection, doing: Doing, owner: str | None) -> Selection:
    """Raises ``InvalidParameter`` where the body names no jobs, names them twice, or names what this is not done to."""
    whose = owner or getattr(body, "owner", None)
    if body.all == any((body.kind, body.state, body.collection_id, body.code, whose if owner is None else None)):
        raise errors.InvalidParameter(f"Which jobs are meant is not clear. {HOW}.")
    selection = Selection(
        owner=whose, kind=body.kind, state=body.state, collection_id=body.collection_id, code=body.code
    )
    if selection.kinds and not set(selection.kinds) & set(reached(doing)):
        raise errors.InvalidParameter(f"Jobs of the kind {body.kind!r} cannot be {_DONE[doing]} here")
    if selection.state is not None and (selection.state == "failed") is (doing is Doing.CANCEL):
        raise errors.InvalidParameter(f"Jobs in the state {selection.state.value!r} cannot be {_DONE[doing]}")
    return selection


def parts(found: Sequence[tuple[str, str]], size: int) -> list[list[str]]:
    """Jobs in parts of about ``size``; those of one subject stay together, for they become one task."""
    made: list[list[str]] = []
    before = ""
    for subject, job in found:
        if not made or (len(made[-1]) >= size and subject != before):
            made.append([])
        made[-1].append(job)
        before = subject
    return made


def whole(found: Sequence[tuple[str, str]], most: int) -> tuple[Sequence[tuple[str, str]], str | None]:
    """What of ``found``, which are ``most`` where there are more, is of subjects that are there as a whole; and the last
    of these, where more follow.
    """
    if len(found) < most:
        return found, None
    kept = [it for it in found if it[0] != found[-1][0]]
    return (kept, kept[-1][0]) if kept else (found, found[-1][0])


_DONE = {Doing.RETRY: "retried", Doing.CANCEL: "cancelled"}


def reached(doing: Doing) -> Sequence[str]:
    """Kinds that this is done to: tasks are cancelled, and only documents have tasks."""
    aggregates = RETRIED if doing is Doing.RETRY else {DOCUMENT}
    return [kind.name for kind in kinds() if kind.aggregate in aggregates]
