"""DuckDuckGo's page of results taken apart; runs in a process of the pool."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

_RESULTS = '//div[contains(concat(" ", normalize-space(@class), " "), " result ")]'
_LINK = './/a[contains(concat(" ", normalize-space(@class), " "), " result__a ")]'
_SNIPPET = './/*[contains(concat(" ", normalize-space(@class), " "), " result__snippet ")]'
_NONE = '//*[contains(concat(" ", normalize-space(@class), " "), " no-results ")]'
_CHALLENGE = '//form[@id="challenge-form"] | //*[contains(@class, "anomaly-modal")]'
_AD = "result--ad"


class Results(NamedTuple):
    """``rows`` are title, address and snippet. ``known`` is false where the page has another form than expected."""

    rows: list[tuple[str, str, str]]
    known: bool
    challenged: bool


def results_of(content: bytes) -> Results:
    from lxml import etree  # noqa: PLC0415  # only a pool process needs it

    tree = etree.fromstring(b"<html>" + content, etree.HTMLParser(encoding="utf-8"))  # HTML: no entities
    rows = [row for result in tree.xpath(_RESULTS) if (row := _row(result)) is not None]
    return Results(rows, bool(rows or tree.xpath(_NONE)), bool(tree.xpath(_CHALLENGE)))


def _row(result: Any) -> tuple[str, str, str] | None:
    links, snippets = result.xpath(_LINK), result.xpath(_SNIPPET)
    if not links or _AD in result.get("class", ""):
        return None
    address = _target(links[0].get("href", ""))
    snippet = "".join(snippets[0].itertext()) if snippets else ""
    return ("".join(links[0].itertext()), address, snippet) if address else None


def _target(link: str) -> str:
    """Results lead through a page that counts them, which names the target in ``uddg``."""
    try:
        parts = urlsplit(link)
        if parts.path.rstrip("/") == "/l":
            return next(iter(parse_qs(parts.query).get("uddg", [])), "")
    except ValueError:
        return ""
    return link if parts.scheme in {"http", "https"} else ""
