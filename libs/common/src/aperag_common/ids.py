"""Identifiers: a prefix that names the kind and 16 random hex characters, at most 24 in all.

Ids contain no dots, so they may stand as one token of a live subject.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import partial


def _new(prefix: str) -> str:
    return prefix + secrets.token_hex(8)


new_api_key_id = partial(_new, "key")
new_bot_id = partial(_new, "bot")
new_chat_id = partial(_new, "chat")
new_collection_id = partial(_new, "col")
new_document_id = partial(_new, "doc")
new_event_subscription_id = partial(_new, "es")
new_ingest_id = partial(_new, "ing")
new_invitation_id = partial(_new, "invite")
new_job_id = partial(_new, "job")
new_oauth_account_id = partial(_new, "oauth")
new_prompt_id = partial(_new, "pt")
new_search_id = partial(_new, "hsug")
new_subscription_id = partial(_new, "sub_")
new_turn_id = partial(_new, "turn")
new_user_id = partial(_new, "user")
new_webhook_id = partial(_new, "wh")
new_workflow_id = partial(_new, "wf")


def delivery_id(webhook_id: str, event_id: str) -> str:
    """Of one event to one endpoint: the same whenever it is made, so that an event that comes again is known."""
    return "whd" + hashlib.sha256(f"{webhook_id}:{event_id}".encode()).hexdigest()[:20]


def new_session_id() -> str:
    """32 hexadecimal characters: an id that nobody guesses, unlike those of rows that have owners."""
    return secrets.token_hex(16)
