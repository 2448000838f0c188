"""What a web page, or anything with links and pictures, should look like as text to search."""

from __future__ import annotations

import re

LONGEST_LINK = 100
"""Longer addresses are built for programs, and would fill a chunk."""
_TITLE = re.compile(r"<title[^>]*>([^<]{1,500})</title", re.IGNORECASE)
_HEAD = re.compile(r"<head\b[^>]*>.*?</head\s*>", re.IGNORECASE | re.DOTALL)
# The reader writes what is left of a page's head as lines of "key: value", the title as a heading.
_FRONT = re.compile(r"\A---\n(?:\S+: .*\n|\S+:\n)*(?:\n## [\w:.-]+: .*\n+)?")
_IMAGE = re.compile(r"\\?!\[([^\]\[]{0,2000})\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
_LINK = re.compile(r"\[([^\]\[]{0,2000})\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+\"(?:[^\"\\]|\\.)*\")?\)")
_CITATION = re.compile(r"\[\[[^\]\[]{0,50}\]\]\(#[^()\s]*\)")
_MENU = re.compile(r"(?:^[ \t]*[-*+] \[[^\]\[\n]*\]\([^\n]*\)[ \t]*\n){12,}", re.MULTILINE)
_CELL_PADDING = re.compile(r"(?<=\| ) +| +(?= \|)|(?<=---)-+")
_JUMP = re.compile(r"^\s*\[[^\]\[]*\]\(#[^)]*\)\s*$", re.MULTILINE)
_EMPTY_LINE = re.compile(r"^[ \t]*(?:\\?[-*+]|\d{1,9}[.)]|\*\*|\\\*\\\*)[ \t]*$", re.MULTILINE)
_BLANKS = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_NAMELESS = frozenset({"SVG Image", "image", "Image", ""})
# A backslash that only guards a sign which means nothing to Markdown where it stands.
_ESCAPE = re.compile(r"(?<=\S)[ \t]*\\[#=+>-]|\\[!~<&.()]|(?<=\d)\\\.")


def without_head(html: str) -> tuple[str, str | None]:
    """The page without its head, and its title."""
    found = _TITLE.search(html)
    title = " ".join(found.group(1).split()) if found else None
    return _HEAD.sub("", html, count=1), title


def tidy_page(markdown: str) -> str:
    """Markdown of a page: no front matter, no links that lead only around the page itself."""
    text = _MENU.sub(_listed, _JUMP.sub("", _FRONT.sub("", markdown, count=1)))
    text = _CITATION.sub("", text)
    rows = (_CELL_PADDING.sub("", row) if row.lstrip().startswith("|") else row for row in text.split("\n"))
    return tidy("\n".join(rows))


def tidy(markdown: str) -> str:
    """Pictures as their descriptions, links as text where their address means nothing elsewhere, no idle escapes."""
    text = _IMAGE.sub(_described, markdown)
    text = _LINK.sub(_linked, text)
    text = text.replace("\u200b", "").replace("\ufeff", "")
    text = _ESCAPE.sub(lambda found: found.group().replace("\\", ""), text)
    return _BLANKS.sub("\n\n", _EMPTY_LINE.sub("", text)).strip("\n")


def _listed(found: re.Match[str]) -> str:
    """A dozen links in a row are a menu: the names in one line."""
    return " · ".join(link.group(1) for link in _LINK.finditer(found.group())) + "\n"


def _described(found: re.Match[str]) -> str:
    words = found.group(1).strip()
    return "" if words in _NAMELESS else words


def _linked(found: re.Match[str]) -> str:
    words, address = found.group(1), found.group(2)
    if words.startswith("javascript:"):
        return ""
    if words.strip() and address.startswith(("http://", "https://")) and len(address) <= LONGEST_LINK:
        return f"[{words}]({address})"
    return words
