"""Answers that are streams of server-sent events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.responses import StreamingResponse

from aperag_api.kernel.auth import find_caller
from aperag_api.kernel.streaming.places import StreamPlaces, holding
from aperag_api.kernel.streaming.sse import MEDIA_TYPE
from aperag_api.kernel.streaming.validity import while_valid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import timedelta

    from fastapi import Request

STREAM: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string"}}}
"""For the OpenAPI description of a route whose answer may be one."""

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def streamed(
    request: Request, frames: AsyncGenerator[bytes, None], *, every: timedelta, headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """Until its end, or that of the credential that ``request`` showed, which is looked at ``every`` so often.

    Raises ``TooManyRequests`` where the caller has too many of them.
    """

    async def valid() -> bool:
        return await find_caller(request) is not None

    places: StreamPlaces = request.app.state.streams
    held = holding(frames, places.take(request.state.caller.user_id))
    lasting = while_valid(held, valid, every=every)
    return StreamingResponse(lasting, media_type=MEDIA_TYPE, headers={**_HEADERS, **(headers or {})})
