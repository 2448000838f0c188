"""A reader for each format; runs in a process of the pool."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from aperag_common import errors
from aperag_common.pool import compute_longer
from aperag_indexer.adapters import extraction, printing
from aperag_indexer.adapters.memory import at_most
from aperag_indexer.adapters.recognition import Recognition
from aperag_indexer.reading import books, mail, notes, separated
from aperag_indexer.reading.archives import check_unpacked
from aperag_indexer.reading.bounds import Bounds, bounded, check_characters
from aperag_indexer.reading.completeness import check_plausible, lost_from
from aperag_indexer.reading.markup import guarded, readable
from aperag_indexer.reading.media import IMAGES, ZIPPED, true_suffix
from aperag_indexer.reading.ooxml import sheets, slides, word
from aperag_indexer.reading.pages import join_pages, paged
from aperag_indexer.reading.records import read_json, render, too_deep
from aperag_indexer.reading.text import Decoded, read_text
from aperag_indexer.reading.web import tidy_page, without_head
from aperag_indexer.reading.xml import read_xml
from aperag_retrieval.chunking import ParsedDocument, ReadWarning

# What no text needs and PostgreSQL, terminals or models trip over; one character each, so that positions hold.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
NOT_RECOGNISED = "not_recognised"
"""The kind of warning of a page that only recognition could read."""
RECOGNITION_SECONDS = 10
"""Of computing, for one page."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """``unpacked`` and ``memory`` in bytes; ``recognised_pages`` bounds the time: a scan takes seconds per page, which come
    on top of ``cpu_seconds``.
    """

    unpacked: int = 256 * 1024 * 1024
    pixels: int = 80_000_000
    recognised_pages: int = 80
    memory: int = 1024 * 1024 * 1024
    cpu_seconds: int = 120
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True, slots=True)
class Source:
    """``suffix`` is the true one."""

    path: Path
    suffix: str
    limits: ReadLimits
    recognition: Recognition

    def decoded(self) -> Decoded:
        decoded = read_text(self.path.read_bytes())
        check_characters(len(decoded.text))
        return decoded


def read(
    path: str, suffix: str, limits: ReadLimits | None = None, recognition: Recognition | None = None
) -> ParsedDocument:
    """Without ``recognition`` pictures and scans are empty."""
    bytes_at = Path(path)
    if bytes_at.stat().st_size == 0:
        message = "The document is empty (0 bytes). Upload it again."
        raise errors.EmptyDocument(message)
    suffix = true_suffix(bytes_at, suffix)
    source = Source(bytes_at, suffix, limits or ReadLimits(), recognition or Recognition())
    if suffix in ZIPPED:
        check_unpacked(bytes_at, largest=source.limits.unpacked)
    with at_most(source.limits.memory), bounded(source.limits.bounds):
        parsed = _parsed(source)
        check_characters(len(parsed.markdown))
        if not parsed.pages:
            parsed = replace(parsed, markdown=notes.without_data(parsed.markdown))
        check_plausible(parsed.markdown)
        warnings = (*parsed.warnings, *lost_from(bytes_at, suffix, parsed.markdown))
    return replace(parsed, markdown=_CONTROL.sub(" ", parsed.markdown), warnings=warnings)


def _parsed(source: Source) -> ParsedDocument:
    try:
        return _READERS.get(source.suffix, _other)(source)
    except RecursionError:
        raise too_deep() from None


def _torn(decoded: Decoded) -> tuple[ReadWarning, ...]:
    if not decoded.torn:
        return ()
    message = f"{decoded.torn} places are not {decoded.encoding}: they stand as \ufffd"
    return (ReadWarning("damaged_text", "", message),)


def _plain(source: Source) -> ParsedDocument:
    decoded = source.decoded()
    return ParsedDocument(decoded.text, warnings=_torn(decoded))


def _note(source: Source) -> ParsedDocument:
    decoded = source.decoded()
    note = notes.read_note(decoded.text)
    return ParsedDocument(note.markdown, title=note.title, warnings=_torn(decoded))


def _separated(source: Source) -> ParsedDocument:
    decoded = source.decoded()
    return ParsedDocument(separated.markdown_of(decoded.text), warnings=_torn(decoded))


def _json(source: Source) -> ParsedDocument:
    decoded = source.decoded()
    return ParsedDocument(render(read_json(decoded.text), html=_fragment), warnings=_torn(decoded))


def _xml(source: Source) -> ParsedDocument:
    decoded = source.decoded()
    return ParsedDocument(render(read_xml(decoded.text), html=_fragment), warnings=_torn(decoded))


def _page(source: Source) -> ParsedDocument:
    decoded = source.decoded()
    _, title = without_head(decoded.text)
    return ParsedDocument(_markdown_of(decoded.text), title=title, warnings=_torn(decoded))


def _fragment(html: str) -> str:
    return _markdown_of(guarded(html))


def _markdown_of(html: str) -> str:
    return tidy_page(extraction.markdown_of_html(readable(html)))


def _book(source: Source) -> ParsedDocument:
    book = books.read_book(source.path)
    chapters = [_markdown_of(chapter) for chapter in book.chapters]
    return ParsedDocument("\n\n".join(c for c in chapters if c), title=book.title, warnings=tuple(book.warnings))


def _workbook(source: Source) -> ParsedDocument:
    workbook = sheets.read_workbook(source.path)
    return ParsedDocument("\n\n".join(workbook.sections), warnings=tuple(workbook.warnings))


def _slides(source: Source) -> ParsedDocument:
    return ParsedDocument(*join_pages(slides.pages_of(source.path)))


def _letter(source: Source) -> ParsedDocument:
    return ParsedDocument(*paged(word.markdown_of(source.path), word.PAGE_BREAK))


def _message(source: Source) -> ParsedDocument:
    return mail.read_message(source.path, source.suffix, html=_fragment)


def _printed(source: Source) -> ParsedDocument:
    """Pages without text are scans: these alone are recognised."""
    found = printing.read_print(source.path)
    warnings = list(found.warnings)
    if found.scans and source.recognition.languages:
        most = source.limits.recognised_pages
        if len(found.scans) > most:
            message = f"{len(found.scans)} pages of the document are scans; at most {most} are recognised."
            raise errors.CorruptDocument(f"{message} Split it and upload the parts.")
        compute_longer(RECOGNITION_SECONDS * len(found.scans))
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # each page is a call that leaves the interpreter's lock
            texts = threads.map(
                lambda page: extraction.recognised_page(source.path, page, source.recognition), found.scans
            )
            found.pages |= {page: text for page, text in zip(found.scans, texts, strict=True) if text}
    elif found.scans:
        message = "a scan: text recognition (tesseract) is not installed"
        warnings += [ReadWarning(NOT_RECOGNISED, f"page {page + 1}", message) for page in found.scans]
    markdown, pages = join_pages(found.pages)
    return ParsedDocument(markdown, pages, found.title, tuple(warnings))


def _picture(source: Source) -> ParsedDocument:
    found, most = extraction.pixels(source.path, source.suffix), source.limits.pixels
    if found > most:
        message = f"The picture has {found / 1e6:.0f} million pixels; at most {most / 1e6:.0f} million are read."
        raise errors.CorruptDocument(f"{message} Scale it down and upload it again.")
    if not source.recognition.languages:
        return ParsedDocument("")
    compute_longer(RECOGNITION_SECONDS)
    return ParsedDocument(extraction.recognised(source.path, source.suffix, source.recognition))


def _other(source: Source) -> ParsedDocument:
    return ParsedDocument(extraction.markdown(source.path, source.suffix))


_READERS: dict[str, Callable[[Source], ParsedDocument]] = {
    ".txt": _plain,
    ".text": _plain,
    ".md": _note,
    ".markdown": _note,
    **dict.fromkeys(IMAGES, _picture),
    ".csv": _separated,
    ".json": _json,
    ".xml": _xml,
    ".html": _page,
    ".htm": _page,
    ".epub": _book,
    ".docx": _letter,
    ".pptx": _slides,
    ".xlsx": _workbook,
    ".eml": _message,
    ".msg": _message,
    ".pdf": _printed,
}
