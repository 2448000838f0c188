"""What a dead letter keeps of its message, and what a requeue would do with it; pure."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aperag_common.db.models.base import JobStatus
from aperag_common.jobs.declared import PARSE
from aperag_common.jobs.kind import kinds
from aperag_common.jobs.steps import StepKind

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

KEPT_CHARACTERS = 100_000
"""Of a body that is no JSON object."""


class RequeueAnswer(StrEnum):
    """What a requeue does with a letter, or why nothing."""

    REDRIVEN = "redriven"
    ALREADY_REDRIVEN = "already_redriven"
    SUPERSEDED = "superseded"
    NOT_FAILED = "not_failed"
    GONE = "gone"
    NO_COMMAND = "no_command"
    NO_WORKER = "no_worker"
    UNKNOWN = "unknown"


WHY = {
    RequeueAnswer.REDRIVEN: "What it stands for is still given up, and can be run again.",
    RequeueAnswer.ALREADY_REDRIVEN: "It was redriven before; its task says how that went.",
    RequeueAnswer.SUPERSEDED: "A newer change of the same row has taken its place: a rebuild, a delete or a cancel.",
    RequeueAnswer.NOT_FAILED: "Its job is not given up: it is still worked on, or has ended well.",
    RequeueAnswer.GONE: "The document or the collection is deleted or gone.",
    RequeueAnswer.NO_COMMAND: "The message was no command, so there is nothing to run again; repair what published it.",
    RequeueAnswer.NO_WORKER: "No worker does this kind of work any more.",
    RequeueAnswer.UNKNOWN: "There is no such dead letter.",
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter beside the job that it is about, as both stand now; ``status`` is None where that job is gone, and with it all
    that is the job's.

    ``kind`` is the job's, ``document_id`` that of a document's job.
    """

    id: uuid.UUID
    kind: str | None
    row_id: str | None
    generation: int | None
    redriven: bool
    document_id: str | None
    status: str | None
    current_generation: int | None
    collection_deleted: bool
    subject_id: str = ""
    owner: str = ""
    collection_id: str | None = None
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job of a document that stands FAILED."""

    id: str
    document_id: str
    kind: str
    generation: int
    attempt: int
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Rerun:
    """``kinds`` of one document that are to be run again; ``jobs`` are the rows that stand for them now."""

    document_id: str
    kinds: tuple[StepKind, ...]
    jobs: tuple[FailedJob, ...]


def judge(letter: Letter) -> RequeueAnswer:
    """A job that stands FAILED at the letter's generation is given up; anything else has moved on."""
    if letter.redriven:
        return RequeueAnswer.ALREADY_REDRIVEN
    if letter.row_id is None or letter.generation is None:
        return RequeueAnswer.NO_COMMAND
    if letter.status is None or letter.collection_deleted:
        return RequeueAnswer.GONE
    if letter.current_generation != letter.generation:
        return RequeueAnswer.SUPERSEDED
    if letter.status != JobStatus.FAILED:
        return RequeueAnswer.NOT_FAILED
    return RequeueAnswer.REDRIVEN if letter.kind in {kind.name for kind in kinds()} else RequeueAnswer.NO_WORKER


def reruns(letters: Iterable[Letter], failed: Sequence[FailedJob]) -> list[Rerun]:
    """One per document of the ``letters``, which all apply; in the documents' order.

    A parse that failed is always among what is run again, and takes along the builds that fell with it.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for letter in letters:
        if letter.document_id is not None and letter.row_id is not None:
            wanted[letter.document_id].add(letter.row_id)
    return [_rerun(id_, rows, [it for it in failed if it.document_id == id_]) for id_, rows in sorted(wanted.items())]


def _rerun(document_id: str, rows: set[str], failed: Sequence[FailedJob]) -> Rerun:
    parse = next((job for job in failed if job.kind == PARSE.name), None)
    jobs = [job for job in failed if job.id in rows or job is parse or (parse and _fell_with(job, parse))]
    jobs.sort(key=lambda job: (job is not parse, job.kind))
    steps = {kind.job: kind for kind in StepKind}
    return Rerun(document_id, tuple(steps[job.kind] for job in jobs), tuple(jobs))


def _fell_with(job: FailedJob, parse: FailedJob) -> bool:
    """A build that waited for the parse ends with its reason, and has no letter of its own."""
    reason = (parse.error_code, parse.error_message)
    return job.attempt == 0 and (job.error_code, job.error_message) == reason


def payload_of(body: bytes) -> dict[str, Any]:
    """The message's body as it can be kept: jsonb holds no NUL, no half of a surrogate pair and no NaN."""
    decoded = body.decode(errors="replace")
    try:
        payload = None if "\\u0000" in decoded else json.loads(decoded, parse_constant=_refuse)
        json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        payload = None
    if isinstance(payload, dict):
        return payload
    return {"undecodable": decoded[:KEPT_CHARACTERS].replace("\x00", "\ufffd")}


def _refuse(constant: str) -> None:
    message = f"{constant} is no number in JSON"
    raise ValueError(message)
