"""What makes two requests the same request."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from python_multipart.multipart import parse_options_header

if TYPE_CHECKING:
    from collections.abc import Iterable

FORM = b"multipart/form-data"
_BOUNDARY = b"\r\nboundary\r\n"


class Fingerprint:
    """Of a form the boundary does not count: HTTP clients make up a new one whenever they send it.

    Keyed: a body may hold a password, which must not be found by trying.
    """

    def __init__(self, key: bytes, parts: Iterable[str], content_type: str) -> None:
        """``parts``: method, path and whatever else has to be the same."""
        self._hash = hmac.new(key, digestmod="sha256")
        self._delimiter = b""
        self._held = b""
        media, options = parse_options_header(content_type)
        self.is_form = media == FORM
        if self.is_form and options.get(b"boundary"):
            self._delimiter = b"--" + options[b"boundary"]
        for part in (*parts, media.decode("latin-1") if self.is_form else content_type):
            encoded = part.encode("utf-8", errors="surrogateescape")
            self._hash.update(len(encoded).to_bytes(8, "big") + encoded)

    def add(self, chunk: bytes) -> None:
        """The next bytes of the body."""
        if not self._delimiter:
            self._hash.update(chunk)
            return
        rest = self._held + chunk
        while (at := rest.find(self._delimiter)) >= 0:
            self._hash.update(rest[:at] + _BOUNDARY)
            rest = rest[at + len(self._delimiter) :]
        # A delimiter may have begun in the last bytes.
        sure = max(0, len(rest) - len(self._delimiter) + 1)
        self._hash.update(rest[:sure])
        self._held = rest[sure:]

    def value(self) -> str:
        """Of what has been added so far."""
        ended = self._hash.copy()
        ended.update(self._held)
        return ended.hexdigest()
