"""What a call is about, and whether it is one that is audited."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ResourceType(StrEnum):
    """What calls are about; the filter of the log knows no other."""

    API_KEY = "api_key"
    BOT = "bot"
    CHAT = "chat"
    COLLECTION = "collection"
    DEAD_LETTER = "dead_letter"
    DOCUMENT = "document"
    EVALUATION = "evaluation"
    EVENT = "event"
    EVENT_SUBSCRIPTION = "event_subscription"
    INVITATION = "invitation"
    JOB = "job"
    MESSAGE = "message"
    MODEL = "llm_model"
    PROMPT = "prompt"
    PROVIDER = "llm_provider"
    QUESTION_SET = "question_set"
    QUOTA = "quota"
    SEARCH = "search"
    SESSION = "session"
    SETTING = "setting"
    TASK = "task"
    TIMER = "timer"
    TURN = "turn"
    USER = "user"
    WEBHOOK = "webhook"


_NOUNS: Mapping[str, ResourceType] = {
    "apikeys": ResourceType.API_KEY,
    "bots": ResourceType.BOT,
    "chats": ResourceType.CHAT,
    "collections": ResourceType.COLLECTION,
    "completions": ResourceType.TURN,
    "dead-letters": ResourceType.DEAD_LETTER,
    "documents": ResourceType.DOCUMENT,
    "evaluations": ResourceType.EVALUATION,
    "events": ResourceType.EVENT,
    "ingest": ResourceType.DOCUMENT,
    "invite": ResourceType.INVITATION,
    "invitations": ResourceType.INVITATION,
    "jobs": ResourceType.JOB,
    "messages": ResourceType.MESSAGE,
    "models": ResourceType.MODEL,
    "default_models": ResourceType.MODEL,
    "prompts": ResourceType.PROMPT,
    "llm_providers": ResourceType.PROVIDER,
    "question-sets": ResourceType.QUESTION_SET,
    "quotas": ResourceType.QUOTA,
    "default-quotas": ResourceType.QUOTA,
    "searches": ResourceType.SEARCH,
    "auth": ResourceType.SESSION,
    "login": ResourceType.SESSION,
    "logout": ResourceType.SESSION,
    "settings": ResourceType.SETTING,
    "subscriptions": ResourceType.EVENT_SUBSCRIPTION,
    "tasks": ResourceType.TASK,
    "timers": ResourceType.TIMER,
    "turns": ResourceType.TURN,
    "change-password": ResourceType.USER,
    "register": ResourceType.USER,
    "register_admin": ResourceType.USER,
    "users": ResourceType.USER,
    "webhooks": ResourceType.WEBHOOK,
}
"""Segments of paths that name what a call is about; the last one of a path counts."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

READS_BY_POST = frozenset(
    {
        "/available_models",
        "/chats/{chat_id}/search",
        "/collections/{collection_id}/searches",
        "/embeddings",
        "/prompts/preview",
        "/prompts/validate",
        "/rerank",
        "/web/search",
        "/web/read",
    }
)
"""Questions that are too long for an address: they change nothing, and the search history keeps the searches."""

_AUDITED_GETS = frozenset({"/auth/{provider}/callback", "/admin/events"})
"""A provider sends the browser of whoever it lets in to the one; at the other an administrator reads of all owners."""

_ROOT = "/api/v1/"
_ROOTS = (_ROOT, "/v1/")
_SPANS = "/v1/traces"
"""Services bring their spans there several times a second, for nobody in particular."""
_CREATED = ("id", "document_id", "user_id")
_ACRONYMS: Mapping[str, str] = {"llm": "LLM"}


def is_audited(method: str, template: str) -> bool:
    """``template`` is the route's path below /api/v1, parameters in braces."""
    if method in _SAFE:
        return method == "GET" and template in _AUDITED_GETS
    return template != _SPANS and not (method == "POST" and template in READS_BY_POST)


def never_audited(method: str, path: str) -> bool:
    """What can be said before the route is known."""
    if not path.startswith(_ROOTS) or path == _SPANS:
        return True
    return method in _SAFE and not path.startswith((f"{_ROOT}auth/", f"{_ROOT}admin/events"))


def name_of(route: str) -> str:
    """``create_llm_provider`` is ``CreateLLMProvider``: the contract's style."""
    return "".join(_ACRONYMS.get(word, word.capitalize()) for word in route.split("_"))


def resource_of(template: str, parameters: Mapping[str, Any]) -> tuple[ResourceType | None, str | None]:
    """What the call is about, and which one where the path names it."""
    segments = template.strip("/").split("/")
    found: tuple[ResourceType | None, str | None] = (None, None)
    for segment, following in zip(segments, [*segments[1:], ""], strict=True):
        if segment in _NOUNS:
            named = parameters.get(following[1:-1]) if following.startswith("{") else None
            found = (_NOUNS[segment], None if named is None else str(named))
    return found


def created_in(answer: Any) -> str | None:
    """The id of what the call made, where its answer tells of a single one."""
    if isinstance(answer, dict) and isinstance(answer.get("items"), list) and len(answer["items"]) == 1:
        answer = answer["items"][0]
    if not isinstance(answer, dict):
        return None
    return next((answer[name] for name in _CREATED if isinstance(answer.get(name), str)), None)


def complaint_of(answer: Any) -> str | None:
    """What a refusal says, from any of the contract's forms; what it echoes of the request is left out."""
    if not isinstance(answer, dict):
        return None
    told = answer.get("message") or answer.get("errors") or answer.get("detail") or answer.get("error")
    if isinstance(told, dict):
        told = told.get("message")
    if isinstance(told, list):
        invalid = [error for error in told if isinstance(error, dict)]
        return "; ".join(f"{'.'.join(map(str, error.get('loc', ())))}: {error.get('msg', '')}" for error in invalid)
    return told if isinstance(told, str) else None
