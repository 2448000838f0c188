"""What a requeue would do with a dead letter, and what a letter keeps, as tables."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from aperag_common.jobs.steps import StepKind
from aperag_work.requeue_rules import WHY, FailedJob, Letter, RequeueAnswer, Rerun, judge, payload_of, reruns

LETTER = Letter(uuid.uuid4(), "parse", "job1", 2, False, "doc1", "FAILED", 2, collection_deleted=False)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, RequeueAnswer.REDRIVEN),
        ({"kind": "index.vector"}, RequeueAnswer.REDRIVEN),
        ({"kind": "collection.purge", "document_id": None}, RequeueAnswer.REDRIVEN),
        ({"kind": "collection.summary", "document_id": None}, RequeueAnswer.REDRIVEN),
        ({"kind": "turn", "document_id": None}, RequeueAnswer.REDRIVEN),
        ({"redriven": True}, RequeueAnswer.ALREADY_REDRIVEN),
        ({"redriven": True, "status": None}, RequeueAnswer.ALREADY_REDRIVEN),
        ({"row_id": None}, RequeueAnswer.NO_COMMAND),
        ({"generation": None}, RequeueAnswer.NO_COMMAND),
        ({"status": None, "current_generation": None}, RequeueAnswer.GONE),
        ({"collection_deleted": True}, RequeueAnswer.GONE),
        ({"current_generation": 3}, RequeueAnswer.SUPERSEDED),
        ({"current_generation": 3, "status": "ACTIVE"}, RequeueAnswer.SUPERSEDED),
        ({"status": "ACTIVE"}, RequeueAnswer.NOT_FAILED),
        ({"status": "CREATING"}, RequeueAnswer.NOT_FAILED),
        ({"kind": "index.graph"}, RequeueAnswer.NO_WORKER),
        ({"kind": None}, RequeueAnswer.NO_WORKER),
    ],
)
def test_a_letter_applies_only_while_its_job_stands_failed_at_its_generation(
    changed: dict[str, object], verdict: RequeueAnswer
) -> None:
    assert judge(replace(LETTER, **changed)) is verdict  # type: ignore[arg-type]


def test_every_verdict_has_a_sentence() -> None:
    assert set(WHY) == set(RequeueAnswer)


def job(kind: str, document: str = "doc1", *, attempt: int = 1, code: str = "BUSY") -> FailedJob:
    return FailedJob(f"{document}-{kind}", document, kind, 2, attempt, code, f"because of {code}")


def letter(kind: str, document: str = "doc1") -> Letter:
    return replace(LETTER, id=uuid.uuid4(), kind=kind, row_id=f"{document}-{kind}", document_id=document)


PARSE, VECTOR, FULLTEXT = job("parse"), job("index.vector"), job("index.fulltext")
FELL = job("index.vector", attempt=0)
CANCELLED = job("index.vector", attempt=0, code="CANCELLED")


@pytest.mark.parametrize(
    ("letters", "failed", "again"),
    [
        ([], [PARSE], []),
        ([letter("parse")], [PARSE], [PARSE]),
        ([letter("index.vector")], [FULLTEXT, VECTOR], [VECTOR]),
        ([letter("index.vector"), letter("index.fulltext")], [VECTOR, FULLTEXT], [FULLTEXT, VECTOR]),
        ([letter("index.vector"), letter("index.vector")], [VECTOR], [VECTOR]),
        ([letter("parse")], [FELL, PARSE], [PARSE, FELL]),
        ([letter("parse")], [VECTOR, PARSE], [PARSE]),
        ([letter("parse")], [CANCELLED, PARSE], [PARSE]),
        ([letter("index.fulltext")], [FULLTEXT, FELL, PARSE], [PARSE, FULLTEXT, FELL]),
    ],
    ids=[
        "none",
        "parse",
        "one build",
        "two builds",
        "twice",
        "what fell",
        "not what failed",
        "not cancelled",
        "parse too",
    ],
)
def test_exactly_what_failed_is_run_again(
    letters: list[Letter], failed: list[FailedJob], again: list[FailedJob]
) -> None:
    assert [it for rerun in reruns(letters, failed) for it in rerun.jobs] == again


def test_there_is_one_rerun_per_document() -> None:
    letters = [letter("parse", "doc2"), letter("index.vector"), letter("parse", "doc1")]
    failed = [job("parse", "doc2"), VECTOR, PARSE]
    assert reruns(letters, failed) == [
        Rerun("doc1", (StepKind.PARSE, StepKind.VECTOR), (PARSE, VECTOR)),
        Rerun("doc2", (StepKind.PARSE,), (failed[0],)),
    ]


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"[]", {"undecodable": "[]"}),
        (b"nope", {"undecodable": "nope"}),
        (b"", {"undecodable": ""}),
        (rb'{"a": "\u0000"}', {"undecodable": '{"a": "\\u0000"}'}),
        (rb'{"a": "\ud800"}', {"undecodable": '{"a": "\\ud800"}'}),
        (b'{"a": NaN}', {"undecodable": '{"a": NaN}'}),
        (b'{"a": 1e400}', {"undecodable": '{"a": 1e400}'}),
        (b"[" * 20_000, {"undecodable": "[" * 20_000}),
        (b"a\x00b\xff", {"undecodable": "a\ufffdb\ufffd"}),
    ],
)
def test_a_body_is_kept_in_a_form_that_can_be_stored(body: bytes, kept: dict[str, object]) -> None:
    assert payload_of(body) == kept
