"""What a redrive would do with a dead letter, and what a letter keeps, as tables."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from aperag_common.work.letters import WHY, FailedStep, Letter, Rerun, Verdict, judge, payload_of, reruns

LETTER = Letter(uuid.uuid4(), "parse", "step1", 2, False, "doc1", "FAILED", 2, collection_deleted=False)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, Verdict.REDRIVEN),
        ({"kind": "vector"}, Verdict.REDRIVEN),
        ({"kind": "collection_purge", "document_id": None}, Verdict.REDRIVEN),
        ({"kind": "collection_summary", "document_id": None}, Verdict.REDRIVEN),
        ({"redriven": True}, Verdict.ALREADY_REDRIVEN),
        ({"redriven": True, "status": None}, Verdict.ALREADY_REDRIVEN),
        ({"row_id": None}, Verdict.NO_COMMAND),
        ({"generation": None}, Verdict.NO_COMMAND),
        ({"status": None, "current_generation": None}, Verdict.GONE),
        ({"collection_deleted": True}, Verdict.GONE),
        ({"current_generation": 3}, Verdict.SUPERSEDED),
        ({"current_generation": 3, "status": "ACTIVE"}, Verdict.SUPERSEDED),
        ({"status": "ACTIVE"}, Verdict.NOT_FAILED),
        ({"status": "CREATING"}, Verdict.NOT_FAILED),
        ({"kind": "graph"}, Verdict.NO_WORKER),
        ({"kind": None}, Verdict.NO_WORKER),
    ],
)
def test_a_letter_applies_only_while_its_row_stands_failed_at_its_generation(
    changed: dict[str, object], verdict: Verdict
) -> None:
    assert judge(replace(LETTER, **changed)) is verdict  # type: ignore[arg-type]


def test_every_verdict_has_a_sentence() -> None:
    assert set(WHY) == set(Verdict)


def step(kind: str, document: str = "doc1", *, attempt: int = 1, code: str = "BUSY") -> FailedStep:
    return FailedStep(f"{document}-{kind}", document, kind, 2, attempt, code, f"because of {code}")


def letter(kind: str, document: str = "doc1") -> Letter:
    return replace(LETTER, id=uuid.uuid4(), kind=kind, row_id=f"{document}-{kind}", document_id=document)


PARSE, VECTOR, FULLTEXT = step("parse"), step("vector"), step("fulltext")
FELL = step("vector", attempt=0)
CANCELLED = step("vector", attempt=0, code="CANCELLED")


@pytest.mark.parametrize(
    ("letters", "failed", "again"),
    [
        ([], [PARSE], []),
        ([letter("parse")], [PARSE], [PARSE]),
        ([letter("vector")], [FULLTEXT, VECTOR], [VECTOR]),
        ([letter("vector"), letter("fulltext")], [VECTOR, FULLTEXT], [FULLTEXT, VECTOR]),
        ([letter("vector"), letter("vector")], [VECTOR], [VECTOR]),
        ([letter("parse")], [FELL, PARSE], [PARSE, FELL]),
        ([letter("parse")], [VECTOR, PARSE], [PARSE]),
        ([letter("parse")], [CANCELLED, PARSE], [PARSE]),
        ([letter("fulltext")], [FULLTEXT, FELL, PARSE], [PARSE, FULLTEXT, FELL]),
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
    letters: list[Letter], failed: list[FailedStep], again: list[FailedStep]
) -> None:
    assert [kind for rerun in reruns(letters, failed) for kind in rerun.steps] == again


def test_there_is_one_rerun_per_document() -> None:
    letters = [letter("parse", "doc2"), letter("vector"), letter("parse", "doc1")]
    failed = [step("parse", "doc2"), VECTOR, PARSE]
    assert reruns(letters, failed) == [
        Rerun("doc1", ("parse", "vector"), (PARSE, VECTOR)),  # type: ignore[arg-type]
        Rerun("doc2", ("parse",), (failed[0],)),  # type: ignore[arg-type]
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
