"""Markdown as its author wrote it, less what is no text, with the title that its front matter gives."""

from __future__ import annotations

import re
from typing import NamedTuple

_FRONT = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"([\w.-]+)[ \t]*:(?:[ \t]+(.*))?")
_TITLE = "title"
_QUOTED = re.compile(r"""\A(["'])(.*)\1\Z""")
DATA_ADDRESS = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*,[A-Za-z0-9+/=%_.~-]*")
_PICTURE = re.compile(r"!\[([^\]\[]*)\]\(\s*<?data:[^)\s>]*>?(?:\s+\"[^\"]*\")?\s*\)")


class Note(NamedTuple):
    markdown: str
    title: str | None


def read_note(text: str) -> Note:
    """The lines of the front matter stay searchable, as words below the title instead of as YAML."""
    body = without_data(text)
    found = _FRONT.match(body)
    if found is None:
        return Note(body, None)
    fields = _fields(found.group(1))
    if fields is None:  # two rules with text between them
        return Note(body, None)
    title = next((value for name, value in fields if name.lower() == _TITLE and value), None)
    known = [f"{name}: {value}" for name, value in fields if value and name.lower() != _TITLE]
    rest = body[found.end() :].lstrip("\n")
    heading = [] if title is None or rest.startswith((f"# {title}\n", f"{title}\n==")) else [f"# {title}"]
    return Note("\n\n".join([*heading, *(["\n".join(known)] if known else []), rest]), title)


def without_data(text: str) -> str:
    """Without pictures and files that are written out as letters; what describes them stays."""
    if "data:" not in text:
        return text
    return DATA_ADDRESS.sub("", _PICTURE.sub(r"\1", text))


def _fields(front: str) -> list[tuple[str, str]] | None:
    """None for what is no front matter. Values of several lines, as lists have them, become one."""
    fields: list[tuple[str, str]] = []
    for line in front.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        field = _FIELD.fullmatch(line.rstrip())
        if field:
            fields.append((field.group(1), _value(field.group(2) or "")))
        elif fields and (line.startswith((" ", "\t", "- ")) or line.strip() in {"]", "}"}):
            name, value = fields[-1]
            more = _value(line.strip().removeprefix("- "))
            fields[-1] = (name, f"{value}, {more}" if value else more)
        else:
            return None
    return fields or None


def _value(text: str) -> str:
    text = text.strip()
    quoted = _QUOTED.match(text)
    if quoted:
        return quoted.group(2)
    if text in {"|", ">", "|-", ">-"}:
        return ""
    return text[1:-1].strip() if text[:1] == "[" and text[-1:] == "]" else text
