"""Every page says the same in every language."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from starlette.requests import Request

from aperag_console.web.texts import CHAT_LANGUAGES, FALLBACK, LANGUAGES, texts, texts_for

SOURCE = Path(__file__).parents[3] / "services" / "console" / "src" / "aperag_console"
TEMPLATE_KEY = re.compile(r"\bt\('([a-z_]+\.[A-Za-z_]+)'(?! ~)")
CODE_KEY = re.compile(r'(?:texts\(|\.go\([^,\n]+, |GatewayFailure\()"([a-z_]+\.[A-Za-z_]+)"')


def used() -> set[str]:
    templates = (path.read_text(encoding="utf-8") for path in (SOURCE / "templates").glob("*.html"))
    code = (path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    return {key for text in templates for key in TEMPLATE_KEY.findall(text)} | {
        key for text in code for key in CODE_KEY.findall(text)
    }


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_language_lacks_a_text_or_a_value_in_it(language: str) -> None:
    expected, found = texts(FALLBACK).by_key, texts(language).by_key
    assert found.keys() == expected.keys()
    assert [key for key, text in found.items() if not text.strip()] == []
    assert [key for key in expected if placeholders(found[key]) != placeholders(expected[key])] == []
    assert language in CHAT_LANGUAGES


def test_every_text_that_a_page_names_exists() -> None:
    found = used()
    assert len(found) > 200, "the patterns above find the keys no more"
    assert found - texts(FALLBACK).by_key.keys() == set()


def test_templates_hold_no_words_of_their_own() -> None:
    """Between tags there is nothing to read that is not looked up; names of products and units are the same everywhere."""
    allowed = {"ApeRAG", "· ApeRAG", "Esc", "UTC", "%", "…"}
    for path in (SOURCE / "templates").glob("*.html"):
        text = re.sub(r"{[{%#].*?[}%#]}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        said = {word.strip() for word in re.findall(r">([^<]+)<", text)}
        words = {word for word in said if re.search(r"[A-Za-z]{2}", word) and word not in allowed}
        assert {word for word in words if not word.startswith((".aperag", "/register"))} == set(), path.name


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        ("", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("", "fr-FR, zh-CN;q=0.5", "zh"),
        ("", "fr", "en"),
        ("", "", "en"),
        ("zh", "ko", "zh"),
        ("xx", "ko", "ko"),
    ],
)
def test_a_person_reads_the_language_that_they_chose_or_their_browser_asks_for(
    cookie: str, accepted: str, language: str
) -> None:
    headers = [(b"accept-language", accepted.encode()), (b"cookie", f"lang={cookie}".encode())]
    assert texts_for(Request({"type": "http", "headers": headers})).language == language


def test_a_state_of_a_newer_gateway_is_shown_as_it_is_spelt() -> None:
    assert texts("ko").known("status", "COMPLETE") == "검색 가능"
    assert texts("ko").known("status", "SOMETHING_NEW") == "SOMETHING_NEW"
