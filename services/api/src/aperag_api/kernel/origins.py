"""Whether a request with a cookie was meant by the person whose cookie it is, or by another site in their browser."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_OWN = frozenset({"same-origin", "none"})
"""Of ``Sec-Fetch-Site``; ``none``: the person typed the address or opened a bookmark."""


def same_origin(headers: Mapping[str, str], trusted: Collection[str]) -> bool:
    """``headers`` have lower-case names; ``trusted`` are further origins that may ask.

    A browser says where an unsafe request comes from. What says nothing is no browser, and no site can make it send.
    """
    origin = headers.get("origin")
    if origin is not None and origin.strip().lower() in trusted:
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site.strip().lower() in _OWN
    return origin is None or _host_of(origin) == headers.get("host", "").strip().lower()


def _host_of(origin: str) -> str | None:
    """Also of ``null``, which stands for a page that hides where it comes from: that is nobody's host."""
    try:
        parts = urlsplit(origin.strip())
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in {"http", "https"} and parts.netloc else None
