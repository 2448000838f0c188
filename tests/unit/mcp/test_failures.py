"""Failures of the gateway in words that an agent can act on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aperag_mcp.gateway.failures import failure_of

LEGACY = {"success": False, "error_code": "COLLECTION_NOT_FOUND", "code": 1101, "message": "Collection col1 not found"}
PROBLEM = {"status": 404, "detail": "Document doc1 not found", "error_code": "DOCUMENT_NOT_FOUND", "trace_id": None}
INVALID = {"detail": [{"type": "x", "loc": ["body", "vector_search", "topk"], "msg": "Input should be less"}]}
PROBLEM_INVALID = {
    "error_code": "VALIDATION_ERROR",
    "detail": "The request is not valid",
    "errors": [{"loc": ["body", "query"], "type": "string_too_long", "msg": "String is too long"}],
}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, LEGACY, "Collection col1 not found. Call list_collections for the ids of those there are."),
        (
            404,
            PROBLEM,
            "Document doc1 not found. Call list_documents with the collection's id for those there are.",
        ),
        (
            404,
            {"detail": "Not Found"},
            (
                "This gateway does not offer that: its version has no such route, or its address (APERAG_API_URL) is wrong."
                " Do without this tool."
            ),
        ),
        (401, {"detail": "Unauthorized"}, "The API key is not accepted. Send a valid one: keys can be revoked."),
        (
            403,
            {"error_code": "FORBIDDEN", "message": "This user may read and search only"},
            "This user may read and search only. Use the API key of a user who may do this.",
        ),
        (
            422,
            INVALID,
            "vector_search.topk: Input should be less. Change the arguments: the same call will be refused again.",
        ),
        (
            422,
            PROBLEM_INVALID,
            "query: String is too long. Change the arguments: the same call will be refused again.",
        ),
        (
            409,
            {"error_code": "DOCUMENT_NAME_CONFLICT", "detail": "a.md is there already."},
            "a.md is there already. Choose another name: documents are not overwritten.",
        ),
        (
            503,
            {"error_code": "UPSTREAM_UNAVAILABLE", "detail": "NATS does not answer", "trace_id": "ab12"},
            "The gateway could not do it: NATS does not answer (503, trace ab12). Try again later.",
        ),
    ],
)
def test_it_says_what_is_wrong_and_what_to_do(status: int, body: dict[str, Any], said: str) -> None:
    assert str(failure_of(status, json.dumps(body).encode(), {})) == said


def test_it_says_when_to_try_again() -> None:
    failure = failure_of(503, b'{"detail": "busy"}', {"retry-after": "7"})
    assert str(failure).endswith("Try again in 7 s.")


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"[1]", b"\xff\xfe"])
def test_an_answer_in_no_known_form_is_still_told(body: bytes) -> None:
    assert str(failure_of(502, body, {})).startswith("The gateway could not do it: ")


@pytest.mark.parametrize(
    ("status", "body", "missing"),
    [
        (404, b'{"detail": "Not Found"}', True),
        (404, b'{"detail": "Not Found", "error_code": "RESOURCE_NOT_FOUND"}', True),
        (405, b'{"detail": "Method Not Allowed"}', True),
        (404, json.dumps(LEGACY).encode(), False),
    ],
)
def test_a_route_that_is_missing_is_told_from_a_row_that_is(status: int, body: bytes, *, missing: bool) -> None:
    assert failure_of(status, body, {}).route_missing is missing
