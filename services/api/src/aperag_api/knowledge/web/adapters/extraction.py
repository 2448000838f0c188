"""A page taken apart; runs in a process of the pool, because what strangers write may hang or break a parser."""

from __future__ import annotations

import contextlib
import resource
from typing import Any, NamedTuple

from aperag_api.knowledge.web.pages.charsets import decoded
from aperag_api.knowledge.web.pages.media import HTML, UNNAMED
from aperag_common import errors

MEMORY = 2 * 1024**3
CAREFUL_BYTES = 500_000
"""Pages larger than this are read in the quicker way only."""
LONGEST_TITLE = 300


class Extracted(NamedTuple):
    title: str
    text: str


def limit_memory() -> None:
    """A page that unfolds without end must end its own process, not the machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system lets a process limit itself
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def extract(content: bytes, media_type: str, charset: str) -> Extracted:
    """Both as the server said them; it may have said nothing."""
    text = _text_of(content, charset)
    html = media_type in HTML
    if media_type in UNNAMED:
        html = text.lstrip()[:1] == "<"
        if "\0" in text:
            message = "It is neither HTML nor text, whatever else it is: HTML, plain text, Markdown and JSON are read."
            raise errors.UnsupportedMedia(message, code="UNSUPPORTED_CONTENT_TYPE")
    found = _main_text(text) if html else Extracted(_heading(text), text.strip())
    if not found.text:
        message = "There is no text in it: what it shows may be made by scripts, or it is empty"
        raise errors.Terminal(message, code="NO_CONTENT")
    return Extracted(" ".join(found.title.split())[:LONGEST_TITLE], found.text.replace("\0", ""))


def _text_of(content: bytes, charset: str) -> str:
    text = decoded(content, charset)
    if text is not None:
        return text
    from trafilatura.utils import decode_file  # noqa: PLC0415  # takes 0.5 s, and only a pool process needs it

    return str(decode_file(content))


def _main_text(text: str) -> Extracted:
    import trafilatura  # noqa: PLC0415  # as above

    try:
        tree = trafilatura.load_html(text)
        if tree is None:
            return Extracted("", "")
        title = _title(tree)
        found = trafilatura.extract(
            tree, output_format="markdown", include_comments=False, fast=len(text) > CAREFUL_BYTES
        )
        return Extracted(title, (found or trafilatura.html2txt(tree)).strip())
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, MemoryError) as err:
        raise errors.Terminal(f"The page cannot be taken apart ({type(err).__name__})", code="PARSE_FAILED") from err


def _title(tree: Any) -> str:
    for path in ('string(//meta[@property="og:title"]/@content)', "string(//title)", "string(//h1)"):
        if title := str(tree.xpath(path)).strip():
            return title
    return ""


def _heading(text: str) -> str:
    """The first line, where that is a heading of Markdown."""
    first = text.lstrip().partition("\n")[0]
    return first.lstrip("#").strip() if first.startswith("#") else ""
