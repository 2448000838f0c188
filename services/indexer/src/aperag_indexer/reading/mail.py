"""Messages (.eml, .msg): who wrote what to whom when, and what was attached."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oxmsg import Message

from aperag_common import errors
from aperag_indexer.reading.text import decode
from aperag_retrieval.chunking import ParsedDocument, ReadWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import MIMEPart

    Part = MIMEPart[Any, Any]
    from pathlib import Path

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_TEXTS = {".txt", ".md", ".csv", ".log", ".json", ".xml", ".text"}
DEEPEST = 10
"""Messages inside messages."""


@dataclass
class _Read:
    parts: list[str] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)


def read_message(path: Path, suffix: str, *, html: Callable[[str], str]) -> ParsedDocument:
    """``html`` turns HTML into Markdown. Attached texts and messages are sections, other files are named."""
    read = _Read()
    if suffix == ".msg":
        title = _outlook(path, read, html)
    else:
        parsed = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        title = _internet(parsed, read, html, level=1)
    return ParsedDocument("\n\n".join(read.parts) + "\n", title=title, warnings=tuple(read.warnings))


def _internet(message: Part, read: _Read, html: Callable[[str], str], *, level: int) -> str | None:
    if level > DEEPEST:
        raise errors.CorruptDocument(f"The message holds messages more than {DEEPEST} levels deep.")
    fields = [(name, " ".join(str(message.get(name) or "").split())) for name in _HEADERS]
    title = dict(fields)["Subject"] or None
    _head(read, title, fields, level)
    body = message.get_body(preferencelist=("plain", "html"))
    if body is not None:
        text = _text(body)
        read.parts.append((html(text) if body.get_content_type() == "text/html" else text).strip())
    for part in _attached(message, body):
        name = part.get_filename() or ""
        if part.get_content_type() == "message/rfc822":
            for inner in part.iter_parts():
                _internet(inner, read, html, level=level + 1)
        elif part.get_content_maintype() == "text":
            text = _text(part)
            content = html(text) if part.get_content_type() == "text/html" else text
            read.parts += [f"{'#' * min(level + 1, 6)} {name or 'Attachment'}", content.strip()]
        else:
            _unread(read, name or part.get_content_type())
    return title


def _attached(message: Part, body: Any) -> Iterator[Part]:
    """Every other leaf; of a body in several forms, its other forms are left out."""
    if not message.is_multipart():
        return
    kind = message.get_content_subtype()
    for part in message.iter_parts():
        if part is body:
            continue
        if part.get_content_type() == "message/rfc822":
            yield part
        elif part.is_multipart():
            yield from _attached(part, body)
        elif not (kind == "alternative" and part.get_content_maintype() == "text"):
            yield part


def _text(part: Any) -> str:
    data = part.get_payload(decode=True) or b""
    charset = part.get_content_charset()
    if charset:
        try:
            return str(data.decode(charset)).replace("\r\n", "\n")
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(data) if data else ""


def _outlook(path: Path, read: _Read, html: Callable[[str], str]) -> str | None:
    try:
        message = Message.load(str(path))
    except (OSError, KeyError, ValueError) as err:
        raise errors.CorruptDocument("The message is damaged. Save it again and upload that.") from err
    to = ", ".join(f"{r.name} <{r.email_address}>" for r in message.recipients)
    sent = message.sent_date.isoformat(" ") if message.sent_date else ""
    fields = [("From", message.sender or ""), ("To", to), ("Date", sent), ("Subject", message.subject or "")]
    _head(read, message.subject, fields, level=1)
    body = message.body or (html(message.html_body) if message.html_body else "")
    read.parts.append(body.replace("\r\n", "\n").strip())
    for attachment in message.attachments:
        name = attachment.file_name or "attachment"
        data = attachment.file_bytes
        if data and any(name.lower().endswith(suffix) for suffix in _TEXTS):
            read.parts += [f"## {name}", decode(data).strip()]
        else:
            _unread(read, name)
    return message.subject or None


def _head(read: _Read, title: str | None, fields: list[tuple[str, str]], level: int) -> None:
    if title:
        read.parts.append(f"{'#' * min(level, 6)} {title}")
    read.parts.append("\n".join(f"{name}: {value}" for name, value in fields if value))


def _unread(read: _Read, name: str) -> None:
    read.parts.append(f"Attachment: {name}")
    read.warnings.append(ReadWarning("unread_attachment", name, "attached files are not read: upload them themselves"))
