"""What the web console posts (contract 1.9)."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import Field

from aperag_api.kernel.validation import RequestBody
from aperag_common import errors


class Body(RequestBody):
    """``files`` are ids of the chat's documents, or objects with one."""

    message: str
    files: list[str] = Field([], max_length=50)

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Text that is no JSON object is the question itself; raises ``ValidationError`` and ``InvalidParameter``."""
        try:
            text = raw.decode()
        except UnicodeDecodeError as err:
            raise errors.InvalidParameter("The body must be text in UTF-8") from err
        given = _object(text)
        if given is None or "message" not in given:
            return cls(message=text)
        files = given.get("files") or []
        named = [it.get("id") if isinstance(it, dict) else it for it in files] if isinstance(files, list) else files
        return cls(message=given["message"], files=named)


def _object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
