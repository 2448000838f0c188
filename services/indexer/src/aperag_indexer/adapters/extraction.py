"""What is asked of kreuzberg, and its errors in our words; runs in a process of the pool."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aperag_common import errors
from aperag_indexer.reading.layout import pages_of, unwrap
from aperag_indexer.reading.media import locked
from aperag_indexer.reading.web import tidy

if TYPE_CHECKING:
    from aperag_indexer.adapters.recognition import Recognition

T = TypeVar("T")

DPI = 200
"""Enough for print of ordinary size; at 300 a page takes half as long again and reads no better."""
_MEDIA = {
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".rtf": "application/rtf",
    ".epub": "application/epub+zip",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".html": "text/html",
    ".ipynb": "application/x-ipynb+json",
}
_NO_TITLES = frozenset({"", "untitled", "unnamed", "document", "(anonymous)"})


class Printed(NamedTuple):
    """``pages`` are Markdown by page number from 0."""

    pages: dict[int, str]
    title: str | None


@cache
def library() -> ModuleType:
    """Loaded where it is needed, because that takes 0.3 s; its directories stay inside the system's temporary one."""
    os.putenv("KREUZBERG_CACHE_DIR", str(Path(tempfile.gettempdir(), f"aperag-reader-{os.getuid()}")))
    import kreuzberg  # noqa: PLC0415  # costs 0.3 s, and only a pool process needs it

    return kreuzberg


def markdown(path: Path, suffix: str) -> str:
    """Office documents, books and notebooks."""
    return tidy(str(_extract(path, suffix).content))


def markdown_of_html(html: str) -> str:
    """Decoded before, for the library reads every page as UTF-8, and cleaned, for it takes text of pages for furniture."""
    options = {"preprocessing": {"enabled": False}}
    return str(_extract(html.encode("utf-8", errors="replace"), ".html", html_options=options).content)


def printed(path: Path) -> Printed:
    kreuzberg = library()
    result = _extract(
        path,
        ".pdf",
        include_document_structure=True,
        # A letterhead or a receipt's first lines are no furniture; what repeats on every page is.
        content_filter=kreuzberg.ContentFilterConfig(include_headers=True, include_footers=True),
    )
    plain = {page["page_number"]: page["content"].replace("\r", "") for page in result.pages or []}
    nodes = (result.document or {}).get("nodes", [])
    found = pages_of(nodes, [table.page_number for table in result.tables], plain)
    title = result.metadata.get("title")
    named = isinstance(title, str) and title.strip().lower() not in _NO_TITLES
    return Printed({number - 1: text for number, text in found.items()}, title if named else None)


def pixels(path: Path, suffix: str) -> int:
    """As the picture's head states them."""
    metadata = _extract(path, suffix).metadata
    return int(metadata.get("width") or 0) * int(metadata.get("height") or 0)


def recognised_page(path: Path, page: int, recognition: Recognition) -> str:
    image = _calling(".pdf", path, lambda: library().render_pdf_page(str(path), page, dpi=DPI))
    return recognised(image, ".png", recognition)


def recognised(source: Path | bytes, suffix: str, recognition: Recognition) -> str:
    """The text of a picture."""
    kreuzberg = library()
    tesseract = kreuzberg.TesseractConfig(
        language=recognition.languages, output_format="text", enable_table_detection=False, use_cache=False
    )
    result = _extract(
        source,
        suffix,
        output_format="plain",
        disable_ocr=False,
        ocr=kreuzberg.OcrConfig(backend="tesseract", language=recognition.languages, tesseract_config=tesseract),
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=1),
    )
    text = str(result.content)
    return "\n\n".join(unwrap(block) for block in text.split("\n\n")) if _has_letters(text) else ""


def _extract(source: Path | bytes, suffix: str, **options: Any) -> Any:
    kreuzberg = library()
    settings = {
        # Its cache would keep extracted text outside of what a delete removes.
        "use_cache": False,
        "output_format": "markdown",
        "pages": kreuzberg.PageConfig(extract_pages=True),
        "disable_ocr": True,
        **options,
    }
    config = kreuzberg.ExtractionConfig(**settings)
    media = _MEDIA[suffix]
    if isinstance(source, bytes):
        return _calling(suffix, source, lambda: kreuzberg.extract_bytes_sync(source, media, config=config))
    return _calling(suffix, source, lambda: kreuzberg.extract_file_sync(str(source), media, config=config))


def _calling(suffix: str, source: Path | bytes, call: Callable[[], T]) -> T:
    try:
        return call()
    except (library().KreuzbergError, RuntimeError, OSError, ValueError) as err:
        # "from None": the library's own errors do not survive the way out of this process.
        raise _translated(str(err).replace(str(source) if isinstance(source, Path) else "", ""), suffix) from None


def _translated(reason: str, suffix: str) -> errors.Terminal:
    if "password" in reason.lower():
        return locked()
    if "memory limit" in reason.lower():
        return errors.CorruptDocument("The picture is too large to be read. Scale it down and upload it again.")
    first = reason.strip().partition("\n")[0]
    # The library repeats itself: "ParsingError: Invalid PDF: FormatError: Invalid PDF: FormatError".
    parts = list(dict.fromkeys(part.strip() for part in first.split(": ")))
    said = ": ".join(part for part in parts if not part.endswith("Error"))[:200] or "it is damaged"
    message = f"The {suffix} reader could not read this document: {said}. Save it again and upload that."
    return errors.CorruptDocument(message)


def _has_letters(text: str) -> bool:
    return any(map(str.isalnum, text))
