"""Identifiers: a prefix that names the kind and 16 random hex characters, at most 24 in all.

Ids contain no dots, so they may stand as one token of a live subject.
"""

from __future__ import annotations

import secrets
from typing import NewType

UserId = NewType("UserId", str)
ApiKeyId = NewType("ApiKeyId", str)
CollectionId = NewType("CollectionId", str)
DocumentId = NewType("DocumentId", str)
JobId = NewType("JobId", str)
WorkflowId = NewType("WorkflowId", str)


def _new(prefix: str) -> str:
    return prefix + secrets.token_hex(8)


def new_user_id() -> UserId:
    return UserId(_new("user"))


def new_api_key_id() -> ApiKeyId:
    return ApiKeyId(_new("key"))


def new_collection_id() -> CollectionId:
    return CollectionId(_new("col"))


def new_document_id() -> DocumentId:
    return DocumentId(_new("doc"))


def new_job_id() -> JobId:
    return JobId(_new("job"))


def new_workflow_id() -> WorkflowId:
    return WorkflowId(_new("wf"))


def new_session_id() -> str:
    """32 hexadecimal characters: an id that nobody guesses, unlike those of rows that have owners."""
    return secrets.token_hex(16)


def new_invitation_id() -> str:
    return _new("invite")


def new_oauth_account_id() -> str:
    return _new("oauth")


def new_subscription_id() -> str:
    return _new("sub_")


def new_bot_id() -> str:
    return _new("bot")


def new_chat_id() -> str:
    return _new("chat")


def new_turn_id() -> str:
    return _new("turn")


def new_prompt_id() -> str:
    return _new("pt")


def new_search_id() -> str:
    return _new("hsug")
