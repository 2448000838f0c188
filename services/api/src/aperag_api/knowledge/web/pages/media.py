"""Which kinds of page are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common import errors

if TYPE_CHECKING:
    from aperag_common.outbound.client import Head

HTML = frozenset({"text/html", "application/xhtml+xml"})
TEXT = frozenset({"text/plain", "text/markdown", "text/x-markdown", "application/json"})
UNNAMED = frozenset({"", "application/octet-stream"})
"""Judged by what came: many servers do not know what they send."""


def require_readable(head: Head) -> None:
    """Before the body is read: raises where there is no page, or none of a kind that is read."""
    if head.status == 429 or head.status >= 500:
        message = f"The site answered {head.status}: it does not work now, or wants fewer requests"
        raise errors.UpstreamUnavailable(message, code=f"HTTP_{head.status}")
    if not 200 <= head.status < 300:
        message = f"The site answered {head.status}: there is no page that everybody may read"
        raise errors.Terminal(message, code=f"HTTP_{head.status}")
    kind = head.media_type
    if kind not in HTML | TEXT | UNNAMED and not kind.endswith("+json"):
        document = " Upload it as a document instead." if kind == "application/pdf" else ""
        message = f"The content type is {kind[:100]}: HTML, plain text, Markdown and JSON are read.{document}"
        raise errors.UnsupportedMedia(message, code="UNSUPPORTED_CONTENT_TYPE")


def charset_of(head: Head) -> str:
    """What the header says, or nothing."""
    for parameter in str(head.headers.get("content-type", "")).split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip(" \t\"'")[:40]
    return ""
