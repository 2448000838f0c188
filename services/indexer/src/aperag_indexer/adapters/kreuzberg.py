"""Reads documents with kreuzberg, in a process of the pool: a reader that crashes takes only itself along."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_indexer.parsing.pages import locate_pages
from aperag_indexer.parsing.text import decode
from aperag_retrieval.chunking import ParsedDocument

if TYPE_CHECKING:
    from aperag_common.pool import ProcessPool

ADAPTER_VERSION = 2
PLAIN = frozenset({".txt", ".text", ".md", ".markdown"})
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
HTML = frozenset({".html", ".htm"})
UNREADABLE = frozenset(
    {".mp3", ".mp4", ".mpeg", ".mpga", ".m4a", ".wav", ".webm", ".ogg", ".flac"}
    | {".zip", ".rar", ".r00", ".7z", ".tar", ".gz", ".xz", ".bz2", ".ppt", ".doc"}
)
UNREADABLE_HINT = {
    **dict.fromkeys((".ppt", ".doc"), "Save it in the current format (.pptx, .docx) or as PDF and upload that."),
    **dict.fromkeys(
        (".zip", ".rar", ".r00", ".7z", ".tar", ".gz", ".xz", ".bz2"), "Unpack it and upload what it holds."
    ),
}
# The reader writes a page's <head> as lines of "key: value" that end in a heading; nobody wrote them as text.
_HEAD = re.compile(r"\A---\n(?:.*\n)*?## [a-z][\w:.-]*: .*\n+")
# A picture inside the text is kilobytes of base64: its description is all that can be searched.
_INLINE_IMAGE = re.compile(r"!\[([^\]]*)\]\(data:[^)]*\)")
NO_TRANSCRIPT = "Audio and video cannot be read here. Upload a transcript."


class KreuzbergParser:
    """``timeout`` bounds one document."""

    version = f"kreuzberg-{version('kreuzberg')}/{ADAPTER_VERSION}"

    def __init__(self, pool: ProcessPool, *, timeout: timedelta) -> None:
        self._pool = pool
        self._timeout = timeout

    async def parse(self, path: Path, *, name: str) -> ParsedDocument:
        suffix = Path(name).suffix.lower()
        if suffix in UNREADABLE:
            message = f"No reader for {suffix} documents. {UNREADABLE_HINT.get(suffix, NO_TRANSCRIPT)}"
            raise errors.UnsupportedMedia(message)
        seconds = self._timeout.total_seconds()
        try:
            parsed = await self._pool.run(read, str(path), suffix, seconds=seconds)
        except TimeoutError as err:
            message = f"Reading the document took longer than {seconds:.0f} s."
            raise errors.CorruptDocument(message) from err
        if not parsed.markdown.strip():
            raise errors.EmptyDocument(_why_empty(suffix))
        return parsed


def _why_empty(suffix: str) -> str:
    if suffix in IMAGES or suffix == ".pdf":
        return "The document holds no text: it looks like a scan or a picture, and no text recognition is installed."
    return "The document holds no text to index."


def read(path: str, suffix: str) -> ParsedDocument:
    """Runs in a process of the pool."""
    if suffix in PLAIN:
        return ParsedDocument(decode(Path(path).read_bytes()))
    return _extract(path, suffix)


def _extract(path: str, suffix: str) -> ParsedDocument:
    from kreuzberg import (  # noqa: PLC0415  # costs 0.3 s, and only a pool process needs it
        ExtractionConfig,
        KreuzbergError,
        PageConfig,
        extract_file_sync,
    )

    # Its cache would keep extracted text in the home directory, outside of what a delete removes.
    config = ExtractionConfig(
        use_cache=False,
        output_format="markdown",
        pages=PageConfig(extract_pages=True),
        disable_ocr=True,  # type: ignore[call-arg]  # accepted, but missing from the library's own stub
    )
    if Path(path).stat().st_size == 0:
        message = "The document is empty (0 bytes)."
        raise errors.EmptyDocument(message)
    try:
        result = extract_file_sync(path, config=config)
    except KreuzbergError as err:
        message = f"The {suffix} reader could not read this document: {_first_line(err)}"
        raise errors.CorruptDocument(message) from None  # the library's error does not survive a process border
    if suffix in IMAGES:
        return ParsedDocument("")  # without text recognition only a placeholder for the picture comes back
    markdown = _INLINE_IMAGE.sub(r"\1", result.content)
    if suffix in HTML:
        markdown = _HEAD.sub("", markdown, count=1)
    pages = locate_pages(markdown, [page["content"] for page in result.pages or []])
    title = result.metadata.get("title")
    return ParsedDocument(markdown, pages, title if isinstance(title, str) else None)


def _first_line(err: Exception) -> str:
    return str(err).strip().partition("\n")[0][:300] or type(err).__name__
