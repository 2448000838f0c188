"""From the form of a collection to its configuration; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_console.models import spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_console.web.forms import Form

KINDS = {"vector": "enable_vector", "fulltext": "enable_fulltext"}
"""Index kinds that there are workers for, and the field that turns each on."""

OFF = ("enable_knowledge_graph", "enable_summary", "enable_vision")
"""Of a new collection: no worker builds these."""

LANGUAGES = {"en-US": "English", "ko-KR": "한국어", "zh-CN": "中文", "ja-JP": "日本語"}
_LANGUAGE_OF = {"en": "en-US", "ko": "ko-KR", "zh": "zh-CN"}


def language_for(reader: str) -> str:
    """What the documents of a person who reads this language are probably written in."""
    return _LANGUAGE_OF[reader]


def config_of(form: Form, before: Mapping[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = {field: form.ticked(kind) for kind, field in KINDS.items()}
    if language := form.text("language"):
        chosen["language"] = language
    if embedding := form.text("embedding"):
        chosen["embedding"] = spec_of(embedding)
    return dict.fromkeys(OFF, False) | dict(before) | chosen
