"""From text that models and documents wrote to HTML that can do no harm."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

LONGEST = 2_000_000


@cache
def _renderer() -> MarkdownIt:
    """Without HTML in the text, and without images: the page loads nothing that a document names."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


def markdown(text: str) -> Markup:
    return rendered(_renderer().render(text[:LONGEST]))


def rendered(html: str) -> Markup:
    """HTML that the renderer above has made: it escapes, and takes none from the text."""
    return Markup(html)  # noqa: S704  # nosec B704


def blocks(text: str) -> list[str]:
    """As ``markdown``, the outermost paragraphs, lists and tables each by itself."""
    renderer = _renderer()
    tokens = renderer.parse(text[:LONGEST])
    found: list[str] = []
    start = depth = 0
    for number, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            found.append(renderer.renderer.render(tokens[start : number + 1], renderer.options, {}))
            start = number + 1
    return found


def marked(text: str, words: list[str]) -> Markup:
    """Escaped, with the words of a question set apart where they begin a word or stand within unspaced script."""
    pattern = _pattern(tuple(words))
    if pattern is None:
        return escape(text)
    parts: list[Markup] = []
    end = 0
    for match in pattern.finditer(text):
        parts += [escape(text[end : match.start()]), Markup("<mark>{}</mark>").format(match.group())]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


@lru_cache(64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    known = sorted({word for word in words if word}, key=len, reverse=True)
    if not known:
        return None
    latin = [rf"\b{re.escape(word)}\w*" for word in known if word.isascii()]
    other = [re.escape(word) for word in known if not word.isascii()]
    return re.compile("|".join([*latin, *other]), re.IGNORECASE)
