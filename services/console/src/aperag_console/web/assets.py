"""Files that browsers load: each under an address that changes with its content, so that it may be kept for ever."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

FOR_EVER = "public, max-age=31536000, immutable"
DIGEST_CHARACTERS = 12


@cache
def _contents() -> Mapping[str, bytes]:
    folder = resources.files("aperag_console").joinpath("static")
    return {it.name: it.read_bytes() for it in folder.iterdir() if not it.name.startswith((".", "__"))}


@cache
def version() -> str:
    """Of all of them together, for modules name each other without a version of their own."""
    digest = hashlib.sha256()
    for name, content in sorted(_contents().items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def url(name: str) -> str:
    if name not in _contents():
        raise KeyError(name)
    return f"/static/{version()}/{name}"


async def serve(request: Request) -> Response:
    name = request.path_params["name"]
    content = _contents().get(name)
    if content is None:
        return PlainTextResponse("Not found", 404)
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    current = request.path_params["version"] == version()
    headers = {"Cache-Control": FOR_EVER if current else "no-cache"}
    return Response(content, media_type=media_type, headers=headers)
