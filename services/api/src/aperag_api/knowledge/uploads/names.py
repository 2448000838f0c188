"""What a document may be called: decided here, never trusted as a path."""

from __future__ import annotations

import unicodedata

from aperag_common import errors

MAX_NAME = 255

_ARCHIVES = frozenset((".zip", ".rar", ".r00", ".7z", ".tar", ".gz", ".xz", ".bz2", ".tar.gz", ".tar.xz"))
_TEXTS = frozenset(
    (".txt", ".text", ".md", ".markdown", ".html", ".htm", ".ipynb", ".csv", ".json", ".xml", ".eml", ".msg")
)
_OFFICE = frozenset((".pdf", ".doc", ".docx", ".ppt", ".pptx", ".xls", ".xlsx", ".epub"))
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
_SOUNDS = frozenset((".mp3", ".mp4", ".mpeg", ".mpga", ".m4a", ".wav", ".webm", ".ogg", ".flac"))
_UNWRITABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Control characters, halves of surrogate pairs, ends of lines and paragraphs."""
_MISLEADING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the order of reading: with them ``exe.txt`` can be shown as ``txt.exe`` and the other way round."""
SUFFIXES = _TEXTS | _OFFICE | _IMAGES | _SOUNDS | _ARCHIVES
"""Accepted at the door (contract 1.4); what no reader understands ends FAILED with a hint."""


def clean_name(raw: str | None) -> str:
    """The last component, composed (NFC), so that one name typed on two systems is one name."""
    name = unicodedata.normalize("NFC", raw or "").replace("\\", "/").rpartition("/")[2].strip()
    if not name or name in {".", ".."}:
        raise errors.InvalidParameter("A document needs a name: its part of the form has no usable filename")
    unwritable = next((c for c in name if c in _MISLEADING or unicodedata.category(c) in _UNWRITABLE), None)
    if unwritable is not None:
        message = f"The name {name!r} holds the character U+{ord(unwritable):04X}; rename the document without it"
        raise errors.InvalidParameter(message)
    if len(name) > MAX_NAME:
        raise errors.InvalidParameter(f"A name may have {MAX_NAME} characters, not {len(name)}; shorten it")
    return name


def suffix_of(name: str) -> str:
    """In lower case, with its dot; raises where the contract does not accept it."""
    parts = name.lower().lstrip(".").split(".")
    for count in (2, 1):
        suffix = "." + ".".join(parts[-count:])
        if len(parts) > count and suffix in SUFFIXES:
            return suffix
    message = f"The type of {name!r} is not supported; its name must end in one of the supported suffixes"
    raise errors.InvalidParameter(message, details={"supported": sorted(SUFFIXES)})
