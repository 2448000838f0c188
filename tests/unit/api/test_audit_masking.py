"""What the audit log keeps of a request: no secrets, nothing long, only what PostgreSQL can hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aperag_api.identity.audit.decide import (
    ResourceType,
    complaint_of,
    created_in,
    is_audited,
    never_audited,
    resource_of,
)
from aperag_api.kernel.masking import CUT, LONGEST, MASK, MOST_CHARACTERS, MOST_ENTRIES, clean, masked

SECRET = "planted-7f3a9c"


@pytest.mark.parametrize(
    "name",
    [
        "password", "old_password", "newPassword", "PASSWD", "secret_access_key", "app_secret", "token",
        "mineru_api_token", "api_key", "apiKey", "Authorization", "x-api-key", "credentials", "Cookie", "client_secret",
        "passphrase", "private_key", "seed", "refresh_token", "access_key_id",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"a": SECRET}, {"a": [{"b": SECRET}]}, 12345])
def test_what_a_name_says_is_secret_is_masked_whole_however_deep(name: str, value: Any) -> None:
    kept = masked({"config": [{"source": {name: value}}], "title": "t"})
    assert kept == {"config": [{"source": {name: MASK}}], "title": "t"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my key is sk-0123456789abcdef0123456789abcdef!", f"my key is {MASK}!"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", MASK),
        ("Bearer abcdef", f"Bearer {MASK}"),
        ("https://user:geheim@example.org/x", f"https://{MASK}@example.org/x"),
        ("https://example.org/x", "https://example.org/x"),
        ("a\0b", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("risk-free", "risk-free"),
    ],
)
def test_credentials_known_by_their_form_are_masked_wherever_they_stand(text: str, expected: str) -> None:
    assert clean(text) == expected
    assert masked({"description": text}) == {"description": expected}


def test_long_values_are_cut_and_many_are_left_out() -> None:
    assert len(masked({"a": "x" * 5000})["a"]) == LONGEST
    assert masked(list(range(MOST_ENTRIES + 1))) == [*range(MOST_ENTRIES), CUT]
    many = masked({f"n{n}": 1 for n in range(MOST_ENTRIES + 1)})
    assert (len(many), many[CUT]) == (MOST_ENTRIES + 1, CUT)
    nested: Any = "x"
    for _ in range(1000):
        nested = [nested]
    assert CUT in json.dumps(masked(nested), ensure_ascii=False)
    assert len(json.dumps(masked([["x" * 1000] * 50] * 50))) < 2 * MOST_CHARACTERS


def test_what_is_empty_is_left_out() -> None:
    assert masked({"a": None, "b": "", "c": [], "d": {}, "e": 0, "f": False, "token": None}) == {"e": 0, "f": False}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(JSON)
def test_whatever_json_holds_is_kept_as_json_that_postgresql_can_hold(value: Any) -> None:
    kept = json.dumps(masked(value), allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in kept
    kept.encode()  # half of a surrogate pair has no encoding


@pytest.mark.parametrize(
    ("method", "template", "expected"),
    [
        ("POST", "/collections", True),
        ("PUT", "/collections/{collection_id}", True),
        ("DELETE", "/collections/{collection_id}/searches/{search_id}", True),
        ("POST", "/login", True),
        ("GET", "/collections", False),
        ("HEAD", "/collections", False),
        ("POST", "/collections/{collection_id}/searches", False),
        ("POST", "/web/search", False),
        ("POST", "/prompts/preview", False),
        ("PUT", "/prompts/user", True),
        ("GET", "/auth/{provider}/authorize", False),
        ("GET", "/auth/{provider}/callback", True),
        ("GET", "/admin/events", True),
        ("GET", "/events", False),
        ("GET", "/admin/queues", False),
    ],
)
def test_what_changes_something_is_audited_and_what_only_asks_is_not(
    method: str, template: str, *, expected: bool
) -> None:
    assert is_audited(method, template) is expected
    if expected:
        assert not never_audited(method, f"/api/v1{template}")


def test_openais_way_to_ask_is_audited_as_a_turn() -> None:
    assert not never_audited("POST", "/v1/chat/completions")
    assert is_audited("POST", "/v1/chat/completions")
    assert resource_of("/v1/chat/completions", {}) == (ResourceType.TURN, None)
    assert never_audited("GET", "/v1/models")
    assert never_audited("POST", "/mcp/")


@pytest.mark.parametrize(
    ("template", "parameters", "expected"),
    [
        ("/collections", {}, (ResourceType.COLLECTION, None)),
        ("/collections/{collection_id}", {"collection_id": "col1"}, (ResourceType.COLLECTION, "col1")),
        ("/collections/{collection_id}/sharing", {"collection_id": "col1"}, (ResourceType.COLLECTION, "col1")),
        ("/collections/{collection_id}/documents/confirm", {"collection_id": "col1"}, (ResourceType.DOCUMENT, None)),
        (
            "/collections/{collection_id}/documents/{document_id}/cancel",
            {"collection_id": "col1", "document_id": "doc1"},
            (ResourceType.DOCUMENT, "doc1"),
        ),
        ("/quotas/{user_id}", {"user_id": "user1"}, (ResourceType.QUOTA, "user1")),
        ("/admin/timers/{timer}/run", {"timer": "outbox"}, (ResourceType.TIMER, "outbox")),
        ("/nothing/known", {}, (None, None)),
    ],
)
def test_a_path_names_what_a_call_is_about(template: str, parameters: dict[str, str], expected: Any) -> None:
    assert resource_of(template, parameters) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"id": "col1"}, "col1"),
        ({"document_id": "doc1"}, "doc1"),
        ({"items": [{"id": "doc1"}]}, "doc1"),
        ({"items": [{"id": "doc1"}, {"id": "doc2"}]}, None),
        ({"id": 7}, None),
        ([], None),
        (None, None),
    ],
)
def test_an_answer_names_what_was_made_where_it_is_one_thing(answer: Any, expected: str | None) -> None:
    assert created_in(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"message": "no", "detail": "x"}, "no"),
        ({"detail": "Unauthorized"}, "Unauthorized"),
        ({"detail": [{"loc": ["body", "a"], "msg": "bad", "input": SECRET}]}, "body.a: bad"),
        ({"title": "Bad", "detail": "broken"}, "broken"),
        ({"detail": {"error_code": "MESSAGE_NOT_FOUND", "message": "nothing was said"}}, "nothing was said"),
        ({"error": {"message": "no such bot", "type": "not_found_error"}}, "no such bot"),
        ({}, None),
        ([], None),
    ],
)
def test_a_refusal_is_kept_in_its_own_words_without_what_it_echoes(answer: Any, expected: str | None) -> None:
    assert complaint_of(answer) == expected


def test_a_long_text_of_what_looks_like_a_token_costs_no_more_than_any_other() -> None:
    # Were each of its places tried as a beginning, this would take hours.
    assert clean("eyJ" * 1_000_000, 3_000_000).startswith("eyJeyJ")
