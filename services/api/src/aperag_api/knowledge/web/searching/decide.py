"""Which results are shown, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from aperag_api.knowledge.web.searching.ports import Found
from aperag_common import errors

MAX_SITES = 20
LONGEST_TITLE = 300
LONGEST_SNIPPET = 1_000

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*")
_TRACKING = re.compile(r"utm_\w+|gclid|fbclid|msclkid|dclid|yclid|mc_[ce]id|igshid", re.IGNORECASE)
_DEFAULT_PORTS = {("http", 80), ("https", 443)}
_WORD = re.compile(r"\w+")


def sites_of(source: str | None) -> tuple[str, ...]:
    """The hosts that ``source`` names, as hosts or as addresses of pages there."""
    named = [part.strip() for part in (source or "").split(",") if part.strip()]
    if len(named) > MAX_SITES:
        raise errors.InvalidParameter(f"source names {len(named)} sites: name {MAX_SITES} at most")
    return tuple(dict.fromkeys(_site(name) for name in named))


def _site(name: str) -> str:
    host = domain_of(name if "://" in name else f"//{name}")
    if not _HOST.fullmatch(host):
        message = f"{name[:100]!r} in source is no site: write hosts, separated by commas, as in example.org"
        raise errors.InvalidParameter(message)
    return host


def restricted(text: str, sites: Sequence[str]) -> str:
    """The query in the form that engines understand; they take it as a wish, so results are checked as well."""
    return f"{text} ({' OR '.join(f'site:{site}' for site in sites)})" if sites else text


def domain_of(url: str) -> str:
    parts = _split(url)
    return (parts.hostname or "").rstrip(".") if parts else ""


def shown_query(query: str, domain: str) -> str:
    return " + ".join(part for part in (query, f"LLM.txt:{domain}" if domain else "") if part)


def chosen(sources: Sequence[Sequence[Found]], sites: Sequence[str], count: int) -> list[Found]:
    """The sources in turns, so that none crowds out another; each page once, and none from elsewhere."""
    kept: dict[str, Found] = {}
    for found in _in_turns(sources):
        parts = _split(found.url)
        if parts is None or parts.scheme not in {"http", "https"} or not _is_on(domain_of(found.url), sites):
            continue
        kept.setdefault(_normal(parts), found)
    return [_short(found) for found in list(kept.values())[:count]]


def by_relevance(found: Iterable[Found], query: str) -> list[Found]:
    """Those that hold more of the query's words first, else in the order given."""
    words = set(_WORD.findall(query.lower()))
    return sorted(found, key=lambda entry: -len(words & set(_WORD.findall(f"{entry.title} {entry.snippet}".lower()))))


def _normal(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    port = "" if parts.port is None or (parts.scheme, parts.port) in _DEFAULT_PORTS else f":{parts.port}"
    asked = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    query = urlencode([(name, value) for name, value in asked if not _TRACKING.fullmatch(name)])
    return f"{host}{port}{parts.path.rstrip('/')}?{query}"


def _split(url: str) -> SplitResult | None:
    """None where it is no address; the port is looked at because only that finds out a wrong one."""
    try:
        parts = urlsplit(url.strip())
        named = parts.hostname and (parts.port or 0) >= 0
    except ValueError:
        return None
    return parts if named else None


def _is_on(host: str, sites: Sequence[str]) -> bool:
    return not sites or any(host == site or host.endswith(f".{site}") for site in sites)


def _in_turns(sources: Sequence[Sequence[Found]]) -> Iterator[Found]:
    return (found for turn in zip_longest(*sources) for found in turn if found is not None)


def _short(found: Found) -> Found:
    title = " ".join(found.title.split())[:LONGEST_TITLE] or domain_of(found.url)
    return Found(title, found.url.strip(), " ".join(found.snippet.split())[:LONGEST_SNIPPET], found.timestamp)
