"""What people use the API for: the chapters of its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

USES: Mapping[str, tuple[str, ...]] = {
    "Documents and searches": ("collections", "documents", "searches", "tasks", "sharing", "marketplace", "web"),
    "Questions and answers": ("bots", "chats", "turns", "openai", "recommend"),
    "Other services": ("events", "ingest", "subscriptions", "webhooks", "nats"),
    "Models and prompts": ("models", "prompts"),
    "Users and access": ("config", "users", "api keys", "quotas", "audit"),
    "Operation": ("admin", "settings", "traces", "health", "development"),
}
"""Tags of routes, in the order in which one meets them."""
OTHERS = "More"


def by_use(of_tags: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """The same by chapter; a tag that no chapter names stands in the last one."""
    known = {tag for tags in USES.values() for tag in tags}
    chapters = {use: {tag: of_tags[tag] for tag in tags if tag in of_tags} for use, tags in USES.items()}
    chapters[OTHERS] = {tag: it for tag, it in sorted(of_tags.items()) if tag not in known}
    return {use: tags for use, tags in chapters.items() if tags}
