"""The words of the pages in each language, and which language a person reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

COOKIE = "lang"
LANGUAGES: Mapping[str, str] = {"en": "English", "ko": "한국어", "zh": "简体中文"}
"""What each language calls itself."""
FALLBACK = "en"
CHAT_LANGUAGES = {"en": "en-US", "ko": "ko-KR", "zh": "zh-CN"}
"""In which the gateway is asked to answer."""


@dataclass(frozen=True, slots=True)
class Texts:
    """One language. Calling it with a key gives the text; ``{name}`` in it is replaced by the value of that name."""

    language: str
    by_key: Mapping[str, str]

    def __call__(self, key: str, **values: Any) -> str:
        text = self.by_key[key]
        return text.format(**values) if values else text

    def known(self, prefix: str, name: object) -> str:
        """What a state or reason is called; one that this version does not know stays as the gateway spells it."""
        return self.by_key.get(f"{prefix}.{name}", str(name))


@cache
def texts(language: str) -> Texts:
    source = resources.files("aperag_console").joinpath("texts", f"{language}.json")
    return Texts(language, json.loads(source.read_text(encoding="utf-8")))


def texts_for(request: Request) -> Texts:
    """As the person chose, else the first of the browser's languages that there is."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return texts(chosen)
    for entry in request.headers.get("accept-language", "").split(","):
        language = entry.split(";")[0].strip().split("-")[0].lower()
        if language in LANGUAGES:
            return texts(language)
    return texts(FALLBACK)
