"""What of HTTP/1.1 is read and written beside the parser."""

from __future__ import annotations

import json
from http import HTTPStatus

OFFERS = (b"upgrade", b"http2-settings")
"""Headers that offer another protocol, which ``Connection`` names too."""


def without_offers(connection: bytes) -> bytes:
    tokens = (it.strip() for it in connection.split(b","))
    return b", ".join(it for it in tokens if it.lower() not in OFFERS)


def refusal(status: HTTPStatus, reason: str) -> bytes:
    body = json.dumps({"detail": reason}).encode()
    head = [
        f"HTTP/1.1 {status} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        *(["retry-after: 1"] if status is HTTPStatus.SERVICE_UNAVAILABLE else []),
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
