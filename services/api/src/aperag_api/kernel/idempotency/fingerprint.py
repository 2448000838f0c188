"""What makes two requests the same request."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from python_multipart.multipart import parse_options_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORM = b"multipart/form-data"
_BOUNDARY = b"\r\nboundary\r\n"


class Fingerprint:
    """Of a form the boundary does not count: HTTP clients make up a new one whenever they send it.

    Keyed: a body may hold a password, which must not be found by trying. The first key makes the value, the others
    know values that were made when they were the first.
    """

    def __init__(self, keys: Sequence[bytes], parts: Iterable[str], content_type: str) -> None:
        """``parts``: method, path and whatever else has to be the same."""
        self._hashes = [hmac.new(key, digestmod="sha256") for key in keys]
        self._delimiter = b""
        self._held = b""
        media, options = parse_options_header(content_type)
        self.is_form = media == FORM
        if self.is_form and options.get(b"boundary"):
            self._delimiter = b"--" + options[b"boundary"]
        for part in (*parts, media.decode("latin-1") if self.is_form else content_type):
            encoded = part.encode("utf-8", errors="surrogateescape")
            self._update(len(encoded).to_bytes(8, "big") + encoded)

    def add(self, chunk: bytes) -> None:
        """The next bytes of the body."""
        if not self._delimiter:
            self._update(chunk)
            return
        rest = self._held + chunk
        while (at := rest.find(self._delimiter)) >= 0:
            self._update(rest[:at] + _BOUNDARY)
            rest = rest[at + len(self._delimiter) :]
        # A delimiter may have begun in the last bytes.
        sure = max(0, len(rest) - len(self._delimiter) + 1)
        self._update(rest[:sure])
        self._held = rest[sure:]

    def value(self) -> str:
        """Of what has been added so far."""
        return self._ended(self._hashes[0])

    def is_of(self, value: str) -> bool:
        """Whether ``value`` was made of the same request, under any of the keys."""
        return any(self._ended(it) == value for it in self._hashes)

    def _ended(self, begun: hmac.HMAC) -> str:
        ended = begun.copy()
        ended.update(self._held)
        return ended.hexdigest()

    def _update(self, chunk: bytes) -> None:
        for it in self._hashes:
            it.update(chunk)
