"""What a document may be called: decided here, never trusted as a path."""

from __future__ import annotations

import unicodedata

from aperag_common import errors

MAX_NAME = 255

_ARCHIVES = frozenset((".zip", ".rar", ".r00", ".7z", ".tar", ".gz", ".xz", ".bz2", ".tar.gz", ".tar.xz"))
_TEXTS = frozenset((".txt", ".text", ".md", ".markdown", ".html", ".htm", ".ipynb", ".csv", ".json", ".xml"))
_OFFICE = frozenset((".pdf", ".doc", ".docx", ".ppt", ".pptx", ".xls", ".xlsx", ".epub"))
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
_SOUNDS = frozenset((".mp3", ".mp4", ".mpeg", ".mpga", ".m4a", ".wav", ".webm", ".ogg", ".flac"))
SUFFIXES = _TEXTS | _OFFICE | _IMAGES | _SOUNDS | _ARCHIVES
"""Accepted at the door (contract 1.4); what no reader understands ends FAILED with a hint."""


def clean_name(raw: str | None) -> str:
    """The last component, composed (NFC), so that one name typed on two systems is one name."""
    name = unicodedata.normalize("NFC", raw or "").replace("\\", "/").rpartition("/")[2].strip()
    if not name or name in {".", ".."} or "\0" in name:
        message = "A document needs a file name"
        raise errors.InvalidParameter(message)
    if len(name) > MAX_NAME:
        message = f"A file name may have {MAX_NAME} characters, not {len(name)}"
        raise errors.InvalidParameter(message)
    return name


def suffix_of(name: str) -> str:
    """In lower case, with its dot; raises where the contract does not accept it."""
    parts = name.lower().lstrip(".").split(".")
    for count in (2, 1):
        suffix = "." + ".".join(parts[-count:])
        if len(parts) > count and suffix in SUFFIXES:
            return suffix
    message = f"Files like {name!r} are not supported"
    raise errors.InvalidParameter(message, details={"supported": sorted(SUFFIXES)})
