"""What a document's bytes are, which is not always what its name says."""

from __future__ import annotations

import mmap
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from aperag_common import errors
from aperag_indexer.reading.ooxml.package import Package

HEAD_BYTES = 1024
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
OFFICE = frozenset({".doc", ".docx", ".ppt", ".pptx", ".xls", ".xlsx", ".rtf"})
TEXTS = frozenset({".txt", ".text", ".md", ".markdown", ".html", ".htm", ".ipynb", ".csv", ".json", ".xml", ".eml"})
ZIPPED = frozenset({".docx", ".pptx", ".xlsx", ".epub"})
READABLE = IMAGES | (OFFICE - {".rtf"}) | TEXTS | {".pdf", ".epub", ".eml", ".msg"}
ARCHIVES = frozenset({".zip", ".rar", ".r00", ".7z", ".tar", ".gz", ".xz", ".bz2"})
RECORDINGS = frozenset({".mp3", ".mp4", ".mpeg", ".mpga", ".m4a", ".wav", ".webm", ".ogg", ".flac"})

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_WEB = (b"<html", b"<!doctype html", b"<table")


class Kind(NamedTuple):
    """``suffix`` is what such a document should be called; empty where no reader exists."""

    suffix: str
    words: str


_SIGNATURES = (
    (b"%PDF-", Kind(".pdf", "a PDF")),
    (b"\x89PNG\r\n", Kind(".png", "a PNG picture")),
    (b"\xff\xd8\xff", Kind(".jpg", "a JPEG picture")),
    (b"II*\x00", Kind(".tif", "a TIFF picture")),
    (b"MM\x00*", Kind(".tif", "a TIFF picture")),
    (b"GIF8", Kind("", "a GIF picture")),
    (b"{\\rtf", Kind(".rtf", "rich text")),
    (b"\x1f\x8b\x08", Kind("", "a packed archive")),
    (b"7z\xbc\xaf\x27\x1c", Kind("", "a packed archive")),
    (b"Rar!\x1a\x07", Kind("", "a packed archive")),
    (b"\x7fELF", Kind("", "a program")),
    (b"MZ\x90\x00", Kind("", "a program")),
)
# By what the content type of the main part says; which name that part has is the program's choice.
_IN_ZIP = (
    ("sheet.binary", Kind("", "a binary Excel workbook (.xlsb)")),
    ("word", Kind(".docx", "a Word document")),
    ("presentation", Kind(".pptx", "a PowerPoint presentation")),
    ("powerpoint", Kind(".pptx", "a PowerPoint presentation")),
    ("spreadsheet", Kind(".xlsx", "an Excel workbook")),
    ("excel", Kind(".xlsx", "an Excel workbook")),
)
# Where the package does not say, the names that nearly all programs give.
_BY_NAME = (
    ("word/document.xml", "word"),
    ("ppt/presentation.xml", "presentation"),
    ("xl/workbook.xml", "spreadsheet"),
    ("xl/workbook.bin", "sheet.binary"),
)
_EPUB = Kind(".epub", "an EPUB book")
_IN_OLE = (
    ("__properties_version1.0", Kind(".msg", "an Outlook message")),
    ("WordDocument", Kind(".doc", "a Word 97 document")),
    ("PowerPoint Document", Kind(".ppt", "a PowerPoint 97 presentation")),
    ("Workbook", Kind(".xls", "an Excel 97 workbook")),
    ("Book", Kind(".xls", "an Excel 95 workbook")),
)
_TORN_OLE = Kind("", "data of a Microsoft program")


def locked() -> errors.PasswordProtected:
    return errors.PasswordProtected("The document is protected by a password. Remove the password and upload it again.")


def check_readable(suffix: str) -> None:
    """Raises ``UnsupportedMedia`` for what no reader exists for, with what to do instead."""
    if suffix in READABLE:
        return
    hint = "Save it as PDF or text and upload that."
    if suffix in ARCHIVES:
        hint = "Unpack it and upload what it holds."
    elif suffix in RECORDINGS:
        hint = "Audio and video cannot be read here; upload a transcript."
    message = f"No reader for {suffix or 'unnamed'} documents. {hint}"
    raise errors.UnsupportedMedia(message)


def true_suffix(path: Path, suffix: str) -> str:
    """The suffix whose reader fits the bytes; raises where they are not what ``suffix`` promises.

    Office documents are often saved in one format and named as another, pictures too: these are read as what they
    are. Anything else that is misnamed is refused, because a guess would index the wrong thing.
    """
    head = _head(path)
    kind = kind_of(path, head)
    if kind is None:
        return _unsigned(suffix, head)
    if kind.suffix == suffix or (kind.suffix in IMAGES and suffix in IMAGES):
        return kind.suffix
    if kind.suffix in OFFICE and suffix in OFFICE:
        return kind.suffix
    if kind is _TORN_OLE and suffix in OFFICE:
        raise _damaged()
    message = f"The document is named {suffix} but holds {kind.words}. Give it the right suffix and upload it again."
    raise errors.CorruptDocument(message)


def kind_of(path: Path, head: bytes) -> Kind | None:
    """None for what has no signature, as text; raises ``PasswordProtected``."""
    if b"%PDF-" in head and not head.startswith((_ZIP, _OLE)):  # some writers put a line before it
        return _SIGNATURES[0][1]
    if head.startswith(_ZIP):
        return _in_zip(path)
    if head.startswith(_OLE):
        return _in_ole(path)
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return Kind(".bmp", "a BMP picture")
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def _unsigned(suffix: str, head: bytes) -> str:
    if suffix in TEXTS:
        return suffix
    if suffix in {".doc", ".xls"} and head.lstrip().lower().startswith(_WEB):  # what web programs export as "Excel"
        return ".html"
    message = f"The document does not begin as a {suffix} document does: it is damaged, or its suffix is wrong."
    raise errors.CorruptDocument(f"{message} Save it again and upload that.")


def _head(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(HEAD_BYTES)


def _in_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as packed:
            package = Package(packed)
            if package.has("META-INF/container.xml") and not package.has("[Content_Types].xml"):
                return _EPUB
            kind = package.main_type.lower() or next((word for name, word in _BY_NAME if package.has(name)), "")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, zlib.error):
        raise _damaged() from None
    return next((found for word, found in _IN_ZIP if word in kind), Kind("", "a packed archive"))


def _in_ole(path: Path) -> Kind:
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find("EncryptedPackage".encode("utf-16-le")) >= 0:
            raise locked()
        found = (kind for name, kind in _IN_OLE if data.find(name.encode("utf-16-le")) >= 0)
        return next(found, _TORN_OLE)


def _damaged() -> errors.CorruptDocument:
    message = "The document is damaged: parts of it are missing or unreadable. Save it again and upload that."
    return errors.CorruptDocument(message)
