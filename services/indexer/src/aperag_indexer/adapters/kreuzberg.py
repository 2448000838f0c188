"""Reads documents in a process of the pool: a reader that crashes takes only itself along."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_indexer.adapters import extraction
from aperag_indexer.adapters.memory import at_most
from aperag_indexer.adapters.recognition import Recognition, installed_recognition
from aperag_indexer.reading import office
from aperag_indexer.reading.archives import check_unpacked
from aperag_indexer.reading.media import IMAGES, ZIPPED, check_readable, true_suffix
from aperag_indexer.reading.pages import join_pages, locate_pages
from aperag_indexer.reading.records import read_json, render
from aperag_indexer.reading.text import decode
from aperag_indexer.reading.web import tidy_page, without_head
from aperag_indexer.reading.xml import read_xml
from aperag_retrieval.chunking import ParsedDocument

if TYPE_CHECKING:
    from aperag_common.pool import ProcessPool

ADAPTER_VERSION = 3
PLAIN = frozenset({".txt", ".text", ".md", ".markdown"})
PAGED = frozenset({".pdf", *IMAGES})
# What no text needs and PostgreSQL, terminals or models trip over; one character each, so that positions hold.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """``unpacked`` and ``memory`` in bytes; ``recognised_pages`` bounds the time, since each page of a scan takes seconds."""

    unpacked: int = 256 * 1024 * 1024
    pixels: int = 80_000_000
    recognised_pages: int = 80
    memory: int = 1024 * 1024 * 1024


class KreuzbergParser:
    """``timeout`` bounds one document; ``recognition`` is what the machine offers unless given."""

    def __init__(
        self,
        pool: ProcessPool,
        *,
        timeout: timedelta,
        limits: ReadLimits | None = None,
        recognition: Recognition | None = None,
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._limits = limits or ReadLimits()
        self._recognition = installed_recognition() if recognition is None else recognition
        self.version = f"kreuzberg-{version('kreuzberg')}/{ADAPTER_VERSION}/ocr-{self._recognition.version}"

    async def parse(self, path: Path, *, name: str) -> ParsedDocument:
        suffix = Path(name).suffix.lower()
        check_readable(suffix)
        seconds = self._timeout.total_seconds()
        try:
            parsed = await self._pool.run(read, str(path), suffix, self._limits, self._recognition, seconds=seconds)
        except TimeoutError as err:
            message = f"Reading the document took longer than {seconds:.0f} s. Split it and upload the parts."
            raise errors.CorruptDocument(message) from err
        if not parsed.markdown.strip():
            raise errors.EmptyDocument(self._why_empty(suffix))
        return parsed

    def _why_empty(self, suffix: str) -> str:
        if suffix not in PAGED:
            return "The document holds no text to index."
        if self._recognition.languages:
            return "No text was recognised in the document. Upload a sharper scan, or a description as text."
        return (
            "The document is a scan or a picture, and text recognition (tesseract) is not installed here. "
            "Install it, or upload the document as text."
        )


def read(
    path: str, suffix: str, limits: ReadLimits | None = None, recognition: Recognition | None = None
) -> ParsedDocument:
    """Runs in a process of the pool; without ``recognition`` pictures and scans are empty."""
    bytes_at = Path(path)
    if bytes_at.stat().st_size == 0:
        message = "The document is empty (0 bytes). Upload it again."
        raise errors.EmptyDocument(message)
    suffix = true_suffix(bytes_at, suffix)
    source = _Source(bytes_at, suffix, limits or ReadLimits(), recognition or Recognition())
    if suffix in ZIPPED:
        check_unpacked(bytes_at, largest=source.limits.unpacked)
    with at_most(source.limits.memory):
        parsed = _READERS.get(suffix, _other)(source)
    return ParsedDocument(_CONTROL.sub(" ", parsed.markdown), parsed.pages, parsed.title)


@dataclass(frozen=True, slots=True)
class _Source:
    """``suffix`` is the true one."""

    path: Path
    suffix: str
    limits: ReadLimits
    recognition: Recognition

    def text(self) -> str:
        return decode(self.path.read_bytes())


def _plain(source: _Source) -> ParsedDocument:
    return ParsedDocument(source.text())


def _table(source: _Source) -> ParsedDocument:
    return ParsedDocument(extraction.markdown_of_text(source.text(), source.suffix))


def _json(source: _Source) -> ParsedDocument:
    return ParsedDocument(render(read_json(source.text()), html=_fragment))


def _xml(source: _Source) -> ParsedDocument:
    return ParsedDocument(render(read_xml(source.text()), html=_fragment))


def _page(source: _Source) -> ParsedDocument:
    body, title = without_head(source.text())
    return ParsedDocument(_fragment(body), title=title)


def _fragment(html: str) -> str:
    return tidy_page(extraction.markdown_of_text(html, ".html"))


def _slides(source: _Source) -> ParsedDocument:
    """The library gives slides as they are stored, and notes with slides they do not belong to."""
    stored = extraction.slides(source.path, source.suffix)
    shown = office.shown_slides(source.path)
    pages = {
        number: stored.get(slide.stored, "") + (f"\n\nNotes: {slide.notes}" if slide.notes else "")
        for number, slide in enumerate(shown)
    }
    return ParsedDocument(*join_pages(pages or stored))


def _letter(source: _Source) -> ParsedDocument:
    text = extraction.markdown(source.path, source.suffix)
    pages = locate_pages(text, extraction.documents_pages(source.path, source.suffix))
    return ParsedDocument(text + office.comments_of(source.path), pages)


def _printed(source: _Source) -> ParsedDocument:
    """Pages without text are scans: these alone are recognised."""
    pages, blank, title = extraction.printed(source.path)
    if blank and source.recognition.languages:
        most = source.limits.recognised_pages
        if len(blank) > most:
            message = f"{len(blank)} pages of the document are scans; at most {most} are recognised."
            raise errors.CorruptDocument(f"{message} Split it and upload the parts.")
        pages |= {number: extraction.recognised_page(source.path, number, source.recognition) for number in blank}
    return ParsedDocument(*join_pages(pages), title=title)


def _picture(source: _Source) -> ParsedDocument:
    found, most = extraction.pixels(source.path, source.suffix), source.limits.pixels
    if found > most:
        message = f"The picture has {found / 1e6:.0f} million pixels; at most {most / 1e6:.0f} million are read."
        raise errors.CorruptDocument(f"{message} Scale it down and upload it again.")
    if not source.recognition.languages:
        return ParsedDocument("")
    return ParsedDocument(extraction.recognised(source.path, source.suffix, source.recognition))


def _other(source: _Source) -> ParsedDocument:
    return ParsedDocument(extraction.markdown(source.path, source.suffix))


_READERS: dict[str, Callable[[_Source], ParsedDocument]] = {
    **dict.fromkeys(PLAIN, _plain),
    **dict.fromkeys(IMAGES, _picture),
    ".csv": _table,
    ".json": _json,
    ".xml": _xml,
    ".html": _page,
    ".htm": _page,
    ".docx": _letter,
    ".pptx": _slides,
    ".pdf": _printed,
}
