"""A multipart body as a stream of parts: nothing is gathered in memory or on disk on the way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from aperag_api.kernel.dispositions import filename_of
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST_PARTS = 5000
"""Of a form; what it may hold of documents is decided apart, and is far less."""


@dataclass(frozen=True, slots=True)
class Part:
    """One form field; ``chunks`` can be read once, before the next part is asked for."""

    name: str
    filename: str | None
    chunks: AsyncIterator[bytes]


@dataclass(slots=True)
class ReceivedPart:
    """A file of the form as far as it has come; ``size`` is in bytes."""

    filename: str
    size: int = 0


class _PartBegin(dict[str, bytes]):
    """The headers of a part, by lower-case name."""


class _PartEnd:
    pass


class MultipartBody:
    """Reads from ``body`` only as fast as the parts are consumed."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        self.received: list[ReceivedPart] = []
        self._begun = 0
        self._body = body
        self._pending: deque[_PartBegin | _PartEnd | bytes] = deque()
        self._headers = _PartBegin()
        self._field = b""
        self._value = b""
        self._ended = False
        kind, options = parse_options_header(content_type)
        self._parser = self._make_parser(options.get(b"boundary")) if kind == b"multipart/form-data" else None

    async def parts(self) -> AsyncIterator[Part]:
        """Nothing where the body is no form; raises ``InvalidParameter`` where it is malformed or cut short."""
        while self._parser is not None and await self._fill():
            event = self._pending.popleft()
            if isinstance(event, _PartBegin):
                disposition = event.get("content-disposition", b"")
                _, options = parse_options_header(disposition)
                name, filename = _decode(options.get(b"name", b"")), filename_of(disposition, options.get(b"filename"))
                if filename is None:
                    yield Part(name, None, self._chunks())
                else:
                    self.received.append(ReceivedPart(filename))
                    yield Part(name, self.received[-1].filename, self._counted(self.received[-1]))

    async def drain(self, at_most: int) -> None:
        """Read on to the end, so that the answer to a refused upload reaches a client that is still sending."""
        async for chunk in self._body:
            at_most -= len(chunk)
            if at_most < 0:
                return

    async def _counted(self, part: ReceivedPart) -> AsyncIterator[bytes]:
        async for chunk in self._chunks():
            part.size += len(chunk)
            yield chunk

    async def _chunks(self) -> AsyncIterator[bytes]:
        while await self._fill():
            if not isinstance(self._pending[0], bytes):
                return
            yield self._pending.popleft()  # type: ignore[misc]  # looked at one line above

    async def _fill(self) -> bool:
        """Whether something is pending; reads on while nothing is."""
        while not self._pending:
            chunk = await anext(self._body, None)
            if chunk is None:
                if self._parser is not None and not self._ended:
                    raise errors.InvalidParameter("The multipart body ends early")
                return False
            self._parse(chunk)
        return True

    def _parse(self, chunk: bytes) -> None:
        try:
            if self._parser is not None and chunk:
                self._parser.write(chunk)
        except FormParserError as err:
            raise errors.InvalidParameter("The multipart body is malformed") from err

    def _make_parser(self, boundary: bytes | None) -> MultipartParser:
        if not boundary:
            raise errors.InvalidParameter("The content type names no boundary; let the HTTP client write it")
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": lambda: self._pending.append(self._headers),
                    "on_part_data": lambda data, start, end: self._pending.append(data[start:end]),
                    "on_part_end": lambda: self._pending.append(_PartEnd()),
                    "on_end": self._on_end,
                },
            )
        except FormParserError as err:
            raise errors.InvalidParameter("The multipart boundary is malformed") from err

    def _on_part_begin(self) -> None:
        self._begun += 1
        if self._begun > MOST_PARTS:
            raise errors.InvalidParameter(f"The form has more than {MOST_PARTS} parts; send fewer at a time")
        self._headers = _PartBegin()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value
        self._field = self._value = b""

    def _on_end(self) -> None:
        self._ended = True


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
