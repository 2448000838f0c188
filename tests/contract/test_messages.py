"""Messages keep their shape: one golden JSON per type, read by today's classes and written by them unchanged."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aperag_common.events import commands, fact, facts
from aperag_common.events.envelope import Message

GOLDEN = Path(__file__).parent / "golden"
TYPES = (*commands.COMMANDS, *facts.FACTS)

STEP = {
    "row_id": "step0011223344556677",
    "generation": 2,
    "document_id": "doc0011223344556677",
    "collection_id": "col0011223344556677",
    "kind": "vector",
    "workflow_id": "wf0011223344556677",
}
DOCUMENT = {
    "document_id": "doc0011223344556677",
    "collection_id": "col0011223344556677",
    "revision": 7,
    "status": "FAILED",
    "name": "报告.pdf",
    "kind": "vector",
    "generation": 2,
    "workflow_id": "wf0011223344556677",
    "outcome": "PARTIAL",
    "error_code": "CORRUPT_DOCUMENT",
    "error_message": "unreadable",
}
DATA = {
    commands.StepData: STEP,
    commands.PurgeData: {"row_id": "col0011223344556677", "generation": 1, "collection_id": "col0011223344556677"},
    commands.UserPurgeData: {"row_id": "user0011223344556677", "generation": 1, "user_id": "user0011223344556677"},
    commands.SummaryData: {"row_id": "col0011223344556677", "generation": 3, "collection_id": "col0011223344556677"},
    commands.DeliveryData: {
        "row_id": "job0011223344556677",
        "generation": 1,
        "delivery_id": "whd00112233445566778899",
    },
    commands.TurnData: {"row_id": "turn0011223344556677", "generation": 1},
    fact.DocumentData: DOCUMENT,
    fact.CollectionData: {"collection_id": "col0011223344556677"},
    fact.CollectionStateData: {"collection_id": "col0011223344556677", "title": "茶"},
    fact.TurnStartedData: {"turn_id": "turn0011223344556677", "chat_id": "chat0011223344556677", "run": 2},
    fact.TurnEndedData: {
        "turn_id": "turn0011223344556677",
        "chat_id": "chat0011223344556677",
        "outcome": "failed",
        "error_code": "ANSWER_TOO_LONG",
        "error_message": "The answer grew too long.",
    },
    fact.UserData: {"user_id": "user0011223344556677"},
    fact.UserChangeData: {"user_id": "user0011223344556677", "changed": "quotas"},
    fact.ApiKeyData: {"key_id": "key0011223344556677"},
    fact.KeyRevokedData: {"key_id": "key0011223344556677", "reason": "revoked"},
    fact.SummarizedData: {"collection_id": "col0011223344556677", "generation": 3, "documents": 12},
    commands.ApplyIngestData: {"row_id": "job0011223344556677", "generation": 1, "ingest_id": "ing0011223344556677"},
    fact.IngestData: {
        "source": "/wiki",
        "id": "8f1a",
        "subject": "page/7",
        "collection_id": "col0011223344556677",
        "outcome": "replaced",
        "document_id": "doc0011223344556677",
        "workflow_id": "wf0011223344556677",
        "code": None,
        "message": None,
    },
    fact.WebhookData: {
        "webhook_id": "wh0011223344556677",
        "reason": "failing",
        "failing_since": "2026-01-02T03:04:05Z",
    },
    fact.DeadLetterData: {
        "dead_letter_id": "11111111-2222-3333-4444-555555555555",
        "consumer": "indexer-vector",
        "row_id": "step0011223344556677",
        "document_id": "doc0011223344556677",
        "code": "BUSY",
        "message": "no room",
    },
}


def sample(kind: type[Message]) -> Message:
    data = DATA[kind.model_fields["data"].annotation]  # type: ignore[index]
    return kind.model_validate(
        {
            "id": "11111111-2222-3333-4444-555555555555",
            "source": "tests",
            "type": kind.type_name,
            "subject": "doc0011223344556677",
            "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "owner": "user0011223344556677",
            "cause_id": "wf0011223344556677",
            "data": data,
        }
    )


@pytest.mark.parametrize("kind", TYPES, ids=lambda k: k.__name__)
def test_a_message_is_written_as_its_golden_file_says(kind: type[Message]) -> None:
    """A missing file is written; look at it, then commit it. A changed one is a breaking change: make a new type."""
    golden = GOLDEN / f"{kind.__name__}.json"
    written = json.loads(sample(kind).encode())
    if not golden.exists():
        golden.write_text(json.dumps(written, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        pytest.fail(f"{golden.name} was missing and has been written")
    assert written == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", TYPES, ids=lambda k: k.__name__)
def test_a_field_added_by_a_newer_publisher_is_ignored(kind: type[Message]) -> None:
    golden = json.loads((GOLDEN / f"{kind.__name__}.json").read_text(encoding="utf-8"))
    golden["added_later"] = 1
    golden["data"]["added_later"] = {"x": 1}
    assert kind.model_validate(golden) == sample(kind)


@pytest.mark.parametrize("kind", facts.FACTS, ids=lambda k: k.__name__)
def test_a_fact_is_a_cloudevent(kind: type[Message]) -> None:
    """Names of attributes are lower-case letters and digits, required ones are texts, and ``data`` is JSON."""
    told = json.loads(sample(kind).encode())
    assert [name for name in told if not re.fullmatch("[a-z0-9]{1,20}", name)] == []
    assert told["specversion"] == "1.0"
    assert all(isinstance(told[name], str) and told[name] for name in ("id", "source", "type"))
    assert datetime.fromisoformat(told["time"]).tzinfo is not None


def test_every_golden_file_has_its_class() -> None:
    assert {p.stem for p in GOLDEN.glob("*.json")} == {kind.__name__ for kind in TYPES}


def test_type_names_are_unique() -> None:
    names = [kind.type_name for kind in TYPES]
    assert len(names) == len(set(names))
