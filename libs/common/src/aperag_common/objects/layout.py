"""Where one document's objects stand: ``user-<owner>/<collection>/<document>/…`` (contract 1.4)."""

from __future__ import annotations

import re

PARSED = "parsed.md"
"""What clients call the Markdown of a document."""
CONVERTED = "converted.pdf"
"""What clients call the pages of a document; those of a PDF are the document itself."""
_NO_NAME = re.compile(r"[^\w.]+", re.ASCII)


def owner_prefix(owner: str) -> str:
    # Owners of an identity provider carry a bar ("auth0|…"), which has no place in a path.
    return f"user-{owner.replace('|', '-')}"


def collection_prefix(owner: str, collection_id: str) -> str:
    return f"{owner_prefix(owner)}/{collection_id}"


def document_prefix(owner: str, collection_id: str, document_id: str) -> str:
    return f"{collection_prefix(owner, collection_id)}/{document_id}"


def original(prefix: str, suffix: str) -> str:
    """The uploaded bytes; ``suffix`` begins with a dot."""
    return f"{prefix}/original{suffix}"


def replacement(prefix: str, event_id: str, sha256: str, suffix: str) -> str:
    """Bytes that an event brings: beside those that are there, for a parse may still be reading them."""
    return f"{prefix}/original-{event_id}-{sha256[:16]}{suffix}"


def parsed(prefix: str, sha256: str, parser: str) -> str:
    """The Markdown that ``parser`` makes of these bytes: another parser's is another object, so none overwrites it.

    Clients know the one that is served as ``parsed.md``.
    """
    return f"{prefix}/parsed-{sha256[:16]}-{_NO_NAME.sub('-', parser)}.md"


def pages_of(object_path: str) -> str | None:
    """The object that clients know as ``converted.pdf``, from the path of the original; None where there are no pages."""
    return object_path if object_path.lower().endswith(".pdf") else None


def prefix_of(object_path: str) -> str:
    """The document's prefix, from the path of its original."""
    return object_path.rpartition("/")[0]
